"""`hookline completion`: what makes a shell complete the commands and options of `hookline`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

PROGRAM = "hookline"
_VARIABLE = "_HOOKLINE_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete `hookline`.

    \b
    bash   eval "$(hookline completion bash)"    in ~/.bashrc
    zsh    eval "$(hookline completion zsh)"     in ~/.zshrc
    fish   hookline completion fish > ~/.config/fish/completions/hookline.fish
    """
    found = get_completion_class(shell)
    assert found is not None  # noqa: S101 - click knows these three
    click.echo(found(context.find_root().command, {}, PROGRAM, _VARIABLE).source())
