"""The first step: a stack on disk or in the window, in words; and the project that remembers it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QGroupBox, QPushButton, QVBoxLayout
from superqt.utils import qdebounced

from napari_jnet.data.axes import StackUnsure
from napari_jnet.data.project_training import PAINTED
from napari_jnet.data.stack import Annotation, LabelsUnsure, Stack
from napari_jnet.plugin.annotate.layers import new_annotation
from napari_jnet.plugin.forms import PathEdit, dropped_path, small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.layers import is_stack
from napari_jnet.plugin.stack.labels_part import LabelsPart
from napari_jnet.plugin.stack.moved import MovedPart
from napari_jnet.plugin.stack.parts import (
    ImagePart,
    OfferBanner,
    SavedPart,
    size_words,
)
from napari_jnet.plugin.stack.trouble import TroubleBanner
from napari_jnet.plugin.worker import Relay

if TYPE_CHECKING:
    import napari

__all__ = ["LoadWidget", "stack_words"]

_FORMATS = {
    "array": "image",
    "ctc": "Cell Tracking Challenge sequence",
    "isbi": "TIFF volume",
    "folder": "folder of images",
}
_TYPING_MS = 300
_PATH_HINT = (
    "A Cell Tracking Challenge dataset, an ISBI or other TIFF volume with labels beside it, "
    "a folder of images with masks, or a project of yours."
)


@dataclass(frozen=True)
class _Found:
    stack: Stack
    sequences: tuple[str, ...]
    images: tuple[str, ...]
    words: str
    project: bool  # of ours, with what was painted
    unsure: LabelsUnsure | None = None  # what the labels do not tell


class LoadWidget(JobWidget):
    """Shows what a path holds before it is loaded, and the image that is worked on.

    Offers to go on with the project of the image, and says what is saved.

    Parameters
    ----------
    napari_viewer
        The viewer that the layers are added to.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.setAcceptDrops(True)
        self._look_relay = Relay()
        self._lifetime.at_end(self._look_relay.close)
        self._look_again = False
        self._said = False  # by the look at the path, which takes back no other word
        self.banner = OfferBanner(self._session, self._lifetime)
        self.banner.failed.connect(self.show_error)
        self.trouble = TroubleBanner(self._session, self._lifetime)
        self.column.addWidget(self.trouble)
        self.column.addWidget(self.banner)
        self._build_path_group()
        self.image = ImagePart(self._session, self._lifetime)
        self.annotate_button = QPushButton("New annotation")
        self.annotate_button.setToolTip(
            "Add an empty layer to number cells on, the size of the image. "
            "The step Annotate has other kinds of labels."
        )
        self.annotate_button.clicked.connect(self.new_annotation)
        self._box("Image", self.image, self.annotate_button)
        self.saved = SavedPart(self._session, self._lifetime)
        self.saved.failed.connect(self.show_error)
        self._box("Project", self.saved)
        self.column.addStretch(1)
        self._lifetime.connect(self._session.image_changed, self._allow)
        self._allow()
        later = qdebounced(self._look, timeout=_TYPING_MS)
        self._lifetime.at_end(later.cancel)
        self.path_edit.changed.connect(lambda _text: self._list_sequences(()))
        self.path_edit.changed.connect(lambda _text: self.labels_box.show())
        self.path_edit.changed.connect(lambda _text: self.labels.forget())
        self.path_edit.changed.connect(self.moved.forget)
        self.path_edit.changed.connect(lambda _text: later())
        self.path_edit.changed.connect(lambda _text: self._list(self.series_combo))
        self.path_edit.changed.connect(lambda _text: self._list(self.axes_combo))
        for combo in (self.sequence_combo, self.series_combo, self.axes_combo):
            combo.currentIndexChanged.connect(lambda _index: self._look())
        self._list_sequences(())
        self._list(self.series_combo)
        self._list(self.axes_combo)

    def _build_path_group(self) -> None:
        form = self._group("Stack on disk")
        self.path_edit = PathEdit(
            "either",
            caption="A dataset, a volume, a folder or a project",
            placeholder="dataset, .tif, folder or project",
        )
        self.sequence_combo = QComboBox()
        self.sequence_combo.setToolTip("The sequence of the dataset.")
        form.addRow("Path", self.path_edit)
        form.addRow("Sequence", self.sequence_combo)
        self.series_combo = QComboBox()
        self.series_combo.setToolTip(
            "The file holds several images, such as positions: one is opened."
        )
        self.axes_combo = QComboBox()
        self.axes_combo.setToolTip(
            "What the dimensions of the file are, in its order: T time, Z sections, C channels."
        )
        form.addRow("Image", self.series_combo)
        form.addRow("Axes", self.axes_combo)
        self._form = form
        self.description = small_label(_PATH_HINT)
        form.addRow(self.description)
        self.labels_box = QCheckBox("with the labels that lie beside it")
        self.labels_box.setToolTip(
            "On by default. Without them only the image is added, to paint your own."
        )
        self.labels_box.setChecked(True)
        form.addRow(self.labels_box)
        self.labels = LabelsPart()
        self.labels.changed.connect(self._look)
        form.addRow(self.labels)
        self.load_button = QPushButton("Load")
        self.load_button.setToolTip(
            "Add the image and its labels as layers; images are read lazily."
        )
        self.load_button.clicked.connect(self.load)
        self.column.addLayout(self._buttons(self.load_button))
        self.column.addWidget(self.progress)
        self.column.addWidget(self.message)
        self.moved = MovedPart()
        self.moved.chosen.connect(self.relocate)
        self._starters.append(self.moved.button)
        self.column.addWidget(self.moved)

    def show_error(self, error: Exception) -> None:
        """Say what is wrong; where the images of a project are gone, ask for them."""
        if isinstance(error, LabelsUnsure):
            error = ValueError(f"{error.fact} Choose above.")
        super().show_error(error)
        self.moved.ask(error, self.path_edit.path)

    def relocate(self, project: Path, images: Path) -> None:
        """Say where the images of a project are now, and load it, as the button does."""
        if self.running:
            return

        def job() -> Generator[Any, None, Any]:
            from napari_jnet.data import Project
            from napari_jnet.plugin.stack.reader import path_layers

            yield from ()
            Project.open(project).relocate(images)
            return path_layers(project)

        self._start(job, f"opening {images.name}")

    def _box(self, title: str, *parts: Any) -> None:
        box = QGroupBox(title)
        column = QVBoxLayout(box)
        column.setContentsMargins(8, 6, 8, 8)
        for part in parts:
            column.addWidget(part)
        self.column.addWidget(box)

    def embed(self) -> None:
        """Leave the line about saving to the workbench."""
        self.saved.embed()

    def new_annotation(self, *_: Any) -> None:
        """Add an empty annotation for the image, as the button does, and go to the step Annotate."""
        try:
            new_annotation(self._session)
        except ValueError as error:
            self.show_error(error)
            return
        self.message.say("Paint on the new layer: each cell with a number of its own.")
        self._session.step = "annotate"

    def _allow(self, _image: Any = None) -> None:
        image = self._session.image
        self.annotate_button.setEnabled(image is not None and is_stack(image))

    def set_path(
        self, path: Path | str, sequence: str | None = None, *, labels: bool = True
    ) -> None:
        """Choose what to load; without labels, the image alone."""
        self.labels_box.setChecked(labels)
        self.path_edit.path = path
        if sequence is not None:
            self._list_sequences((sequence,))
            self.sequence_combo.setCurrentText(sequence)

    def load(self, *_: Any) -> None:
        """Add the layers, as the button does; problems are said in the widget."""
        path, chosen = self.path_edit.path, self._chosen()
        labels = self.labels_box.isChecked()
        said = self.labels.said if labels else {}
        if self.running:
            return
        if path is None:
            self.show_error(ValueError("There is no path; choose a dataset, a volume or a folder."))
            self.finished.emit("failed")
            return

        def job() -> Generator[Any, None, Any]:
            from napari_jnet.plugin.stack.reader import path_layers

            yield from ()
            return path_layers(path, labels=labels, **chosen, **said)

        self._said = False
        self._start(job, f"loading {path.name}")
        self.progress.setFormat("reading labels…")

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take one file or folder that is dropped."""
        if event is not None and dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Load what is dropped."""
        path = None if event is None else dropped_path(event)
        if event is not None and path is not None:
            event.acceptProposedAction()
            self.set_path(path)
            self.load()

    def _chosen(self) -> dict[str, Any]:
        """Return what is chosen besides the path, as `open_stack` takes it."""
        return {
            "sequence": self.sequence_combo.currentText() or None,
            "axes": self.axes_combo.currentData() or None,
            "series": self.series_combo.currentData() or None,
        }

    def _on_event(self, event: Any) -> None:
        """Nothing comes before the layers."""

    def _on_done(self, value: Any) -> None:
        try:
            for data, options, kind in value:
                getattr(self._viewer, f"add_{kind}")(data, **options)
        except (ValueError, OSError) as error:  # napari reads the frame that it shows
            self._on_error(error)
            return
        self.moved.forget()
        self.message.say("Loaded the image." if len(value) == 1 else "Loaded image and labels.")
        super()._on_done(value)

    # what the path holds

    def _look(self) -> None:
        path = self.path_edit.path
        if self._look_relay.running:
            self._look_again = True
            return
        if path is None:
            return
        chosen, said = self._chosen(), self.labels.said

        def job() -> Generator[_Found, None, None]:
            from napari_jnet.data import images, open_stack, project_folder, sequences

            stack = open_stack(path, **chosen, **said)
            ours = project_folder(path) is not None
            words = stack_words(stack, project=ours)
            unsure = None if ours else _unsure(stack)
            yield _Found(stack, sequences(path), images(path), words, ours, unsure)

        self._look_relay.start(job, self._show_found, self._looked, self._cannot)

    def _show_found(self, found: _Found) -> None:
        if self.path_edit.path is not None and not self._look_again:
            self.description.setText(found.words)
            self.labels_box.setVisible(not found.project)
            if not found.project:
                self.labels.show_stack(found.stack, found.unsure)
            if self._said:
                self.message.say("")
                self._said = False
            self._list_sequences(found.sequences, found.stack.sequence)
            self._list(
                self.series_combo,
                [(f"{n}: {words}", n) for n, words in enumerate(found.images, 1)],
                found.stack.series or 1,
            )

    def _cannot(self, error: Exception) -> None:
        if not self._look_again:
            self.description.setText("")
            self.show_error(error)
            self._ask(error)
            self._said = not self.running
        self._looked()

    def _ask(self, error: Exception) -> None:
        """Let the user choose where a file does not tell enough."""
        if isinstance(error, StackUnsure):
            if error.parameter == "axes":
                axes = [(axes, axes) for axes in error.choices]
                self._list(self.axes_combo, [("choose…", ""), *axes], "")
            else:
                numbers = [(number, int(number)) for number in error.choices]
                self._list(self.series_combo, [("choose…", 0), *numbers], 0)

    def _list(
        self, combo: QComboBox, items: Sequence[tuple[str, Any]] = (), now: Any = None
    ) -> None:
        """Offer choices, and hide the row where there are none."""
        with QSignalBlocker(combo):
            combo.clear()
            for words, value in items:
                combo.addItem(words, value)
            combo.setCurrentIndex(combo.findData(now))
        for part in (combo, self._form.labelForField(combo)):
            if part is not None:
                part.setVisible(bool(items))

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


