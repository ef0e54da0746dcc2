import asyncio

from hookline import Agent, AgentOS, RunInput, hook
from hookline_openai import OpenAIChat
from hookline_sql import SqliteDb


@hook(run_in_background=True)
def log_request(run_input: RunInput, agent):
    """
    This pre-hook runs in the background.
    Note: Pre-hooks in background mode cannot modify run_input.
    """
    print(f"[Background Pre-Hook] Request received for agent: {agent.name}")
    print(f"[Background Pre-Hook] Input: {run_input.input_content}")


async def log_analytics(run_output, agent, session):
    """
    This post-hook runs synchronously (no decorator).
    It will block the response until complete.
    """
    print(f"[Sync Post-Hook] Logging analytics for run: {run_output.run_id}")
    print(f"[Sync Post-Hook] Agent: {agent.name}")
    print(f"[Sync Post-Hook] Session: {session.session_id}")
    print("[Sync Post-Hook] Analytics logged successfully!")


@hook(run_in_background=True)
async def send_notification(run_output, agent):
    """
    This post-hook runs in the background (has decorator).
    It won't block the API response.
    """
    print(f"[Background Post-Hook] Sending notification for agent: {agent.name}")
    await asyncio.sleep(3)
    print("[Background Post-Hook] Notification sent!")


# Create an agent with mixed hooks
agent = Agent(
    id="background-task-agent",
    name="BackgroundTaskAgent",
    model=OpenAIChat(id="gpt-4o-mini"),
    instructions="You are a helpful assistant",
    db=SqliteDb(db_file="tmp/agent.db"),
    pre_hooks=[log_request],  # Runs in background
    post_hooks=[log_analytics, send_notification],  # log_analytics is sync, send_notification is background
    markdown=True,
)

# Create AgentOS (run_hooks_in_background is False by default)
agent_os = AgentOS(
    agents=[agent],
)

# Get the FastAPI app
app = agent_os.get_app()

if __name__ == "__main__":
    agent_os.serve(app="background_hooks_decorator:app", port=7777, reload=True)
