"""The form that asks what to predict."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton

from napari_jnet.plugin.forms import PathEdit
from napari_jnet.plugin.predict.scopes import SCOPES

__all__ = ["ScopeForm"]


class ScopeForm(QObject):
    """One choice of what is predicted, and what that choice asks for besides.

    Parameters
    ----------
    form
        Gets the rows.
    """

    changed = Signal(str)

    def __init__(self, form: QFormLayout) -> None:
        super().__init__()
        self._form = form
        self.combo = QComboBox()
        for name, (title, help_text) in SCOPES.items():
            self.combo.addItem(title, name)
            self.combo.setItemData(self.combo.count() - 1, help_text, 3)  # the tooltip of the entry
        self.draw_button = QPushButton("Draw a region")
        self.draw_button.setToolTip(
            "Drag a rectangle over the part of this frame to predict; several count as one box."
        )
        self.folder = PathEdit(
            "folder", caption="The folder of the stacks", placeholder="folder of stacks"
        )
        self.output = PathEdit(
            "folder", caption="The folder for the results", placeholder="folder for the results"
        )
        form.addRow("What", self.combo)
        form.addRow(self.draw_button)
        form.addRow("Stacks in", self.folder)
        form.addRow("Results to", self.output)
        self.folder.changed.connect(self._suggest)
        self.combo.currentIndexChanged.connect(lambda _index: self._show())
        self._suggested = ""
        self._show()

    @property
    def scope(self) -> str:
        """A key of `SCOPES`."""
        return str(self.combo.currentData())

    @scope.setter
    def scope(self, scope: str) -> None:
        index = self.combo.findData(scope)
        if index < 0:
            raise ValueError(f"{scope!r} is no scope; known are {', '.join(SCOPES)}.")
        self.combo.setCurrentIndex(index)

    def folders(self) -> tuple[Path, Path]:
        """Return the folder of the stacks and that of the results; raises `ValueError`."""
        folder, output = self.folder.path, self.output.path
        if folder is None or output is None:
            what = "of the stacks" if folder is None else "for the results"
            raise ValueError(f"There is no folder {what}; choose one.")
        return folder, output

    def _show(self) -> None:
        scope = self.scope
        self.combo.setToolTip(SCOPES[scope][1])
        self.draw_button.setVisible(scope == "region")
        for editor in (self.folder, self.output):
            editor.setVisible(scope == "folder")
            self._form.labelForField(editor).setVisible(scope == "folder")
        self.changed.emit(scope)

    def _suggest(self, _text: str) -> None:
        """Suggest a folder for the results beside that of the stacks, unless one was chosen."""
        folder, output = self.folder.path, self.output.path
        if folder is not None and (output is None or str(output) == self._suggested):
            self._suggested = str(folder.with_name(f"{folder.name} cells"))
            self.output.path = self._suggested
