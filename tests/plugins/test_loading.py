"""Loading plugins: what is found, what is blocked, and what becomes of a broken one."""

from __future__ import annotations

import logging
import subprocess
import sys
import types

import pytest

import hookline
from fake_distributions import FakeSite
from hookline import ConfigurationError, PluginError, Settings, hookimpl
from hookline.plugins import PluginInfo, PluginRegistry

GOOD = """
    from hookline import hookimpl

    @hookimpl
    def run_event(event):
        pass
"""


def load(*plugins: object, **options: object) -> PluginRegistry:
    registry = PluginRegistry(**options)  # type: ignore[arg-type]  # the options are those of the tests below
    registry.load(plugins)
    return registry


def info(registry: PluginRegistry, name: str) -> PluginInfo:
    found = [each for each in registry.plugins if each.name == name]
    assert len(found) == 1, registry.plugins
    return found[0]


def loaded(site: FakeSite, source: str, name: str = "x") -> PluginInfo:
    """What becomes of one plugin with that source."""
    site.install(name, source)
    return info(load(), name)


def test_an_installed_plugin_is_active(site: FakeSite) -> None:
    site.install("x", GOOD, version="3.1")

    registry = load()
    registry.check()

    assert info(registry, "x").to_dict() == {
        "name": "x",
        "module": "fake_x",
        "distribution": "fake-x",
        "version": "3.1",
        "state": "active",
        "reason": None,
        "hooks": ["run_event"],
    }
    assert [each.plugin for each in registry.implementations("run_event")] == ["x"]


def test_importing_hookline_scans_nothing_and_imports_nothing_heavy() -> None:
    script = "import hookline, sys; print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    imported = set(done.stdout.split())
    assert "pluggy" in imported
    assert not imported & {
        "importlib_metadata",
        "pydantic_settings",
        "click",
        "rich",
        "fastapi",
        "sqlalchemy",
        "openai",
    }


@pytest.mark.parametrize(
    ("source", "state", "reason"),
    [
        ("raise RuntimeError('no luck')", "failed", "importing fake_x raised RuntimeError: no luck"),
        ("raise SystemExit(3)", "failed", "importing fake_x raised SystemExit: 3"),
        ("import fake_x.inner", "failed", "fake_x.inner"),
        ("from hookline import no_such_name", "failed", "no_such_name"),
        ("import no_such_library_1", "unavailable", "pip install no_such_library_1"),
        ("raise ImportError('install the other half')", "unavailable", "install the other half"),
        ("value = 1", "refused", "mark its functions with @hookimpl"),
        ("def pre_run(run_input): ...", "refused", "mark pre_run with @hookimpl"),
    ],
)
def test_a_broken_module(site: FakeSite, source: str, state: str, reason: str) -> None:
    found = loaded(site, source)

    assert found.state == state
    assert reason in (found.reason or "")
    assert found.hooks == []


