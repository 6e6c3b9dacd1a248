"""What is true in one viewer: its image, annotation, model, project, prediction and training.

Pages read it, change it and listen to it; none knows another.  It holds no Qt: whoever does the work (the
autosave, the page that trains) sets here how it stands.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary, WeakSet

import napari
import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_jnet.labels import LabelKind
from napari_jnet.plugin.command import Commands
from napari_jnet.plugin.layers.add import Prediction, add_annotation
from napari_jnet.plugin.layers.read import channel_axis, result_of
from napari_jnet.plugin.layers.watch import FrameTable
from napari_jnet.project.places import ListedProject
from napari_jnet.project.project import Project

if TYPE_CHECKING:
    from napari_jnet.plugin.jobs.runner import TaskQueue

T = TypeVar("T")


@dataclass(frozen=True)
class TrainingStatus:
    """How the training of a viewer stands."""

    state: str = "idle"  # idle, running, paused or stopping
    run: Path | None = None
    epoch: int = 0
    progress: float = 0.0  # of the whole training, 0 to 1
    outcome: str = ""  # how the last one ended: done, stopped or failed
    # weakly: what it learns from
    labels: Callable[[], Any] = field(default=lambda: None, compare=False)


@dataclass(frozen=True)
class SaveStatus:
    """What the window shows of saving: "saved 12:03", or why not."""

    text: str = ""
    saved: bool = True  # False while strokes are only in memory
    failed: bool = False


class _Saves(Protocol):
    """What pages ask of `AutoSave`, which stands above the workspace."""

    @property
    def queue(self) -> TaskQueue: ...

    def ensure_project(
        self,
        then: Callable[[Project], Any] | None = None,
        failed: Callable[[Exception], Any] | None = None,
    ) -> None: ...

    def layer_of(self, path: Path) -> Any | None: ...


class Shared(Generic[T]):
    """A value of a workspace; setting another one emits ``<name>_changed`` with it."""

    def __init__(self, default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> T:
        value: T = vars(instance).get(self._name, self._default)
        return value

    def __set__(self, instance: Any, value: T) -> None:
        before = self.__get__(instance, type(instance))
        layer = hasattr(value, "metadata")
        if value is before or (not layer and type(value) is type(before) and value == before):
            return
        vars(instance)[self._name] = value
        getattr(instance, f"{self._name}_changed").emit(value)


class Workspace:
    """What is true in one viewer; setting what is `Shared` emits its signal."""

    image_changed = Signal(object)
    annotation_changed = Signal(object)
    project_changed = Signal(object)
    model_changed = Signal(str)
    prediction_changed = Signal(object)
    training_changed = Signal(object)
    saving_changed = Signal(object)
    offer_changed = Signal(object)
    projects_changed = Signal(object)
    measured_changed = Signal(int)
    problem_changed = Signal(str)
    page_changed = Signal(str)

    # the active image and labels layer, until one is chosen: shown, painted on and learned from
    image: Shared[Any] = Shared(None)
    annotation: Shared[Any] = Shared(None)
    project: Shared[Project | None] = Shared(None)  # that remembers this work
    prediction: Shared[Prediction | None] = Shared(None)  # the layers of the last one
    training: Shared[TrainingStatus] = Shared(TrainingStatus())
    saving: Shared[SaveStatus] = Shared(SaveStatus())
    # to resume the newest project of the image that holds something; and all, the damaged ones last
    offer: Shared[ListedProject | None] = Shared(None)
    projects: Shared[tuple[ListedProject, ...]] = Shared(())
    measured: Shared[int] = Shared(0)  # cells in the table of Measure
    problem: Shared[str] = Shared("")  # what is damaged in the files of this work, and what to do
    page: Shared[str] = Shared("stack")  # a step of the workbench, by its name

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self.commands = Commands(viewer)
        self.frames = FrameTable(viewer)
        self.autosave: _Saves
        self._model: Path | None = None
        self._models: WeakKeyDictionary[Any, Path] = WeakKeyDictionary()  # of annotations
        self._model_before: Path | None = None  # chosen before there was an annotation
        self._chosen: set[str] = set()  # "image" and "annotation", where the user chose them
        self.dismissed: WeakSet[Any] = WeakSet()  # images that were started afresh
        # before all others, so that they read the model and the frames of what is current
        self.annotation_changed.connect(self._follow_model)
        self.annotation_changed.connect(self.frames.follow_annotation)
        self.image_changed.connect(self.frames.follow_image)
        self.project_changed.connect(self._know_model)
        events = viewer.layers.events
        for emitter in (events.inserted, events.removed, events.reordered):
            emitter.connect(self._follow)
        viewer.layers.selection.events.active.connect(self._follow)
        self._follow()

    @property
    def viewer(self) -> Any:
        """The viewer, or None when it is gone."""
        return self._viewer()

    # layers

    def images(self) -> list[Image]:
        """Return the image layers that one can work on, in the order of the viewer."""
        return [layer for layer in self._layers(Image) if not result_of(layer)]

    def labels(self) -> list[Labels]:
        """Return the labels layers that can be learned from; cells may be corrected, so they count."""
        return [layer for layer in self._layers(Labels) if result_of(layer) in ("", "cells")]

    def choose(self, role: str, layer: Any) -> None:
        """Choose the "image" or the "annotation"; it stays chosen as long as the viewer has it.

        A layer that the viewer does not have raises `ValueError`.
        """
        layer = getattr(layer, "__wrapped__", layer)  # a script may hold napari's proxy
        if not any(layer is candidate for candidate in self._candidates(role)):
            name = getattr(layer, "name", layer)
            raise ValueError(f"{name!r} cannot be the {role}; add it to the viewer first.")
        self._chosen.add(role)
        setattr(self, role, layer)

    def new_annotation(
        self, kind: LabelKind | str = LabelKind.INSTANCES, classes: Sequence[tuple[str, str]] = ()
    ) -> Labels:
        """Add an empty labels layer for the image, choose it, and make it ready to paint.

        ``classes`` are (name, "#rrggbb") of each number from 0; for classes and scribbles there is a default.
        Without an image of frames this raises `ValueError`.
        """
        if self.image is None or self.viewer is None:
            raise ValueError("There is no image to annotate; open one first.")
        layer = add_annotation(self.viewer, self.image, LabelKind(kind), classes)
        self.choose("annotation", layer)
        return layer

    def dismiss_offer(self) -> None:
        """Start fresh with this image: the project stays as it is, and is not offered again."""
        if self.image is not None:
            self.dismissed.add(self.image)
        self.offer = None

    def go_to(self, position: int) -> None:
        """Show a frame of the image, by its position along the stack."""
        viewer, image = self.viewer, self.image
        if viewer is None or image is None:
            return
        axes = [n for n in range(image.ndim) if n != channel_axis(image)]
        if len(axes) < 3:
            return
        index = np.zeros(image.ndim)
        index[axes[0]] = position
        at = image.data_to_world(index)[axes[0]]
        viewer.dims.set_point(viewer.dims.ndim - image.ndim + axes[0], at)

    def _layers(self, kind: type) -> list[Any]:
        viewer = self.viewer
        return [] if viewer is None else [one for one in viewer.layers if isinstance(one, kind)]

    def _candidates(self, role: str) -> list[Any]:
        return self.images() if role == "image" else self.labels()

    def _follow(self, _event: Any = None) -> None:
        """Take the active layers, unless the user has chosen; drop layers that are gone."""
        viewer = self.viewer
        if viewer is None:
            return
        active = viewer.layers.selection.active
        for role in ("image", "annotation"):
            there = self._candidates(role)
            present = getattr(self, role)
            kept = any(layer is present for layer in there)
            if kept and role in self._chosen:
                continue
            self._chosen.discard(role)
            plain = [layer for layer in there if not result_of(layer)]
            new = [layer for layer in plain if layer is active]
            if new or not kept:
                setattr(self, role, (new or plain[-1:] or [None])[0])

    # the model

    @property
    def model(self) -> Path | None:
        """The run folder or model file that predicts and is fine-tuned.

        It is what was chosen or trained last for the annotation; where nothing was, it stays as it is.
        """
        return self._model

    @property
    def own_model(self) -> Path | None:
        """The model that was chosen or trained for the annotation, or None."""
        return None if self.annotation is None else self._models.get(self.annotation)

    def choose_model(self, path: Path | None) -> None:
        """Take the model that somebody chose for the annotation, or none; the project remembers it."""
        if path is None or not _is_model(path):  # nothing, or a path that is half typed
            self._show_model(path)
        else:
            self._model_before = path if self.annotation is None else None
            self.set_model(path, self.annotation, self.project)

    def set_model(self, path: Path, annotation: Any, project: Project | None) -> None:
        """Set which model was trained for an annotation, which need not be the present one.

        The project of that annotation, where there is one yet, remembers it.  Another annotation that is
        painted on now keeps its own.
        """
        if annotation is not None:
            self._models[annotation] = path
        self._save_model(path, project)
        if annotation is self.annotation or self.own_model is None:
            self._show_model(path)

    def _show_model(self, path: Path | None) -> None:
        # also emitted where the path is the same: the file in it may be new
        self._model = path
        self.model_changed.emit("" if path is None else str(path))

    def _follow_model(self, _annotation: Any) -> None:
        """Take the model of the labels that are current now, where they have one."""
        if self.own_model not in (None, self.model):
            self._show_model(self.own_model)

    def _know_model(self, project: Project | None) -> None:
        """Take the model that a project remembers; one without any remembers that of its annotation."""
        if project is None or self.annotation is None:
            return
        remembered = project.model
        own = self.own_model or remembered or self._model_before
        self._model_before = None  # the next annotation is not the first
        if own is not None:
            self._models[self.annotation] = own
            self._follow_model(self.annotation)
            if own != remembered:
                self._save_model(own, project)

    def _save_model(self, path: Path, project: Project | None) -> None:
        if project is not None and _is_model(path):
            save = self.autosave.queue.submit
            save(lambda: project.set_model(path), failed=self._model_not_saved)

    def _model_not_saved(self, error: Exception) -> None:
        text = f"The project could not remember the model: {error}"
        self.problem = f"{self.problem}\n\n{text}".strip()


def _is_model(path: Path) -> bool:
    return path.is_file() or (path / "model.pt").is_file()


class Lifetime:
    """What ends with a widget; holds no reference to it.

    A deleted Qt widget still hears napari's events through its Python half; `end` cuts that.
    """

    def __init__(self) -> None:
        self._endings: list[Callable[[], Any]] = []

    def connect(self, emitter: Any, callback: Callable[..., Any]) -> None:
        """Connect until the end."""
        emitter.connect(callback)
        self._endings.append(lambda: emitter.disconnect(callback))

    def at_end(self, call: Callable[[], Any]) -> None:
        """Call this when the widget is gone."""
        self._endings.append(call)

    def end(self, *_: object) -> None:
        """End everything; more calls do nothing."""
        while self._endings:
            # Qt may have deleted a timer before its owner: it is at its end already
            with suppress(RuntimeError):
                self._endings.pop()()
