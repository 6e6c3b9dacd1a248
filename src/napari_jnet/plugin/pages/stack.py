"""The page Stack: a stack on disk, the chosen image, and its project."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import napari
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_jnet.io.axes import axes_text, size_text
from napari_jnet.io.stack import AmbiguousInput, Stack
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.autosave.resume import resume_project
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.read import choose_axes, image_stack, layer_choices, stored_axes
from napari_jnet.plugin.layers.stack_layers import LayerData, path_layers
from napari_jnet.plugin.ui.form import EITHER, Form, PathEdit
from napari_jnet.plugin.ui.page import JobWidget
from napari_jnet.plugin.ui.theme import set_style
from napari_jnet.plugin.ui.widgets import (
    LayerCombo,
    WrappedLabel,
    dropped_path,
    plural,
    push_button,
    small_label,
)
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.open import images, open_stack, sequences
from napari_jnet.project.places import ListedProject
from napari_jnet.project.project import PAINTED, Project
from napari_jnet.project.source import StackMissing

_TYPING_MS = 300
_PATH_HINT = (
    "A Cell Tracking Challenge dataset, an ISBI or other TIFF volume with labels beside it, "
    "a folder of images with masks, or a project of yours."
)
_KINDS = [
    ("as in the labels", ""),
    ("cells: each number is one cell", LabelKind.INSTANCES.value),
    ("classes: each number is a class", LabelKind.CLASSES.value),
    ("scribbles: 0 is not labelled", LabelKind.SCRIBBLES.value),
]
_UNLABELLED = [
    ("as in the labels", ""),
    ("background: frames are complete", "background"),
    ("unknown: only some is labelled", "unknown"),
]
_CHOOSE = [("choose…", "")]
_AXES_TIP = "What the dimensions of the file are, in its order: T time, Z sections, C channels."
_OF_FILES = (
    ("sequence", "Sequence", "The sequence of the dataset.", _CHOOSE),
    ("series", "Image", "The file holds several images (positions): one is opened.", _CHOOSE),
    ("axes", "Axes", _AXES_TIP, _CHOOSE),
)
_OF_LABELS = (
    ("truth", "Label file", "Of several label files, the one that is meant.", _CHOOSE),
    ("kind", "Labels are", "What the numbers of the labels mean.", _KINDS),
    ("unlabelled", "Not labelled", "What pixels without a label are.", _UNLABELLED),
)


class Banner(QFrame):
    """A framed text with widgets and buttons below it; hidden while there is no text."""

    def __init__(self, color: str, *widgets: QWidget) -> None:
        super().__init__()
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, f"Banner {{ border: 1px solid @{color}; border-radius: 4px; }}")
        self.text = WrappedLabel()
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._buttons = QHBoxLayout()
        column = QVBoxLayout(self)
        for widget in (self.text, *widgets):
            column.addWidget(widget)
        column.addLayout(self._buttons)
        self.hide()

    def add_button(self, title: str, tooltip: str, call: Callable[[], Any]) -> QPushButton:
        """Add a button and return it."""
        button = push_button(title, tooltip, call)
        self._buttons.addWidget(button)
        return button

    def show_text(self, text: str) -> None:
        """Show a text, or hide where it is empty."""
        self.text.setText(text)
        self.setVisible(bool(text))


class DiskForm(Form):
    """The path of a stack, and choices that its files leave open."""

    def __init__(self, rows: QFormLayout) -> None:
        super().__init__(rows)
        hint = "dataset, .tif, folder or project"
        self.add("path", "Path", widget_type=PathEdit, mode=EITHER, placeholder=hint)
        self._add_choices(_OF_FILES)
        self.description = small_label()
        rows.addRow(self.description)
        tip = "On by default. Without them only the image is added, to paint your own."
        text = "with the labels that lie beside it"
        self.add("labels", "", value=True, text=text, tooltip=tip)
        self.question = WrappedLabel()
        self.question.setStyleSheet("font-weight: bold;")
        rows.addRow(self.question)
        self._add_choices(_OF_LABELS)
        self.clear()
        self.description.setText(_PATH_HINT)

    def _add_choices(self, rows: Iterable[tuple[str, str, str, list[tuple[str, str]]]]) -> None:
        for name, title, tip, choices in rows:
            self.add(name, title, value="", choices=choices, tooltip=tip)

    @property
    def choices(self) -> dict[str, Any]:
        """The keyword arguments of `open_stack`; None where the files decide."""
        return {name: self.value(name) or None for name, *_ in _OF_FILES + _OF_LABELS}

    def offer(self, name: str, choices: list[tuple[str, Any]], value: Any = "") -> None:
        """Offer choices, and show the row where there are several."""
        self.set_choices(name, choices or _CHOOSE)
        if value in self[name].choices:
            self.show({name: value})
        self.set_visible(name, len(choices) > 1)

    def ask(self, text: str) -> None:
        """Show why the stack or its labels cannot be used, or what has to be chosen; "" hides it."""
        self.question.setText(text)
        self.question.setVisible(bool(text))

    def clear(self) -> None:
        """Reset the choices of another path."""
        for name in ("sequence", "series", "axes", "truth"):
            self.offer(name, [])
        self.show({"kind": "", "unlabelled": ""})
        self.set_visible("labels", True)
        self._show_labels(None, None)

    def show_error(self, error: Exception) -> None:
        """Show why the path cannot be opened, and the choices that would open it."""
        self.description.setText("")
        self.ask(str(error))
        if isinstance(error, AmbiguousInput) and error.parameter in ("axes", "series"):
            number = str if error.parameter == "axes" else int
            choices = [(str(choice), number(choice)) for choice in error.choices]
            self.offer(error.parameter, [*_CHOOSE, *choices])

    def show_found(self, found: Found) -> None:
        """Offer the choices of a stack that was opened with the present ones."""
        stack = found.stack
        self.description.setText(found.description)
        self.offer("sequence", [(name, name) for name in found.sequences], stack.sequence)
        series = [(f"{n}: {text}", n) for n, text in enumerate(found.images, 1)]
        self.offer("series", series, stack.series or 1)
        self.set_visible("labels", not found.project)
        self._show_labels(None if found.project else stack, found.unsure)

    def _show_labels(self, stack: Stack | None, unsure: AmbiguousInput | None) -> None:
        """Offer the choices of the labels, and ask for the one that is required."""
        labels = {} if stack is None else stack.annotations
        if unsure is not None and unsure.parameter == "truth":
            self.offer("truth", [*_CHOOSE, *((name, name) for name in unsure.choices)])
        self.set_visible("truth", bool(labels) and len(self["truth"].choices) > 1)
        open_choice = bool(labels) and all(found.decide for found in labels.values())
        self.set_visible("kind", open_choice and stack is not None and stack.format != "ctc")
        self.set_visible("unlabelled", open_choice)
        self.ask("" if unsure is None else f"{unsure.fact} Choose below.")


class ImageSection(QWidget):
    """The chosen image; its first axis can be corrected."""

    def __init__(self, workspace: Workspace, lifetime: Lifetime) -> None:
        super().__init__()
        self._workspace = workspace
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setVerticalSpacing(4)
        combo = LayerCombo(workspace, "image", lifetime)
        combo.setToolTip("The image that all pages use.")
        self.description = small_label()
        rows.addRow("Image", combo)
        rows.addRow(self.description)
        self.form = Form(rows)
        tip = (
            "The first one is that of the slider and names the frames (t002 or z002); channels are parts "
            "of a frame and learned together. Axes are stored with the project and the results."
        )
        self.form.add("axes", "Axes", value="", choices=_CHOOSE, tooltip=tip)
        self.form.changed.connect(self._set_axes)
        lifetime.connect(workspace.image_changed, self.refresh)
        self.refresh()

    def refresh(self, _image: Any = None) -> None:
        """Describe the image again."""
        image, axes = self._workspace.image, ""
        choices: tuple[str, ...] = ()
        text = "No image yet: choose a path above, or drop it here."
        if image is not None:
            choices = layer_choices(image)
            try:
                text, axes = describe_image(image_stack(image)), stored_axes(image)
            except ValueError as error:
                text = str(error)
        self.description.setText(text)
        editable = len(choices) > 1 and axes in ("", *choices)
        titles = [(axes_text(choice), choice) for choice in choices]
        self.form.set_choices("axes", titles if editable and axes else [*_CHOOSE, *titles])
        self.form.show({"axes": axes if editable else ""})
        self.form.set_visible("axes", editable)

    def _set_axes(self, _name: str) -> None:
        axes, image = self.form.value("axes"), self._workspace.image
        if not axes or image is None:
            return
        choose_axes(image, axes)
        labels, annotation = tuple(axes.replace("C", "").lower()), self._workspace.annotation
        if annotation is not None and annotation.ndim == len(labels) > 2:
            annotation.axis_labels = labels
        # listeners read the image again: it is another stack now
        self._workspace.image_changed.emit(image)


class ProjectSection(QWidget):
    """Whether and where annotations are saved; and the other projects of the image."""

    def __init__(
        self, workspace: Workspace, lifetime: Lifetime, show_error: Callable[[Exception], None]
    ) -> None:
        super().__init__()
        self._workspace, self._show_error = workspace, show_error
        self.saved = WrappedLabel()
        self.embedded = False  # the workbench says what is saved
        self.folder_button = push_button("Open folder", "", self.open_folder)
        self.projects_button = QPushButton()
        self.menu = QMenu(self.projects_button)
        self.menu.setToolTipsVisible(True)
        self.projects_button.setToolTip("The projects of this image: choose one to open.")
        self.projects_button.setMenu(self.menu)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.saved)
        column.addWidget(self.folder_button)
        column.addWidget(self.projects_button)
        lifetime.connect(workspace.projects_changed, self._show_projects)
        lifetime.connect(workspace.saving_changed, self._show)
        lifetime.connect(workspace.project_changed, self._show)
        self._show_projects()
        self._show()

    def open_folder(self) -> None:
        """Show the project's folder in the file manager."""
        if self._workspace.project is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._workspace.project.path)))

    def resume(self, path: Path, *_: Any) -> None:
        """Resume a project of the image."""
        resume_project(self._workspace, path, failed=self._show_error)

    def _show_projects(self, _projects: Any = None) -> None:
        self.menu.clear()
        for one in self._workspace.projects:
            here = self._workspace.autosave.layer_of(one.path) is not None
            state = "cannot be opened" if one.problem else one.summary or "nothing painted"
            action = self.menu.addAction(f"{one.path.name}: {'open here' if here else state}")
            assert action is not None
            action.setToolTip(f"{one.path}\n{one.problem}".strip())
            action.setEnabled(here or not one.problem)
            action.triggered.connect(partial(self.resume, one.path))
        count = len(self._workspace.projects)
        self.projects_button.setText(f"Projects of this image: {count}")
        self.projects_button.setVisible(count > 0)

    def _show(self, _changed: Any = None) -> None:
        workspace, saving = self._workspace, self._workspace.saving
        text = saving.text or (
            "Not in a project yet: the next stroke starts one, with all that is painted."
        )
        self.saved.setText(text[:1].upper() + text[1:])
        self.saved.setHidden(self.embedded and bool(saving.text))
        set_style(self.saved, "color: @error;" if saving.failed else "")
        self.folder_button.setVisible(workspace.project is not None)
        if workspace.project is not None:
            self.folder_button.setToolTip(str(workspace.project.path))


