"""The first step: a stack on disk or in the window, in words; and the project that remembers it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_jnet.io.axes import StackUnsure
from napari_jnet.io.stack import Annotation, LabelsUnsure, Stack
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.autosave.resume import resume_project
from napari_jnet.plugin.jobs.runner import JobRunner
from napari_jnet.plugin.layers.add import new_annotation
from napari_jnet.plugin.layers.read import (
    choose_axes,
    current_index,
    image_stack,
    is_stack,
    layer_choices,
    spatial_ndim,
    stored_axes,
)
from napari_jnet.plugin.ui.form import EITHER, PathEdit
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import (
    LayerCombo,
    RemedyButton,
    WrappedLabel,
    dropped_path,
    small_label,
)
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.project import PAINTED
from napari_jnet.project.source import StackMissing

if TYPE_CHECKING:
    import napari


class TroubleBanner(QFrame):
    """Says what is damaged until the user has seen it; hidden where nothing is."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace = workspace
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "TroubleBanner { border: 1px solid @warning; border-radius: 4px; }")
        self.text = WrappedLabel()
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.seen_button = QPushButton("I have seen it")
        self.seen_button.setToolTip("Hide this; the files stay as they are.")
        self.seen_button.clicked.connect(self.seen)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.seen_button)
        lifetime.connect(workspace.problem_changed, self._show)
        self._show(workspace.problem)

    def seen(self, *_: Any) -> None:
        """Hide it in all widgets, as the button does."""
        self._workspace.problem = ""

    def _show(self, words: str) -> None:
        self.text.setText(words)
        self.setVisible(bool(words))


class MovedPart(QFrame):
    """Asks for the images of a project that are not where they were; hidden otherwise."""

    chosen = Signal(object, object)  # the project's folder, and where its images are now

    def __init__(self) -> None:
        super().__init__()
        self._project: Path | None = None
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "MovedPart { border: 1px solid @warning; border-radius: 4px; }")
        hint = "the same images, at their new place"
        self.path_edit = PathEdit(mode=EITHER, placeholder=hint)
        self.button = QPushButton("Use these images")
        self.button.setToolTip(
            "Open the project with them, and remember their place. Other images than those that "
            "were annotated are refused."
        )
        self.button.clicked.connect(self.choose)
        self.button.setEnabled(False)
        self.path_edit.changed.connect(lambda path: self.button.setEnabled(path is not None))
        column = QVBoxLayout(self)
        column.addWidget(QLabel("Where are the images now?"))
        column.addWidget(self.path_edit.native)
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
        if self._project is not None and self.path_edit.value is not None:
            self.chosen.emit(self._project, self.path_edit.value)


_KINDS = {
    LabelKind.INSTANCES: "cells: each number is one cell",
    LabelKind.CLASSES: "classes: each number is a class",
    LabelKind.SCRIBBLES: "scribbles: 0 is not labelled",
}


_UNLABELLED: dict[str | None, str] = {
    "background": "background: frames are complete",
    "unknown": "unknown: only some is labelled",
}


