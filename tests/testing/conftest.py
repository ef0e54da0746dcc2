"""Fixtures of these tests."""

from __future__ import annotations

import json
import os

import pytest

from pytest_project import Project

DEAR = ("schemathesis", "hypothesispytest", "xdist", "cacheprovider")
"""Plugins that these projects do not need and that take their time."""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Makes a project of files and runs its tests; warnings are errors there, as is an unknown option."""
    for name in [name for name in os.environ if name.startswith("HOOKLINE_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, option: str | list[str] | None = "app:agent_os", **files: str) -> pytest.RunResult:
        named = f"hookline_app = {json.dumps(option)}\n" if option is not None else ""
        pytester.makepyprojecttoml(
            f'[tool.pytest.ini_options]\nstrict = true\nfilterwarnings = ["error"]\nanyio_mode = "auto"\n{named}'
        )
        pytester.makepyfile(**files)
        left_out = [word for name in DEAR for word in ("-p", f"no:{name}")]
        return pytester.runpytest_subprocess(*left_out, *arguments, timeout=100)

    return run