def test_a_broken_plugin_never_stops_the_others(site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    site.install("broken", "raise RuntimeError('no luck')")
    site.install("misspelt", "from hookline import hookimpl\n@hookimpl\ndef pre_rum(): ...")
    site.install("good", GOOD)

    with caplog.at_level(logging.WARNING, "hookline.plugins"):
        registry = load()

    registry.check()
    assert info(registry, "good").state == "active"
    assert "plugin broken is failed" in caplog.text
    assert "plugin misspelt is refused" in caplog.text


@pytest.mark.parametrize(
    ("requires", "command"),
    [
        (["no-such-library-1>=2; extra == 'chat'"], 'pip install "fake-x[chat]"'),
        (["No_Such.Library-1 ; python_version > '3' and extra == \"all\""], 'pip install "fake-x[all]"'),
        (["otherwise; extra == 'x'"], 'pip install "fake-x[x]"'),
        (["no-such-library-1>=2"], "pip install no-such-library-1"),
        ([], "pip install no_such_library_1"),
    ],
)
def test_a_missing_library_names_the_command_that_installs_it(
    site: FakeSite, requires: list[str], command: str
) -> None:
    site.install("x", "import no_such_library_1.part", requires=requires)

    found = info(load(), "x")

    assert found.state == "unavailable"
    assert found.reason is not None
    assert found.reason.endswith(f": {command}")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def pre_rum(run_input): ...", "there is no hook 'pre_rum'; did you mean 'pre_run'?"),
        ("def pre_run(run_inptu): ...", "pre_run has no argument 'run_inptu'; did you mean 'run_input'?"),
        ("def pre_run(*, run_inptu): ...", "did you mean 'run_input'?"),
        ("def pre_run(run_output): ...", "pre_run has no argument 'run_output'"),
        ("def storages(path): ...", "it offers none"),
        ("async def storages(): ...", "storages must be a plain function"),
        ("async def run_event(event): ...", "run_event must be a plain function"),
        ("async def lifespan(agent_os):\n    yield", "add @asynccontextmanager"),
        ("def models(): return ['demo']", "it must be a mapping"),
        ("def models(): return {'demo': 'DemoModel'}", "'demo'"),
        ("def models(): return {7: dict}", "a name must be text"),
        ("def transports(): return {'x': dict}", "no methods create_app and serve"),
        ("def hookspecs(): return [object]", "no function marked @hookspec"),
        ("def hookspecs(): return [7]", "neither a module nor a class"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_with_its_mend(site: FakeSite, source: str, reason: str) -> None:
    found = loaded(site, f"from hookline import hookimpl\n@hookimpl\n{source}")

    assert found.state == "refused"
    assert reason in (found.reason or "")


@pytest.mark.parametrize("kind", ["agent", "team", "workflow"])
@pytest.mark.parametrize("parameter", ["{}", "*, {}", "{}=None"])
def test_a_run_hook_that_names_a_kind_is_told_to_name_runnable(site: FakeSite, kind: str, parameter: str) -> None:
    source = f"from hookline import hookimpl\n@hookimpl\ndef post_run({parameter.format(kind)}): ..."

    found = loaded(site, source)

    assert found.state == "refused"
    assert "name 'runnable' instead" in (found.reason or "")


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("hookimpl(wrapper=True)", "is a wrapper"),
        ("hookimpl(hookwrapper=True)", "is a wrapper"),
    ],
)
def test_wrappers_are_refused(site: FakeSite, mark: str, reason: str) -> None:
    found = loaded(site, f"from hookline import hookimpl\n@{mark}\ndef pre_run(run_input):\n    yield")

    assert found.state == "refused"
    assert reason in (found.reason or "")


@pytest.mark.parametrize(
    ("mark", "reason"),
    [
        ("guardrail", "can be guardrails"),
        ("hook(run_in_background=True)", "can run there"),
        ("hook(sample=0.1)", "marked sample=..., which has a meaning for pre_run and post_run only"),
        ("hook(retries=1)", "marked retries=..., which has a meaning for pre_run and post_run only"),
    ],
)
def test_only_run_hooks_are_guardrails_or_run_in_the_background(site: FakeSite, mark: str, reason: str) -> None:
    source = f"from hookline import guardrail, hook, hookimpl\n@hookimpl\n@{mark}\ndef pre_tool(tool_call): ..."

    found = loaded(site, source)

    assert found.state == "refused"
    assert reason in (found.reason or "")


def test_parameters_that_are_optional_or_keyword_only_are_accepted(site: FakeSite) -> None:
    source = """
        from hookline import hookimpl

        @hookimpl
        def post_run(run_output, /, session=None, *, run_input, user_id=None, own=3, **rest): ...

        @hookimpl(specname="post_run")
        async def second(run_output, delivery): ...

        @hookimpl(optionalhook=True)
        def point_of_a_plugin_that_is_not_there(anything): ...
    """

    found = loaded(site, source)

    assert found.state == "active", found.reason
    assert found.hooks == ["post_run"]


