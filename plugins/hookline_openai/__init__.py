"""Models of OpenAI, and of every server that speaks its chat completions API.

    from hookline_openai import OpenAIChat

    agent = Agent(name="Helper", model=OpenAIChat(id="gpt-4o-mini"))

The key comes from `OPENAI_API_KEY`, the server from `OPENAI_BASE_URL`, unless they are given.
Importing this package and making a model import no library and need no key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hookline import Model, hookimpl
from hookline_openai.chat import OpenAIChat

__all__ = ["OpenAIChat"]


@hookimpl
def models() -> Mapping[str, Callable[[str], Model]]:
    """Provide `openai`: a model of the id that is asked for."""
    return {"openai": OpenAIChat}
