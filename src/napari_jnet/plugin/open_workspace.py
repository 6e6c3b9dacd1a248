"""The workspace of a viewer, made once, with all that watches it."""

from __future__ import annotations

import weakref

import napari

from napari_jnet.plugin.ui.theme import use_theme
from napari_jnet.plugin.workspace import Workspace

_workspaces: dict[int, Workspace] = {}


def open_workspace(viewer: napari.viewer.Viewer) -> Workspace:
    """Return the workspace of this viewer; the same for every widget in it."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # behind the proxy that plugins get
    key = id(viewer)
    if key not in _workspaces:
        from napari_jnet.plugin.autosave.autosave import AutoSave

        _workspaces[key] = workspace = Workspace(viewer)
        workspace.autosave = AutoSave(workspace)
        use_theme(viewer.theme)
        viewer.events.theme.connect(lambda event: use_theme(event.value))
        weakref.finalize(viewer, _workspaces.pop, key, None)
    return _workspaces[key]