def test_a_provider_that_raises_is_a_failed_plugin_with_nothing_active(site: FakeSite) -> None:
    source = """
        from hookline import hookimpl

        @hookimpl
        def models():
            raise OSError("no file")

        @hookimpl
        def run_event(event): ...
    """
    site.install("x", source)

    registry = load()

    assert info(registry, "x").state == "failed"
    assert info(registry, "x").reason == "models() raised OSError: no file"
    assert registry.implementations("run_event") == []
    with pytest.raises(ConfigurationError, match="plugin 'x' is failed: models"):
        registry.model("nothing")


def test_a_provider_that_misses_a_library_is_unavailable(site: FakeSite) -> None:
    source = "from hookline import hookimpl\n@hookimpl\ndef models():\n    import no_such_library_1"

    found = loaded(site, source)

    assert found.state == "unavailable"
    assert "pip install no_such_library_1" in (found.reason or "")


def test_a_refused_plugin_leaves_nothing_active(site: FakeSite) -> None:
    source = """
        from hookline import hookimpl

        @hookimpl
        def models():
            return {"x": dict}

        @hookimpl
        def pre_run(run_input): ...

        @hookimpl
        def zzz(run_input): ...
    """
    site.install("x", source)

    registry = load()

    assert info(registry, "x").state == "refused"
    assert registry.implementations("pre_run") == []
    assert not registry.manager.has_plugin("x")
    with pytest.raises(ConfigurationError, match="no plugin provides the model 'x'"):
        registry.model("x")


# names


def test_a_bundled_name_cannot_be_taken(site: FakeSite) -> None:
    site.install("taken", GOOD, distribution="hookline", module="fake_bundled")
    site.install("taken", GOOD, distribution="aaa-thief", module="fake_thief")

    found = {each.distribution: each for each in load().plugins if each.name == "taken"}

    assert found["hookline"].state == "active"
    assert found["aaa-thief"].state == "refused"
    assert "comes with hookline" in (found["aaa-thief"].reason or "")
    assert "fake_thief" not in sys.modules


def test_of_two_distributions_with_one_name_neither_wins(site: FakeSite) -> None:
    site.install("x", GOOD, distribution="first", module="fake_first")
    site.install("x", GOOD, distribution="second", module="fake_second")

    found = {each.distribution: each for each in load().plugins if each.name == "x"}

    assert {each.state.value for each in found.values()} == {"refused"}
    assert "'x' is also taken by second" in (found["first"].reason or "")
    assert "'x' is also taken by first" in (found["second"].reason or "")


def test_one_module_under_two_names_is_refused(site: FakeSite) -> None:
    site.install("a", GOOD)
    site.install("b", module="fake_a", distribution="other")

    registry = load()

    assert info(registry, "a").state == "active"
    assert info(registry, "b").reason == "it is the same object as the plugin 'a'"


# who is let in


@pytest.mark.parametrize("way", ["settings", "environment", "file", "registry"])
def test_a_blocked_plugin_is_not_even_imported(
    site: FakeSite, monkeypatch: pytest.MonkeyPatch, way: str, request: pytest.FixtureRequest
) -> None:
    site.install("x", "raise SystemExit('imported')")
    site.install("y", GOOD)
    if way == "environment":
        monkeypatch.setenv("HOOKLINE_DISABLE_PLUGINS", "other, x")
        registry = PluginRegistry.from_settings(Settings(disable_plugins=[]))
    elif way == "settings":
        registry = PluginRegistry.from_settings(Settings(disable_plugins=["x"]))
    elif way == "file":
        with open("hookline.toml", "w", encoding="utf-8") as file:
            file.write('disable_plugins = ["x"]\n')
        registry = PluginRegistry.from_settings(Settings())
    else:
        registry = PluginRegistry(disabled=["x"])

    registry.load()
    registry.check()

    assert info(registry, "x").state == "blocked"
    assert "-p no:x" in (info(registry, "x").reason or "")
    assert "fake_x" not in sys.modules
    assert info(registry, "y").state == "active"


