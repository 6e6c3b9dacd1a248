"""What napari's preferences remember for this plugin."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from napari.settings import get_plugin_settings

_unregistered: defaultdict[str, SimpleNamespace] = defaultdict(SimpleNamespace)


def plugin_settings(section: str) -> Any:
    """Return the values of a section of the manifest's ``configurations``, as attributes.

    Where the plugin is not registered, as in some scripts, they have no defaults and last until the end.
    """
    try:
        return getattr(get_plugin_settings("napari-jnet"), section)
    except (KeyError, AttributeError):
        return _unregistered[section]
