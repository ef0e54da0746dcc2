"""The group that all commands are in, the plugins' too."""

from __future__ import annotations

import logging
from typing import Any

import click

from hookline.errors import HooklineError
from hookline.plugins import PluginRegistry

logger = logging.getLogger("hookline.plugins")


class HooklineGroup(click.Group):
    """Loads plugins only where their commands are asked for, and says what went wrong in one line."""

    _plugin_commands: dict[str, click.Command] | None = None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a mistake of the user is one line on stderr and exit status 1."""
        try:
            return super().invoke(ctx)
        except HooklineError as error:
            raise click.ClickException(one_line(error)) from error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command of hookline's own, or else of a plugin."""
        return super().get_command(ctx, cmd_name) or self._of_plugins().get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands; help stays there when the plugins cannot be loaded."""
        own = super().list_commands(ctx)
        if ctx.resilient_parsing:  # a shell completes a word: what is printed now would stand in the user's line
            logger.setLevel(logging.CRITICAL)
        try:
            return sorted({*own, *self._of_plugins()})
        except HooklineError as error:
            if not ctx.resilient_parsing:
                click.echo(f"Warning: the plugins' commands are missing: {one_line(error)}", err=True)
            return own

    def _of_plugins(self) -> dict[str, click.Command]:
        if self._plugin_commands is None:
            self._plugin_commands = self._collect()
        return self._plugin_commands

    def _collect(self) -> dict[str, click.Command]:
        registry = load_registry()
        found: dict[str, click.Command] = {}
        for plugin, command in registry.commands():
            if not isinstance(command, click.Command) or not command.name:
                logger.warning("plugin %s: commands() gives %r, which is no click command", plugin, command)
            elif command.name in self.commands or command.name in found:
                logger.warning("plugin %s: the command %r exists already", plugin, command.name)
            else:
                found[command.name] = command
        return found


def load_registry() -> PluginRegistry:
    """The installed plugins, as the settings of the working directory want them.

    Raises:
        ConfigurationError: a setting is wrong.
    """
    from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

    registry = PluginRegistry.from_settings(load_settings())
    registry.load()
    return registry


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
