"""The dock widget that says what a path holds, and loads it as layers."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QComboBox, QPushButton
from superqt.utils import qdebounced

from napari_jnet.data.stack import Annotation, Stack
from napari_jnet.plugin.forms import PathEdit, small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.worker import Relay

if TYPE_CHECKING:
    import napari

__all__ = ["LoadWidget", "stack_words"]

_FORMATS = {
    "ctc": "Cell Tracking Challenge sequence",
    "isbi": "TIFF volume with labels",
    "folder": "folder of images",
}
_TYPING_MS = 300


@dataclass(frozen=True)
class _Found:
    stack: Stack
    sequences: tuple[str, ...]
    words: str


class LoadWidget(JobWidget):
    """Shows what a dataset, a volume or a folder holds before it is loaded.

    Parameters
    ----------
    napari_viewer
        The viewer that the layers are added to.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self._look_relay = Relay()
        self._lifetime.at_end(self._look_relay.close)
        self._look_again = False
        form = self._group("Stack on disk")
        self.path_edit = PathEdit(
            "either",
            caption="A dataset, a volume or a folder",
            placeholder="dataset, .tif or folder",
        )
        self.sequence_combo = QComboBox()
        self.sequence_combo.setToolTip("The sequence of the dataset.")
        form.addRow("Path", self.path_edit)
        form.addRow("Sequence", self.sequence_combo)
        self._form = form
        self.description = small_label(
            "A Cell Tracking Challenge dataset, an ISBI or other TIFF volume with labels beside it, "
            "or a folder of images with masks."
        )
        form.addRow(self.description)
        self.load_button = QPushButton("Load")
        self.load_button.setToolTip(
            "Add the image and its labels as layers; images are read lazily."
        )
        self.load_button.clicked.connect(self.load)
        self.column.addLayout(self._buttons(self.load_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        self.column.addStretch(1)
        later = qdebounced(self._look, timeout=_TYPING_MS)
        self._lifetime.at_end(later.cancel)
        self.path_edit.changed.connect(lambda _text: self._list_sequences(()))
        self.path_edit.changed.connect(lambda _text: later())
        self.sequence_combo.currentIndexChanged.connect(lambda _index: self._look())
        self._list_sequences(())

    def set_path(self, path: Path | str, sequence: str | None = None) -> None:
        """Choose what to load."""
        self.path_edit.path = path
        if sequence is not None:
            self._list_sequences((sequence,))
            self.sequence_combo.setCurrentText(sequence)

    def load(self, *_: Any) -> None:
        """Add the layers, as the button does; problems are said in the widget."""
        path, sequence = self.path_edit.path, self._sequence()
        if self.running:
            return
        if path is None:
            self.show_error(ValueError("There is no path; choose a dataset, a volume or a folder."))
            self.finished.emit("failed")
            return

        def job() -> Generator[Any, None, Any]:
            from napari_jnet.data import open_stack
            from napari_jnet.plugin.reader import stack_layers

            yield from ()
            return stack_layers(open_stack(path, sequence=sequence))

        self._start(job, f"loading {path.name}")
        self.progress.setFormat("reading labels…")

    def _sequence(self) -> str | None:
        return self.sequence_combo.currentText() or None

    def _on_event(self, event: Any) -> None:
        """Nothing comes before the layers."""

    def _on_done(self, value: Any) -> None:
        for data, options, kind in value:
            getattr(self._viewer, f"add_{kind}")(data, **options)
        self.message.say(f"Loaded {len(value)} layer(s).")
        super()._on_done(value)

    # what the path holds

    def _look(self) -> None:
        path = self.path_edit.path
        if self._look_relay.running:
            self._look_again = True
            return
        if path is None:
            return
        sequence = self._sequence()

        def job() -> Generator[_Found, None, None]:
            from napari_jnet.data import open_stack, sequences

            stack = open_stack(path, sequence=sequence)
            yield _Found(stack, sequences(path), stack_words(stack))

        self._look_relay.start(
            job, self._show_found, self._looked, self._cannot, title=f"looking at {path.name}"
        )

    def _show_found(self, found: _Found) -> None:
        if self.path_edit.path is not None and not self._look_again:
            self.description.setText(found.words)
            self.message.say("")
            self._list_sequences(found.sequences, found.stack.sequence)

    def _cannot(self, error: Exception) -> None:
        if not self._look_again:
            self.description.setText("")
            self.show_error(error)
        self._looked()

    def _looked(self, _value: Any = None) -> None:
        if self._look_again:
            self._look_again = False
            self._look()

    def _list_sequences(self, sequences: tuple[str, ...], chosen: str = "") -> None:
        with QSignalBlocker(self.sequence_combo):
            self.sequence_combo.clear()
            self.sequence_combo.addItems(sequences)
            self.sequence_combo.setCurrentText(chosen)
        label = self._form.labelForField(self.sequence_combo)
        self.sequence_combo.setVisible(len(sequences) > 1)
        if label is not None:
            label.setVisible(len(sequences) > 1)


def stack_words(stack: Stack) -> str:
    """Say in words what a stack holds."""
    first, last = stack.frame_numbers[0], stack.frame_numbers[-1]
    frames = {"T": "frame(s) over time", "Z": "section(s)"}.get(stack.axes[0], "image(s)")
    size = " × ".join(str(n) for n in stack.shape)
    lines = [
        f"{_FORMATS.get(stack.format, stack.format)}: {stack.name}",
        f"{len(stack)} {frames}, {first} to {last}; each {size}, {stack.dtype}",
    ]
    lines += [f"{name}: {_truth(truth)}" for name, truth in stack.annotations.items()]
    return "\n".join(lines if stack.annotations else [*lines, "no labels"])


def _truth(annotation: Annotation) -> str:
    count = len(annotation.frame_numbers)
    numbers = ", ".join(str(n) for n in annotation.frame_numbers[:12])
    return f"{count} annotated ({numbers}{', …' if count > 12 else ''}), {annotation.kind.value}"
