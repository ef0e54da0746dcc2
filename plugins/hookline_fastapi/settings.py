"""This plugin's own settings: `[plugins.fastapi]` in `hookline.toml`, `HOOKLINE_PLUGIN_FASTAPI__*` as variables."""

from __future__ import annotations

from pydantic_settings import BaseSettings

from hookline import plugin_settings


class FastAPISettings(BaseSettings):
    """How the HTTP API is served.

    Attributes:
        access_log: whether every request is logged.
        cors_origins: origins whose pages may call the API, as a JSON list in a variable; `["*"]` lets all.
        allowed_hosts: names, without ports, that a server on loopback without authentication is called by, besides
            those of loopback: the one that a proxy in front passes on. `["*"]` allows all.
    """

    access_log: bool = True
    cors_origins: list[str] = []
    allowed_hosts: list[str] = []


def read_settings() -> FastAPISettings:
    """The settings of this process.

    Raises:
        ConfigurationError: a value or a name is wrong.
    """
    return plugin_settings("fastapi", FastAPISettings)
