"""What the parts of Annotate have in common: they tell, and they say what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_jnet.plugin.layers.read import current_index
from napari_jnet.plugin.workspace import Lifetime, Workspace


class AnnotatePart(QWidget):
    """A part of a widget that reads the frame table of the workspace and changes its annotation layer.

    Parameters
    ----------
    workspace
        Of the viewer.
    lifetime
        Ends the listening.
    """

    said = Signal(str)
    failed = Signal(object)  # an error, for the user

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace, self._frames, self._lifetime = workspace, workspace.frames, lifetime

    def attempt(self, call: Callable[[], Any]) -> None:
        """Call, and say what is wrong instead of raising."""
        try:
            call()
        except (ValueError, OSError) as error:
            self.failed.emit(error)

    def shown_plane(self) -> tuple[Any, tuple[int, ...]]:
        """Return the annotation layer and the leading indices of the plane that the viewer shows.

        Raises
        ------
        ValueError
            If there is no annotation, or the viewer shows it in 3-D.
        """
        layer, viewer = self._frames.layer, self._workspace.viewer
        if layer is None or viewer is None:
            raise ValueError("There is no annotation yet; press New annotation.")
        if viewer.dims.ndisplay == 3:
            raise ValueError("The viewer shows 3-D; switch to 2-D (Ctrl+Y) to work on a frame.")
        return layer, current_index(viewer, layer)

    def position(self) -> int:
        """Return the shown frame, as its position along the stack."""
        layer, viewer = self._frames.layer or self._workspace.image, self._workspace.viewer
        index = () if layer is None or viewer is None else current_index(viewer, layer)
        return index[0] if index else 0


def row_of(*widgets: QWidget) -> QHBoxLayout:
    """Lay buttons side by side; they leave the keyboard to the brush."""
    row = QHBoxLayout()
    row.setSpacing(4)
    for widget in widgets:
        widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        row.addWidget(widget)
    return row
