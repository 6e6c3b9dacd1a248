"""Where the images of a project are now, after they were moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QLabel, QPushButton, QVBoxLayout

from napari_jnet.data import StackMissing, project_folder
from napari_jnet.plugin.forms import PathEdit
from napari_jnet.plugin.theme import set_style

__all__ = ["MovedPart"]


class MovedPart(QFrame):
    """Asks for the images of a project that are not where they were; hidden otherwise."""

    chosen = Signal(object, object)  # the project's folder, and where its images are now

    def __init__(self) -> None:
        super().__init__()
        self._project: Path | None = None
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "MovedPart { border: 1px solid @warning; border-radius: 4px; }")
        self.path_edit = PathEdit(
            "either",
            caption="The images of the project",
            placeholder="the same images, at their new place",
        )
        self.button = QPushButton("Use these images")
        self.button.setToolTip(
            "Open the project with them, and remember their place. Other images than those that "
            "were annotated are refused."
        )
        self.button.clicked.connect(self.choose)
        self.button.setEnabled(False)
        self.path_edit.changed.connect(lambda text: self.button.setEnabled(bool(text.strip())))
        column = QVBoxLayout(self)
        column.addWidget(QLabel("Where are the images now?"))
        column.addWidget(self.path_edit)
        column.addWidget(self.button)
        self.hide()

    def ask(self, error: Exception, path: Path | None) -> None:
        """Ask if this error of opening a path says that the images of a project are gone."""
        if path is not None and isinstance(error, StackMissing):
            self._project = project_folder(path)
            self.setVisible(self._project is not None)

    def forget(self, *_: Any) -> None:
        """Ask no longer: all is well, or another path is chosen."""
        self._project = None
        self.hide()

    def choose(self, *_: Any) -> None:
        """Take what is typed, as the button does; `chosen` tells it."""
        if self._project is not None and self.path_edit.path is not None:
            self.chosen.emit(self._project, self.path_edit.path)
