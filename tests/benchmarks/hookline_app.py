"""hookline with what the floor has: one agent, its model, its database and background hooks."""

from __future__ import annotations

import uvicorn

from benchmarks.served import AGENT_ID, MODEL_ID, background_hooks, read_options
from hookline import Agent, AgentOS, hook
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb


def main() -> None:
    """Serve until killed."""
    options = read_options()
    agent = Agent(
        id=AGENT_ID,
        model=OpenAIChat(MODEL_ID, api_key="stub", base_url=options.model_url),
        db=SqliteDb(options.database),
        post_hooks=[hook(run_in_background=True)(function) for function in background_hooks(options)],
        add_history_to_context=options.history > 0,
        num_history_runs=max(1, options.history),
    )
    app = AgentOS(agents=[agent]).get_app()
    uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
