"""Where the window keeps its projects: the variable, else the preferences, else the home folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from napari.settings import get_plugin_settings

from napari_jnet.data.project_places import VARIABLE, projects_folder

__all__ = ["chosen_folder"]


def chosen_folder() -> Path:
    """Return the folder of projects: ``NAPARI_JNET_PROJECTS``, the preferences, or the default."""
    told = ""
    with suppress(AttributeError, KeyError):  # the plugin is not registered, as in some scripts
        told = str(get_plugin_settings("napari-jnet").projects.folder).strip()
    if os.environ.get(VARIABLE) or not told:
        return projects_folder()
    return Path(told).expanduser()