class Found(NamedTuple):
    """A stack that was found at a path."""

    stack: Stack
    sequences: tuple[str, ...]
    images: tuple[str, ...]
    description: str
    project: bool  # whether the path is a project
    unsure: AmbiguousInput | None  # the choice that the labels leave open


class LoadWidget(JobWidget):
    """Describe a stack on disk before it is loaded, the chosen image, and its project."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        self.setAcceptDrops(True)
        self._inspections = TaskQueue("napari-jnet inspecting")
        self._lifetime.at_end(self._inspections.close)
        self._moved_project: Path | None = None
        self._add_banners()
        self.form = DiskForm(self._group("Stack on disk"))
        tip = "Add the image and its labels as layers; images are read lazily."
        self.load_button = push_button("Load", tip, self.load)
        self._add_starters(self.load_button)
        self.column.addWidget(self.moved)
        self._starters.append(self.moved_button)
        self.image = ImageSection(self._workspace, self._lifetime)
        self._group("Image").addRow(self.image)
        self.project = ProjectSection(self._workspace, self._lifetime, self.show_error)
        self._group("Project").addRow(self.project)
        self.column.addStretch(1)
        self._inspect_soon = qdebounced(self._inspect, timeout=_TYPING_MS)
        self._lifetime.at_end(self._inspect_soon.cancel)
        self.form.changed.connect(self._on_changed)

    def _add_banners(self) -> None:
        workspace, lifetime = self._workspace, self._lifetime
        self.problem = Banner("warning")
        tip = "Hide this; the files stay as they are."
        self.problem.add_button("Dismiss", tip, lambda: setattr(workspace, "problem", ""))
        lifetime.connect(workspace.problem_changed, self.problem.show_text)
        self.problem.show_text(workspace.problem)
        self.offer = Banner("accent")
        tip = "Open its annotation, model and last training."
        self.resume_button = self.offer.add_button("Resume", tip, self.resume)
        tip = "Start without it. The project is unchanged and stays in the list Projects of this image."
        self.offer.add_button("Start fresh", tip, workspace.dismiss_offer)
        lifetime.connect(workspace.offer_changed, self._show_offer)
        self.column.addWidget(self.problem)
        self.column.addWidget(self.offer)
        hint = "the same images, at their new place"
        self.moved_path = PathEdit(mode=EITHER, placeholder=hint)
        self.moved = Banner("warning", self.moved_path.native)
        self.moved_button = self.moved.add_button(
            "Use these images",
            "Open the project with them, and remember their place. Other images than those that "
            "were annotated are refused.",
            self.relocate,
        )
        self.moved_button.setEnabled(False)
        self.moved_path.changed.connect(lambda path: self.moved_button.setEnabled(path is not None))
        self._show_offer(workspace.offer)

    def show_error(self, error: Exception) -> None:
        """Show an error; where the images of a project are missing, ask for their path."""
        if isinstance(error, AmbiguousInput):
            error = ValueError(f"{error.fact} Choose above.")
        super().show_error(error)
        path = self.form.value("path")
        if path is not None and isinstance(error, StackMissing):
            self._moved_project = project_folder(path)
            self.moved.show_text("Where are the images now?" if self._moved_project else "")

    # projects of the image

    def embed(self) -> None:
        """Leave the line about saving to the workbench."""
        self.project.embedded = True

    def resume(self) -> None:
        """Resume the offered project, as the button does."""
        if self._workspace.offer is not None:  # else pressed twice
            self.project.resume(self._workspace.offer.path)

    def _show_offer(self, offer: ListedProject | None) -> None:
        text = ""
        if offer is not None:
            text = f"You have worked on this image before: {offer.path.name}, {offer.summary}."
        self.offer.show_text(text)

    # loading

    def set_path(
        self, path: Path | str, sequence: str | None = None, *, labels: bool = True
    ) -> None:
        """Choose what to load; without labels, the image alone."""
        self.form.show({"labels": labels})
        self.form.set({"path": path})
        if sequence is not None:
            self.form.offer("sequence", [(sequence, sequence)])

    def load(self) -> None:
        """Add the layers, as the button does; problems are shown in the widget."""
        path, choices = self.form.value("path"), self.form.choices
        labels = self.form.value("labels")
        if self.running:
            return
        if path is None:
            self._on_error(ValueError("No path is chosen. Choose a dataset, a volume or a folder."))
            return
        read = partial(path_layers, path, labels=labels, **choices)
        self._start(partial(_loading, read), f"loading {path.name}")
        self.progress.setFormat("reading labels…")

    def relocate(self) -> None:
        """Set the path of the images of a project, and load it, as the button does."""
        project, path = self._moved_project, self.moved_path.value
        if self.running or project is None or path is None:
            return

        def read() -> list[LayerData]:
            Project.open(project).relocate(path)
            return path_layers(project)

        self._start(partial(_loading, read), f"loading {path.name}")

    def _on_done(self, value: Any) -> None:
        try:
            for data, options, kind in value:
                getattr(self._viewer, f"add_{kind}")(data, **options)
        except (ValueError, OSError) as error:  # napari reads the frame that it shows
            self._on_error(error)
            return
        self.moved.show_text("")
        self.message.say("Loaded the image." if len(value) == 1 else "Loaded image and labels.")
        super()._on_done(value)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept one dropped file or folder."""
        if dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Load the dropped file or folder."""
        path = dropped_path(event)
        if path is not None:
            event.acceptProposedAction()
            self.set_path(path)
            self.load()

    # inspecting the path

    def _on_changed(self, name: str) -> None:
        if name == "path":
            self.form.clear()
            self.moved.show_text("")
            self._inspect_soon()
        elif name != "labels":
            self._inspect()

    def _inspect(self) -> None:
        path, choices = self.form.value("path"), self.form.choices
        if path is None:
            return

        def is_current() -> bool:
            return (path, choices) == (self.form.value("path"), self.form.choices)

        def inspect() -> Found:
            from napari_jnet.cli.info import describe_stack

            stack, project = open_stack(path, **choices), project_folder(path) is not None
            if project:  # only what is painted in it is loaded
                painted = {n: one for n, one in stack.annotations.items() if n == PAINTED}
                stack = replace(stack, annotations=painted)
            lines = describe_stack(path, stack, brief=True)
            description = "\n".join(f"{title}: {text}" for title, text in lines.items())
            unsure = None if project else _find_unsure(stack)
            return Found(stack, sequences(path), images(path), description, project, unsure)

        def show(found: Found) -> None:
            if is_current():
                self.form.show_found(found)

        def show_error(error: Exception) -> None:
            if is_current():
                self.form.show_error(error)

        self._inspections.submit(inspect, show, show_error)


def _loading(read: Callable[[], list[LayerData]]) -> Generator[Any, None, list[LayerData]]:
    """Run a job without events."""
    yield from ()
    return read()


def describe_image(stack: Stack) -> str:
    """Describe axes, frames and their size: "time, rows, columns: 84 frames of 512 × 512, uint8"."""
    frames = f"{plural(len(stack), 'frame')} of {size_text(stack.shape)}, {stack.dtype}"
    return f"{axes_text(stack.axes)}: {frames}"


def _find_unsure(stack: Stack) -> AmbiguousInput | None:
    """Return the choice that the labels of a stack leave open, or None; may read them all."""
    try:
        if stack.annotations:
            _ = stack.annotation().kind
    except AmbiguousInput as error:
        return error
    except (ValueError, OSError):
        pass  # in the description of the stack
    return None
