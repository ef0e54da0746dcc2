"""Transports: what serves an AgentOS to the world, as a transport plugin implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from hookline.agent_os import AgentOS


@runtime_checkable
class Transport(Protocol):
    """Makes an application of an AgentOS, and serves it. One object, without a state of its own."""

    def create_app(self, agent_os: AgentOS) -> Any:
        """Make the application; called after `agent_os.load()`.

        Only the application's lifespan opens the storage or the network. It keeps the AgentOS where the command
        line finds it again: `app.state.agent_os`. Where there is an `agent_os.base_app`, the API is added to that.

        Raises:
            ConfigurationError: the base app is none of this transport's, or has a path that the API needs.
        """
        ...

    def serve(self, agent_os: AgentOS, app: Any | str, *, host: str, port: int, reload: bool, root_path: str) -> None:
        """Serve until a signal ends it; blocks.

        Args:
            agent_os: what is served.
            app: what `create_app` made, or `module:attribute` naming it, which `reload` needs.
            host: the address to bind.
            port: the TCP port to bind.
            reload: start anew whenever a source file changes.
            root_path: the prefix that a proxy takes off the paths; `""` if there is none.

        Raises:
            ConfigurationError: `reload` without an import string, or a root path that is none.
            SystemExit: the app cannot be imported, or the address cannot be bound; one line says which, and the mend.
        """