class LabelsPart(QWidget):
    """Three choices about the labels on disk, and a question where one is needed."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.question = small_label()
        self.question.setStyleSheet("font-weight: bold;")
        form.addRow(self.question)
        self.truth_combo = self._combo("Of several label files, the one that is meant.")
        self.kind_combo = self._combo("What the numbers of the labels mean.")
        self.unlabelled_combo = self._combo("What pixels without a label are.")
        self._rows = {
            "truth": ("Label file", self.truth_combo),
            "kind": ("Labels are", self.kind_combo),
            "unlabelled": ("Not labelled", self.unlabelled_combo),
        }
        for title, combo in self._rows.values():
            form.addRow(title, combo)
        self._form = form
        self.forget()

    def _combo(self, tip: str) -> QComboBox:
        combo = QComboBox()
        combo.setToolTip(tip)
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(12)
        combo.activated.connect(lambda _index: self.changed.emit())
        return combo

    @property
    def said(self) -> dict[str, Any]:
        """What was chosen, as `open_stack` takes it; None where the labels decide."""
        return {name: combo.currentData() for name, (_, combo) in self._rows.items()}

    def choose(self, name: str, value: str | None) -> None:
        """Choose a value, as the combo box does; raises `ValueError` for one that is not offered."""
        combo = self._rows[name][1]
        place = combo.findData(value)
        if place < 0:
            known = [combo.itemData(k) for k in range(combo.count())]
            raise ValueError(f"{value!r} is not a choice for {name}; choose one of {known}.")
        combo.setCurrentIndex(place)
        self.changed.emit()

    def forget(self) -> None:
        """Offer nothing: the path is new."""
        as_found = "as the labels tell"
        self._fill("truth", {None: "choose one"})
        self._fill("kind", {None: as_found, **{k.value: title for k, title in _KINDS.items()}})
        self._fill("unlabelled", {None: as_found, **_UNLABELLED})
        self.question.hide()
        self.hide()

    def show_stack(self, stack: Stack, unsure: LabelsUnsure | None) -> None:
        """Offer what can be said of the labels of a stack, and ask what has to be said.

        Parameters
        ----------
        stack
            As it was opened, with what is chosen here.
        unsure
            Why its labels cannot be used before somebody says more.
        """
        if unsure is not None and unsure.parameter == "truth":
            self._fill("truth", {None: "choose one", **{name: name for name in unsure.choices}})
        fixed = any(found.decide is None for found in stack.annotations.values())
        self._show_row("truth", self.truth_combo.count() > 1)
        for name in ("kind", "unlabelled"):
            self._show_row(name, not fixed and stack.format != ("ctc" if name == "kind" else ""))
        self.question.setText("" if unsure is None else f"{unsure.fact} Choose below.")
        self.question.setVisible(unsure is not None)
        self.setVisible(bool(stack.annotations))

    def _fill(self, name: str, items: dict[str | None, str]) -> None:
        combo = self._rows[name][1]
        with QSignalBlocker(combo):
            combo.clear()
            for value, title in items.items():
                combo.addItem(title, value)

    def _show_row(self, name: str, shown: bool) -> None:
        combo = self._rows[name][1]
        label = self._form.labelForField(combo)
        for widget in (combo, label):
            if widget is not None:
                widget.setVisible(shown)


_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon


_TOOLTIP = Qt.ItemDataRole.ToolTipRole


_LONG = 90  # characters of a line in the menu


_AXES = {
    "TYX": "frames over time",
    "ZYX": "sections of a volume",
    "CYX": "channels of one image",
    "TZYX": "volumes over time (T, Z, Y, X)",
    "TCYX": "frames over time with channels (T, C, Y, X)",
    "CTYX": "channels, each with frames over time (C, T, Y, X)",
    "ZCYX": "sections with channels (Z, C, Y, X)",
    "CZYX": "channels, each with sections (C, Z, Y, X)",
}


_ASK = "choose what it is…"


def size_words(stack: Stack) -> str:
    """Say how many frames of what size: "84 frames over time, each 512 × 512, uint8"."""
    count = len(stack)
    size = " × ".join(str(n) for n in stack.shape)
    if count == 1:
        return f"a single image, {size}, {stack.dtype}"
    words = {"T": "frames over time", "Z": "sections of a volume"}.get(stack.axes[0], "images")
    return f"{count} {words}, each {size}, {stack.dtype}"


class OfferBanner(QFrame):
    """Offers to go on with a project of the image, the newest first; hidden where there is none."""

    failed = Signal(object)  # the exception

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace = workspace
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "OfferBanner { border: 1px solid @accent; border-radius: 4px; }")
        self.text = WrappedLabel()
        self.combo = QComboBox()
        self.combo.setToolTip("The projects of this image, the newest first.")
        self.combo.setSizeAdjustPolicy(_NARROW)
        self.combo.setMinimumContentsLength(12)
        self.go_on_button = QPushButton("Go on")
        self.go_on_button.setToolTip("Bring back what is painted, the model and the last training.")
        self.go_on_button.clicked.connect(self.go_on)
        self.anew_button = QPushButton("Start anew")
        self.anew_button.setToolTip(
            "Begin without it. The project stays as it is; Projects of this image, below, has it."
        )
        self.anew_button.clicked.connect(self.start_anew)
        row = QHBoxLayout()
        row.addWidget(self.go_on_button)
        row.addWidget(self.anew_button)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.combo)
        column.addLayout(row)
        lifetime.connect(workspace.offer_changed, self._show)
        self._show()

    def go_on(self, *_: Any) -> None:
        """Go on with the project, as the button does; what goes wrong is told by `failed`."""
        if self._workspace.offer is None:  # pressed twice
            return
        try:
            resume_project(self._workspace, self.combo.currentData(), failed=self.failed.emit)
        except ValueError as error:
            self.failed.emit(error)

    def start_anew(self, *_: Any) -> None:
        """Leave the project alone, as the button does."""
        self._workspace.autosave.offers.dismiss()

    def _show(self, _offer: Any = None) -> None:
        offer = self._workspace.offer
        self.setVisible(offer is not None)
        if offer is None:
            return
        others = [one for one in self._workspace.projects if one.words and not one.problem]
        offers = [offer, *(one for one in others if one.path != offer.path)]
        self.combo.clear()
        for one in offers:
            self.combo.addItem(f"{one.path.name}: {one.words}", one.path)
            self.combo.setItemData(self.combo.count() - 1, str(one.path), _TOOLTIP)
        several = len(offers) > 1
        self.combo.setVisible(several)
        words = f"in {len(offers)} projects. Which one?" if several else f"{offer.words}."
        self.text.setText(f"You have worked on this image before{' ' if several else ': '}{words}")
        self.setToolTip("" if several else str(offer.path))


class ImagePart(QWidget):
    """The image that is worked on, in words; its first axis can be corrected."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace = workspace
        self.combo = LayerCombo(workspace, "image", lifetime)
        self.combo.setToolTip("The image that all steps work on.")
        self.words = small_label()
        self.axis_combo = QComboBox()
        self.axis_combo.setToolTip(
            "What the sliders run through. It names the frames (t002 or z002), and channels are "
            "learned from together, as parts of a frame; it is kept with the project and the results."
        )
        self.axis_combo.activated.connect(self._set_axis)
        self.shown = small_label()
        self._form = form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.addRow("Image", self.combo)
        form.addRow(self.words)
        form.addRow("It holds", self.axis_combo)
        form.addRow(self.shown)
        lifetime.connect(workspace.image_changed, self.refresh)
        dims = workspace.viewer.dims.events
        for emitter in (dims.current_step, dims.order):
            lifetime.connect(emitter, self._show_frame)
        self.refresh()

    def set_axis(self, axis: str) -> None:
        """Say what the image holds: "t", "z", or all its axes, such as "TCYX"."""
        axes = f"{axis.upper()}YX" if len(axis) == 1 else axis.upper()
        self.axis_combo.setCurrentIndex(self.axis_combo.findData(axes))
        self._set_axis()

    def refresh(self, _image: Any = None) -> None:
        """Describe the image anew."""
        stack, words = self._stack()
        self.words.setText(words)
        several = stack is not None and len(stack) > 1
        image = self._workspace.image
        choices = () if image is None else layer_choices(image)
        present = "" if stack is None or image is None else stored_axes(image)
        asked = bool(choices) and (stack is None or present in choices)
        label = self._form.labelForField(self.axis_combo)
        for part in (self.axis_combo, label):
            if part is not None:
                part.setVisible(asked)
        with QSignalBlocker(self.axis_combo):
            self.axis_combo.clear()
            for axes in choices:
                self.axis_combo.addItem(_AXES[axes], axes)
            if asked and not present:
                self.axis_combo.insertItem(0, _ASK, "")
            self.axis_combo.setCurrentIndex(max(self.axis_combo.findData(present), 0))
        self.shown.setVisible(several)
        self._show_frame()

    def _stack(self) -> tuple[Stack | None, str]:
        image = self._workspace.image
        if image is None:
            return None, "No image yet: choose a path above, or drop it here."
        try:
            stack = image_stack(image)
        except ValueError as error:
            return None, str(error)
        return stack, size_words(stack)

    def _show_frame(self, _event: Any = None) -> None:
        image, viewer = self._workspace.image, self._workspace.viewer
        if image is None or viewer is None or spatial_ndim(image) < 3:
            return
        frames = self._workspace.frames
        position = current_index(viewer, image)[0]
        if position < len(frames):
            number = frames.numbers[position]
            self.shown.setText(f"Shown: frame {number} ({position + 1} of {len(frames)})")

    def _set_axis(self, _index: int = 0) -> None:
        axes, image = self.axis_combo.currentData(), self._workspace.image
        if not axes or image is None:
            return
        choose_axes(image, axes)
        labels, told = axes.replace("C", "").lower(), self._workspace.annotation
        if told is not None and told.ndim == len(labels) > 2:
            told.axis_labels = tuple(labels)
        # whoever has looked at the image looks again: it is another stack now
        self._workspace.image_changed.emit(image)


