"""`ModelContract` itself: it is light to reach, says what is missing, and notices what is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hookline.testing

SUITE = """
import pytest
from hookline import Message, ModelResponse, Usage
from hookline.testing import Capability, Exchange, FarEnd, ModelContract, ScriptedModel

class Sayer(ScriptedModel):
    async def respond(self, request, emit):
        return ModelResponse((await super().respond(request, emit)).message, Usage(1, 1, 2))

class SayerEnd(FarEnd):
    said = "Hello everybody"

    def model(self):
        return Sayer(self.said, repeat=True)

    def text(self):
        return Exchange(user="hi", text="Hello everybody", usage=Usage(1, 1, 2))

    def tool_calls(self, tools):
        return Exchange(user="hi")

    def tool_results(self, calls, response):
        return []

class TestWithoutFarEnd(ModelContract):
    pass

class TestRight(ModelContract):
    capabilities = frozenset({Capability.STREAM, Capability.USAGE})

    @pytest.fixture
    def far_end(self):
        return SayerEnd()

class TestSaysElse(TestRight):
    @pytest.fixture
    def far_end(self):
        end = SayerEnd()
        end.said = "Bye"
        return end

class TestHidesUsage(TestRight):
    capabilities = frozenset({Capability.STREAM})

class TestHidesStream(TestRight):
    capabilities = frozenset({Capability.USAGE})

class TestClaimsReasoning(TestRight):
    capabilities = TestRight.capabilities | {Capability.REASONING}

class TestClaimsTools(TestRight):
    capabilities = TestRight.capabilities | {Capability.TOOL_CALLS}

class TestClaimsServer(TestRight):
    capabilities = TestRight.capabilities | {Capability.REMOTE}
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of that suite, in a process of its own and without this project's settings."""
    folder = tmp_path_factory.mktemp("third_party")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_sayer.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-rsfE", "-p", "no:randomly", "-p", "no:cacheprovider", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False).stdout


def test_a_third_party_runs_it_without_any_setting(said: str) -> None:
    assert "::TestRight::" not in said
    for name in ("REMOTE", "TOOL_CALLS"):
        assert f"TestRight does not declare Capability.{name}" in said


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("TestWithoutFarEnd::test_an_answer", "TestWithoutFarEnd must override the fixture `far_end`"),
        ("TestSaysElse::test_an_answer", "'Bye' != 'Hello everybody'"),
        ("TestHidesUsage::test_an_answer", "Capability.USAGE"),
        ("TestHidesStream::test_a_stream", "Capability.STREAM"),
        ("TestClaimsReasoning::test_reasoning", "Capability.REASONING"),
        ("TestClaimsTools::test_tool_calls", "roll_a_die"),
        ("TestClaimsServer::test_a_drop_before_the_answer", "must be a RemoteEnd"),
    ],
)
def test_it_notices_what_is_wrong(said: str, test: str, reason: str) -> None:
    assert f"test_sayer.py::{test}" in said
    assert reason in said


def test_scripted_models_need_no_pytest() -> None:
    code = """
import sys
from hookline.testing import ScriptedModel, call_tool
assert not {"pytest", "hookline.testing.model_contract"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_all_that_is_promised_is_there() -> None:
    assert all(hasattr(hookline.testing, name) for name in hookline.testing.__all__)
    with pytest.raises(AttributeError, match=r"'hookline\.testing' has no attribute 'Nothing'"):
        hookline.testing.Nothing  # noqa: B018