def test_the_allow_list_blocks_all_others(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOKLINE_PLUGINS", "y")
    site.install("x", GOOD)
    site.install("y", GOOD)

    registry = PluginRegistry.from_settings(Settings())
    registry.load()

    assert info(registry, "x").state == "blocked"
    assert "HOOKLINE_PLUGINS" in (info(registry, "x").reason or "")
    assert info(registry, "y").state == "active"


def test_a_name_that_blocks_nothing_is_warned_about(site: FakeSite, caplog: pytest.LogCaptureFixture) -> None:
    site.install("slack_like", GOOD)

    load(disabled=["slak_like"])

    assert "'slak_like', which is not installed; did you mean 'slack_like'?" in caplog.text


def test_a_required_plugin_stops_the_start(site: FakeSite) -> None:
    site.install("x", "raise RuntimeError('no luck')")

    registry = load(required=["x"])

    with pytest.raises(PluginError, match=r"plugin 'x' is failed: .*no luck"):
        registry.check()
    with pytest.raises(PluginError, match="'xx' is required and not installed; did you mean 'x'"):
        load(required=["xx"]).check()
    with pytest.raises(PluginError, match="plugin 'x' is blocked"):
        load(required=["x"], disabled=["x"]).check()


def test_strict_stops_the_start_for_any_but_blocked_ones(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.install("x", "import no_such_library_1")

    with pytest.raises(PluginError, match="plugin 'x' is unavailable"):
        load(strict=True).check()
    load(strict=True, disabled=["x"]).check()
    monkeypatch.setenv("HOOKLINE_STRICT_PLUGINS", "1")
    registry = PluginRegistry.from_settings(Settings(strict_plugins=False))
    registry.load()
    with pytest.raises(PluginError, match="unavailable"):
        registry.check()


# plugins given in code


class Given:
    plugin_name = "given"

    @hookimpl
    def run_event(self, event: object) -> None: ...


def test_an_object_given_in_code_is_a_plugin() -> None:
    registry = load(Given(), allowed=[])
    registry.check()

    assert info(registry, "given").state == "active"
    assert info(registry, "given").distribution is None
    assert len(registry.implementations("run_event")) == 1


def test_a_module_given_in_code_is_named_without_its_prefix() -> None:
    module = types.ModuleType("hookline_clock")
    module.run_event = hookimpl(lambda event: None)  # type: ignore[attr-defined]

    assert info(load(module), "clock").module == "hookline_clock"


def test_a_module_that_is_installed_too_is_one_plugin(site: FakeSite) -> None:
    site.install("x", GOOD, module="hookline_x")
    import hookline_x  # type: ignore[import-not-found]

    registry = load(hookline_x, allowed=[])
    registry.check()

    assert info(registry, "x").state == "active"
    assert info(registry, "x").distribution == "fake-x"


def test_a_broken_plugin_given_in_code_stops_the_start() -> None:
    class Misspelt:
        @hookimpl
        def pre_rum(self) -> None: ...

    registry = load(Misspelt())

    with pytest.raises(PluginError, match="there is no hook 'pre_rum'"):
        registry.check()
    load(Misspelt(), disabled=["test_a_broken_plugin_given_in_code_stops_the_start.<locals>.Misspelt"]).check()


@pytest.mark.parametrize("thing", ["hookline_demo", None, 7, {"a": 1}, [Given()]])
def test_what_cannot_be_a_plugin_is_a_mistake_in_code(thing: object) -> None:
    with pytest.raises(ConfigurationError, match="is no plugin"):
        load(thing)


def test_a_class_is_told_to_be_an_instance() -> None:
    with pytest.raises(PluginError, match=r"Given is a class: give an instance, Given\(\)"):
        load(Given).check()


def test_a_function_in_an_attribute_is_refused() -> None:
    registry = load(types.SimpleNamespace(plugin_name="x", run_event=hookimpl(lambda event: None)))

    assert "make it a method" in (info(registry, "x").reason or "")


def test_two_registries_share_nothing() -> None:
    first, second = load(Given()), load()

    assert first.implementations("run_event")
    assert "given" not in {each.name for each in second.plugins}
    assert hookline.AgentOS is not None