def stack_words(stack: Stack, *, project: bool = False) -> str:
    """Say in words what a stack holds; of a project, only what was painted in it."""
    first, last = stack.frame_numbers[0], stack.frame_numbers[-1]
    numbers = f" (numbered {first} to {last})" if len(stack) > 1 else ""
    lines = [
        f"{'project' if project else _FORMATS.get(stack.format, stack.format)}: {stack.name}",
        f"{size_words(stack)}{numbers}",
    ]
    lines += _sizes_differ(stack)
    lines += stack.notes
    truths = {
        name: truth for name, truth in stack.annotations.items() if not project or name == PAINTED
    }
    lines += [f"{name}: {_truth(truth)}" for name, truth in truths.items()]
    return "\n".join(lines if truths else [*lines, "nothing painted" if project else "no labels"])


def _sizes_differ(stack: Stack) -> list[str]:
    """Say that the images of a folder differ in size, and what is made of them."""
    from napari_jnet.data.folder import frame_shapes, largest_frame

    if stack.format != "folder":
        return []
    try:
        if len(set(frame_shapes(stack))) < 2:
            return []
        size = " × ".join(str(n) for n in largest_frame(stack))
    except (ValueError, OSError):
        return []  # said of the image that cannot be read, when it is shown
    return [
        f"The images differ in size: smaller ones are filled up to {size}; what is added is unknown."
    ]


def _truth(annotation: Annotation) -> str:
    try:
        numbers, kind = annotation.frame_numbers, annotation.kind
        reason = f" ({annotation.reason})" if annotation.reason else ""
    except LabelsUnsure:
        return "they do not tell what they mean"
    except (ValueError, OSError) as error:
        return f"cannot be used: {error}"
    shown = ", ".join(str(n) for n in numbers[:12])
    words = f"{len(numbers)} annotated ({shown}{', …' if len(numbers) > 12 else ''}), {kind.value}{reason}"
    ignored = len(annotation.ignored)
    return f"{words}; {ignored} without labels, not annotated" if ignored else words


def _unsure(stack: Stack) -> LabelsUnsure | None:
    """Return what the labels of a stack do not tell; may read them all."""
    try:
        if stack.annotations:
            _ = stack.annotation().kind
    except LabelsUnsure as error:
        return error
    except (ValueError, OSError):
        pass  # said in the words of the stack
    return None
