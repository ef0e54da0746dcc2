"""Plugins: found, checked, put in order, and asked for what they provide."""

from hookline.plugins.info import PluginInfo, PluginState
from hookline.plugins.ordering import Implementation
from hookline.plugins.registry import PluginRegistry

__all__ = ["Implementation", "PluginInfo", "PluginRegistry", "PluginState"]