class SavedPart(QWidget):
    """Whether what is painted is saved, and where; and the other projects of the image."""

    failed = Signal(object)  # the exception

    def __init__(
        self,
        workspace: Workspace,
        lifetime: Lifetime,
        show_folder: Callable[[Path], Any] | None = None,
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._embedded = False
        self._show_folder = show_folder or _show_folder
        self.saved = WrappedLabel()
        self.folder = small_label()
        self.folder_button = QToolButton()
        self.folder_button.setText("Open folder")
        self.folder_button.setToolTip("Show the project's folder in the file manager.")
        self.folder_button.clicked.connect(self.open_folder)
        self.projects_button = QToolButton()
        self.projects_button.setToolTip("All that was painted on this image: choose what to open.")
        self.projects_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.projects_button.setMenu(QMenu(self.projects_button))
        row = QHBoxLayout()
        row.addWidget(self.folder, 1)
        row.addWidget(self.folder_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.saved)
        column.addWidget(RemedyButton(workspace, lifetime))
        column.addLayout(row)
        column.addWidget(self.projects_button)
        lifetime.connect(workspace.projects_changed, self._show_projects)
        lifetime.connect(workspace.offer_changed, self._show)
        lifetime.connect(workspace.frames.changed, self._show)
        self._show_projects()
        lifetime.connect(workspace.saving_changed, self._show)
        lifetime.connect(workspace.project_changed, self._show)
        self._show()

    def embed(self) -> None:
        """Leave it to the workbench to say how the saving stands."""
        self._embedded = True
        self._show()

    def open_folder(self, *_: Any) -> None:
        """Show the project's folder in the file manager."""
        if self._workspace.project is not None:
            self._show_folder(self._workspace.project.path)

    def open_project(self, path: Path) -> None:
        """Bring back a project of the image, as the menu does; problems are told by `failed`."""
        try:
            resume_project(self._workspace, path, failed=self.failed.emit)
        except ValueError as error:
            self.failed.emit(error)

    def _show_projects(self, _what: Any = None) -> None:
        listed = self._workspace.projects
        menu = self.projects_button.menu()
        assert menu is not None
        menu.clear()
        menu.setToolTipsVisible(True)
        for one in listed:
            here = self._workspace.autosave.layer_of(one.path) is not None
            problem = "open here" if here else one.problem
            state = " ".join(filter(None, (one.words, f"({problem})" if problem else "")))
            title = f"{one.path.name}: {state or 'nothing painted'}"
            action = menu.addAction(title if len(title) < _LONG else f"{title[:_LONG]}…")
            assert action is not None
            action.setToolTip(f"{one.path}\n{one.problem}".strip())
            action.setEnabled(here or not one.problem)
            action.triggered.connect(lambda _=False, path=one.path: self.open_project(path))
        self.projects_button.setText(f"Projects of this image: {len(listed)}")
        self.projects_button.setVisible(bool(listed))

    def _show(self, _what: Any = None) -> None:
        saving, project = self._workspace.saving, self._workspace.project
        nothing = "Nothing painted yet: the first stroke starts a project."
        if self._workspace.frames.totals.frames:
            nothing = "Not in a project yet: the next stroke starts one, with all that is painted."
        elif self._workspace.offer is not None:
            nothing = (
                "Go on with what you painted before, above; or the first stroke starts a project."
            )
        text = saving.text or nothing
        self.saved.setText(text[:1].upper() + text[1:])
        self.saved.setVisible(not (self._embedded and saving.text))
        set_style(self.saved, "color: @error;" if saving.failed else "")
        path = None if project is None else project.path
        self.folder.setVisible(path is not None)
        self.folder_button.setVisible(path is not None)
        if path is not None:
            self.folder.setText(_short(path))
            self.folder.setToolTip(str(path))
            self.saved.setToolTip(str(path))


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _show_folder(path: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))


