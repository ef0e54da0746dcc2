"""Models of OpenAI, and of every server that speaks its chat completions API or its Responses API.

    from hookline_openai import OpenAIChat, OpenAIResponses

    agent = Agent(name="Helper", model=OpenAIChat(id="gpt-4o-mini"))
    thinker = Agent(name="Thinker", model=OpenAIResponses(id="gpt-5-mini"))

The key comes from `OPENAI_API_KEY`, the server from `OPENAI_BASE_URL`, unless they are given.
Importing this package and making a model import no library and need no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hookline import Model, hookimpl
from hookline_openai.chat import OpenAIChat
from hookline_openai.responses import OpenAIResponses

__all__ = ["OpenAIChat", "OpenAIResponses"]


@hookimpl
def models() -> Mapping[str, Callable[[str], Model]]:
    """Provide `openai` (chat completions) and `openai-responses`: a model of the id that is asked for."""
    return {"openai": OpenAIChat, "openai-responses": OpenAIResponses}
