"""Settings: core's own and each plugin's, from code, the environment and `hookline.toml`, in that precedence.

hookline.toml               database = "runs.db"
the environment             HOOKLINE_DATABASE=runs.db
one hook's                  [hooks."support/post/notify"] retries = 5
                            or  HOOKLINE_HOOKS={"support/post/notify": {"retries": 5}}
one of a plugin's           [plugins.slack] channel = "#alerts"  or  HOOKLINE_PLUGIN_SLACK__CHANNEL=#alerts
"""

from hookline.settings.core import Settings, file_name_of, hook_sources_of, load_settings, sources_of
from hookline.settings.file import SETTINGS_FILE
from hookline.settings.mistakes import DEFAULT, IN_CODE
from hookline.settings.plugin_models import settings_model
from hookline.settings.plugins import (
    plugin_settings,
    plugin_sources_of,
    plugin_tables,
    plugin_variables,
    variable_prefix_of,
)
from hookline.settings.unknown import UnknownName, unknown_names

__all__ = [
    "DEFAULT",
    "IN_CODE",
    "SETTINGS_FILE",
    "Settings",
    "UnknownName",
    "file_name_of",
    "hook_sources_of",
    "load_settings",
    "plugin_settings",
    "plugin_sources_of",
    "plugin_tables",
    "plugin_variables",
    "settings_model",
    "sources_of",
    "unknown_names",
    "variable_prefix_of",
]