_FORMATS = {
    "array": "image",
    "ctc": "Cell Tracking Challenge sequence",
    "volume": "TIFF volume",
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
        self._look_relay = JobRunner()
        self._lifetime.at_end(self._look_relay.close)
        self._look_again = False
        self._said = False  # by the look at the path, which takes back no other word
        self.banner = OfferBanner(self._workspace, self._lifetime)
        self.banner.failed.connect(self.show_error)
        self.trouble = TroubleBanner(self._workspace, self._lifetime)
        self.column.addWidget(self.trouble)
        self.column.addWidget(self.banner)
        self._build_path_group()
        self.image = ImagePart(self._workspace, self._lifetime)
        self.annotate_button = QPushButton("New annotation")
        self.annotate_button.setToolTip(
            "Add an empty layer to number cells on, the size of the image. "
            "The step Annotate has other kinds of labels."
        )
        self.annotate_button.clicked.connect(self.new_annotation)
        self._box("Image", self.image, self.annotate_button)
        self.saved = SavedPart(self._workspace, self._lifetime)
        self.saved.failed.connect(self.show_error)
        self._box("Project", self.saved)
        self.column.addStretch(1)
        self._lifetime.connect(self._workspace.image_changed, self._allow)
        self._allow()
        later = qdebounced(self._look, timeout=_TYPING_MS)
        self._lifetime.at_end(later.cancel)
        self.path_edit.changed.connect(lambda _path: self._list_sequences(()))
        self.path_edit.changed.connect(lambda _path: self.labels_box.show())
        self.path_edit.changed.connect(lambda _path: self.labels.forget())
        self.path_edit.changed.connect(self.moved.forget)
        self.path_edit.changed.connect(lambda _path: later())
        self.path_edit.changed.connect(lambda _path: self._list(self.series_combo))
        self.path_edit.changed.connect(lambda _path: self._list(self.axes_combo))
        for combo in (self.sequence_combo, self.series_combo, self.axes_combo):
            combo.currentIndexChanged.connect(lambda _index: self._look())
        self._list_sequences(())
        self._list(self.series_combo)
        self._list(self.axes_combo)

    def _build_path_group(self) -> None:
        form = self._group("Stack on disk")
        hint = "dataset, .tif, folder or project"
        self.path_edit = PathEdit(mode=EITHER, placeholder=hint)
        self.sequence_combo = QComboBox()
        self.sequence_combo.setToolTip("The sequence of the dataset.")
        form.addRow("Path", self.path_edit.native)
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
        self.moved.ask(error, self.path_edit.value)

    def relocate(self, project: Path, images: Path) -> None:
        """Say where the images of a project are now, and load it, as the button does."""
        if self.running:
            return

        def job() -> Generator[Any, None, Any]:
            from napari_jnet.plugin.layers.stack_layers import path_layers
            from napari_jnet.project.project import Project

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
            new_annotation(self._workspace)
        except ValueError as error:
            self.show_error(error)
            return
        self.message.say("Paint on the new layer: each cell with a number of its own.")
        self._workspace.page = "annotate"

    def _allow(self, _image: Any = None) -> None:
        image = self._workspace.image
        self.annotate_button.setEnabled(image is not None and is_stack(image))

    def set_path(
        self, path: Path | str, sequence: str | None = None, *, labels: bool = True
    ) -> None:
        """Choose what to load; without labels, the image alone."""
        self.labels_box.setChecked(labels)
        self.path_edit.value = path
        if sequence is not None:
            self._list_sequences((sequence,))
            self.sequence_combo.setCurrentText(sequence)

    def load(self, *_: Any) -> None:
        """Add the layers, as the button does; problems are said in the widget."""
        path, chosen = self.path_edit.value, self._chosen()
        labels = self.labels_box.isChecked()
        said = self.labels.said if labels else {}
        if self.running:
            return
        if path is None:
            self.show_error(ValueError("There is no path; choose a dataset, a volume or a folder."))
            self.finished.emit("failed")
            return

        def job() -> Generator[Any, None, Any]:
            from napari_jnet.plugin.layers.stack_layers import path_layers

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
        path = self.path_edit.value
        if self._look_relay.running:
            self._look_again = True
            return
        if path is None:
            return
        chosen, said = self._chosen(), self.labels.said

        def job() -> Generator[_Found, None, None]:
            from napari_jnet.project.manifest import project_folder
            from napari_jnet.project.open import images, open_stack, sequences

            stack = open_stack(path, **chosen, **said)
            ours = project_folder(path) is not None
            words = stack_words(stack, project=ours)
            unsure = None if ours else _unsure(stack)
            yield _Found(stack, sequences(path), images(path), words, ours, unsure)

        self._look_relay.start(job, self._show_found, self._looked, self._cannot)

    def _show_found(self, found: _Found) -> None:
        if self.path_edit.value is not None and not self._look_again:
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
    from napari_jnet.io.folder import frame_shapes, largest_frame

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
