"""The pytest plugin beside others' fixtures, and what it says of mistakes."""

from __future__ import annotations

import pytest

from pytest_project import APP, Project

pytest_plugins = ["pytester"]

TWO_WAYS = ("*hookline_app = ?app:agent_os?*", "*def hookline_app():*")


# names of others


def test_fixtures_of_ones_own_win(project: Project) -> None:
    result = project(
        app=APP,
        conftest="""
        import pytest

        @pytest.fixture
        def client():
            return "my own"

        @pytest.fixture
        def agent_os():
            return "this too"
        """,
        test_it="""
        def test_it(client, agent_os, hookline_client, recorder):
            assert (client, agent_os) == ("my own", "this too")
            assert hookline_client.get("/agents").json()["items"][0]["id"] == "support"
            assert recorder.runs == []
        """,
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("how", ["named by its function", "named by its mark", "a class", "loaded later"])
def test_another_plugins_fixture_of_that_name_wins(project: Project, how: str) -> None:
    source = {
        "named by its function": "@pytest.fixture\ndef client():\n    return 'theirs'\n",
        "named by its mark": "@pytest.fixture(name='client')\ndef make_client():\n    return 'theirs'\n",
        "a class": (
            "class Fixtures:\n    @pytest.fixture\n    def client(self):\n        return 'theirs'\n"
            "def pytest_configure(config):\n    config.pluginmanager.register(Fixtures())\n"
        ),
        "loaded later": (
            "class Fixtures:\n    @pytest.fixture\n    def client(self):\n        return 'theirs'\n"
            "def pytest_sessionstart(session):\n    session.config.pluginmanager.register(Fixtures())\n"
        ),
    }[how]
    result = project(
        "-p",
        "other_plugin",
        app=APP,
        other_plugin=f"import pytest\n{source}",
        test_it="""
        def test_it(client, agent_os, hookline_client):
            assert client == "theirs"
            assert hookline_client.get("/health").status_code == 200
        """,
    )

    result.assert_outcomes(passed=1)


def test_a_fixture_may_build_on_ours(project: Project) -> None:
    result = project(
        app=APP,
        conftest="""
        import pytest

        @pytest.fixture
        def client(client):
            client.headers["x-test"] = "yes"
            return client
        """,
        test_it="""
        def test_it(client):
            assert client.get("/health").request.headers["x-test"] == "yes"
        """,
    )

    result.assert_outcomes(passed=1)


def test_it_can_be_left_out(project: Project) -> None:
    result = project("-p", "no:hookline", option=None, test_it="def test_it(clock):\n    ...\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'clock' not found*"])


# mistakes


def test_without_an_app_both_ways_are_shown(project: Project) -> None:
    result = project(option=None, test_it="def test_it(agent_os):\n    ...\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(list(TWO_WAYS))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("app", "hookline_app = 'app' has not the form module:attribute, such as app:agent_os"),
        ("app:", "hookline_app = 'app:' has not the form module:attribute, such as app:agent_os"),
        ("app.py:agent_os", "hookline_app = 'app.py:agent_os' is a path: write app:agent_os"),
        ("src/app.py", "hookline_app = 'src/app.py' is a path: write src.app:agent_os"),
        (
            ["app:agent_os"],
            """hookline_app = ?'app:agent_os'?: give one text, such as hookline_app = "app:agent_os\"""",
        ),
        ("app:agnt_os", "*app has no attribute 'agnt_os'; did you mean app:agent_os?"),
        ("ap:agent_os", "*there is no module 'ap' in *"),
        ("app:notify", "*app:notify is of the class function: name an AgentOS, or an app of agent_os.get_app()"),
    ],
)
def test_an_app_that_is_not_found(project: Project, option: str | list[str], message: str) -> None:
    result = project(option=option, app=APP, test_it="def test_it(client):\n    ...\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_an_app_that_is_no_text_where_pytest_refuses_that_itself(project: Project, pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", pytest="[pytest]\nhookline_app = ['app:agent_os']\n")  # wins over pyproject.toml

    result = project(option=None, app=APP, test_it="def test_it(client):\n    ...\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*pytest.toml: config option 'hookline_app' expects a string, got list*"])
    result.stdout.no_fnmatch_line("*TypeError*")


def test_an_app_that_cannot_be_imported_is_shown_with_its_traceback(project: Project) -> None:
    result = project(app="import nowhere_to_be_found\n", test_it="def test_it(client):\n    ...\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*app.py:1: *", "*ConfigurationError: app.py:1: No module named*"])


def test_a_fixture_that_gives_something_else(project: Project) -> None:
    result = project(
        option=None,
        test_it="""
        import pytest

        @pytest.fixture
        def hookline_app():
            return object()

        def test_it(agent_os): ...
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the fixture hookline_app gives <object*: an AgentOS is wanted, or an app*"])


def test_a_recorder_that_records_nothing_says_what_is_missing(project: Project) -> None:
    result = project(app=APP, test_it="def test_it(recorder):\n    recorder.calls()\n")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: the recorder has no ledger*request `agent_os` or `client` too"])


def test_a_start_that_fails_is_the_tests_error(project: Project) -> None:
    result = project(
        app=APP,
        test_it="""
        import pytest

        @pytest.fixture(autouse=True)
        def _settings(monkeypatch):
            monkeypatch.setenv("HOOKLINE_DELIVERY_RETRIES", "many")

        def test_it(agent_os): ...
        """,
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: *HOOKLINE_DELIVERY_RETRIES*"])
