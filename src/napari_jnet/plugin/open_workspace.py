"""The workspace of a viewer, made once, with all that watches it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari_jnet.plugin.ui.theme import use_theme
from napari_jnet.plugin.workspace import Workspace, unwrap

if TYPE_CHECKING:
    import napari


_sessions: dict[int, Workspace] = {}


def _follow_theme(event: Any) -> None:
    use_theme(event.value)


def open_workspace(viewer: napari.viewer.Viewer) -> Workspace:
    """Return the state of this viewer; the same for every widget in it."""
    raw = unwrap(viewer)
    key = id(raw)
    if key not in _sessions:
        from napari_jnet.plugin.autosave.autosave import AutoSave
        from napari_jnet.plugin.jobs.train import FineTuning
        from napari_jnet.plugin.layers.watch import FrameTable

        _sessions[key] = made = Workspace(raw)
        made.fine_tuning = FineTuning(made)
        made.frames = FrameTable(made)
        made.autosave = AutoSave(made)
        use_theme(raw.theme)
        raw.events.theme.connect(_follow_theme)
        weakref.finalize(raw, _sessions.pop, key, None)
    return _sessions[key]
