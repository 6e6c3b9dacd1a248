"""The state of one viewer, which its widgets share.

Widgets read it, ask it for changes and listen to it; none knows another.  It holds no Qt and does no
work: whoever does (the keeper that saves, the widget that trains) says here how it stands.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from psygnal import Signal

from napari_jnet.plugin.command import Commands

if TYPE_CHECKING:
    import napari


def _metadata(layer: Any) -> dict[str, Any]:
    return layer.metadata.get(METADATA_KEY, {})


def channel_axis(layer: Any) -> int | None:
    """Return which dimension of an image layer holds channels, by its label; None without one.

    The colours of an RGB layer are no dimension of it.
    """
    if not hasattr(layer, "rgb") or layer.rgb or layer.ndim < 3:
        return None
    letters = [_letter(label) for label in layer.axis_labels]
    return letters.index("C") if "C" in letters else None


_LETTERS = {
    "T": ("t", "time", "times", "frame", "frames", "timepoint"),
    "Z": ("z", "depth", "plane", "planes", "section", "sections", "slice", "slices"),
    "C": ("c", "ch", "channel", "channels", "color", "colour"),
    "Y": ("y", "row", "rows", "height"),
    "X": ("x", "column", "columns", "col", "width"),
    "P": ("p", "pos", "position", "positions", "s", "scene", "scenes", "series", "m", "tile", "v"),
}


def _letter(label: Any) -> str:
    plain = str(label).strip().lower()
    return next((letter for letter, words in _LETTERS.items() if plain in words), "?")


METADATA_KEY = "napari-jnet"


_switched: list[Any] = []


@dataclass(frozen=True)
class TrainingStatus:
    """How the training of a viewer stands."""

    state: str = "idle"  # idle, running, paused or stopping
    run: Path | None = None
    epoch: int = 0
    progress: float = 0.0  # of the whole training, 0 to 1
    outcome: str = ""  # how the last one ended: done, stopped or failed
    labels: Callable[[], Any] = field(
        default=lambda: None, compare=False
    )  # weakly: what it learns from


@dataclass(frozen=True)
class SaveStatus:
    """What the user is told of saving: "saved 12:03", or why not."""

    text: str = ""
    saved: bool = True  # False while strokes are only in memory
    failed: bool = False
    remedy: str = ""  # on the button that saves after all, see `Keeper.save_misfits`


@dataclass(frozen=True)
class ResumeOffer:
    """A project of the image, which one can go on with unless there is a problem."""

    path: Path
    words: str  # "3 frames annotated, saved 20 Nov 12:03; training stopped at epoch 12 (of 15 min)"
    problem: str = ""  # "open in another window", or what is damaged


class OwnModel(NamedTuple):
    """The model of an annotation, and whether somebody chose it rather than trained it."""

    path: Path
    by_hand: bool = False


class Shared:
    """A value of a session; setting another one emits ``<name>_changed`` with it."""

    def __init__(self, default: Any = None) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else instance.__dict__.get(self._name, self._default)

    def __set__(self, instance: Any, value: Any) -> None:
        before = self.__get__(instance, type(instance))
        if value is before or (
            not _is_layer(value) and type(value) is type(before) and value == before
        ):
            return
        instance.__dict__[self._name] = value
        getattr(instance, f"{self._name}_changed").emit(value)


def _is_model(path: Path) -> bool:
    return path.is_file() or (path / "model.pt").is_file()


def _is_layer(thing: Any) -> bool:
    return hasattr(thing, "metadata")


class Workspace:
    """The state of one viewer.

    Attributes
    ----------
    image
        The image layer one works on: the last image that was active, until one is chosen.
    annotation
        The labels layer that is painted on and learned from; chosen in the same way.
    project
        The `napari_jnet.project.Project` that remembers this work, or None before there is one.
    model
        The run folder or model file that predicts and is fine-tuned.  One that was chosen by hand stays
        until somebody chooses another or trains one; else it is that of the annotation, where this has
        one.
    own_model
        The model that was trained or chosen for the annotation, or that its project remembers; None
        where there is none.
    prediction
        The `Prediction` of the last prediction.
    training
        How the training stands.
    saving
        How the saving of annotations stands.
    offer
        An `ResumeOffer` to go on with the newest project of the image that holds something, or None.
    projects
        An `ResumeOffer` of every project of the image, the newest first, and damaged ones at the end.
    measured
        How many cells the table of Measure has.
    problem
        What is damaged in the files of this work, and what to do, in words; "" if nothing is known.
    page
        The page of the workbench that is wanted: stack, annotate, train, predict or evaluate.
    frames
        The `FrameTable`: what is annotated, frame by frame.
    keeper
        The `AutoSave`, which saves it.
    fine_tuning
        The `FineTuning`: whether the model can go on learning from the annotation.
    """

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

    image = Shared()
    annotation = Shared()
    project = Shared()
    prediction = Shared()
    training = Shared(TrainingStatus())
    saving = Shared(SaveStatus())
    offer = Shared()
    projects = Shared(())
    measured = Shared(0)
    problem = Shared("")
    page = Shared("stack")

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self.frames: Any = None
        self.autosave: Any = None
        self.fine_tuning: Any = None
        self._model: Path | None = None
        self._by_hand = False
        self._models: WeakKeyDictionary[Any, OwnModel] = WeakKeyDictionary()
        self._chosen: dict[str, bool] = {"image": False, "annotation": False}
        self._viewer = weakref.ref(viewer)
        self.commands = Commands(viewer)
        # before all others, so that they read the model of what is current
        self.annotation_changed.connect(self._follow_model)
        self.project_changed.connect(self._know_model)
        if viewer is not None:
            events = viewer.layers.events
            for emitter in (events.inserted, events.removed, events.reordered):
                emitter.connect(self._follow)
            viewer.layers.selection.events.active.connect(self._follow)
            self._follow()

    @property
    def viewer(self) -> Any:
        """The viewer, or None when it is gone."""
        return self._viewer()

    @property
    def model(self) -> Path | None:
        """The run folder or model file that predicts."""
        return self._model

    @model.setter
    def model(self, path: Path) -> None:
        self.set_model(path, self.annotation, self.project)

    @property
    def model_by_hand(self) -> bool:
        """Whether somebody chose the model that predicts, and has trained none since."""
        return self._by_hand

    @property
    def own_model(self) -> Path | None:
        """The model of the annotation, also where another one was chosen by hand."""
        own = self._own(self.annotation)
        return None if own is None else own.path

    def choose_model(self, path: Path | None) -> None:
        """Take the model that somebody chose; the project remembers it, and it stays until the next choice.

        Parameters
        ----------
        path
            A run folder or a model file; None for no model.
        """
        self._show_model(path, path is not None)
        if path is None or not _is_model(path):  # nothing, or a path that is half typed
            return
        if self.annotation is not None:
            self._models[unwrap(self.annotation)] = OwnModel(path, by_hand=True)
        self._remember(path, self.project)

    def set_model(self, path: Path, annotation: Any, project: Any) -> None:
        """Say which model was trained for an annotation, which need not be the present one.

        Parameters
        ----------
        path
            A run folder or a model file.
        annotation
            The labels layer that it has learned from.  Where another one is painted on now, that keeps
            its own model, or the one that was chosen by hand.
        project
            The project of that annotation, which remembers the model; None where there is none yet.
        """
        if annotation is not None:
            self._models[unwrap(annotation)] = OwnModel(path)
        self._remember(path, project)
        if same(annotation, self.annotation) or (self.own_model is None and not self._by_hand):
            self._show_model(path)

    def _own(self, annotation: Any) -> OwnModel | None:
        return None if annotation is None else self._models.get(unwrap(annotation))

    def _show_model(self, path: Path | None, by_hand: bool = False) -> None:
        # also said where the path is the same: the file in it may be new
        self._model, self._by_hand = path, by_hand
        self.model_changed.emit("" if path is None else str(path))

    def _follow_model(self, annotation: Any) -> None:
        """Take the model of the labels that are current now, unless another one was chosen by hand."""
        own = self._own(annotation)
        if own is not None and own.path != self._model and (own.by_hand or not self._by_hand):
            self._show_model(*own)

    def _know_model(self, project: Any) -> None:
        """Take the model that a project remembers; one without any remembers that of its annotation."""
        if project is None or self.annotation is None:
            return
        annotation, remembered = unwrap(self.annotation), project.model
        own = self._models.get(annotation)
        if own is None and self._by_hand and self._model is not None and remembered is None:
            own = self._models[annotation] = OwnModel(self._model, by_hand=True)
        if own is None and remembered is not None:
            self._models[annotation] = OwnModel(remembered)
            self._follow_model(annotation)
        elif own is not None and own.path != remembered and (own.by_hand or remembered is None):
            self._remember(own.path, project)

    def _remember(self, path: Path, project: Any) -> None:
        if project is not None and self.autosave is not None and _is_model(path):
            self.autosave.queue.submit(lambda: project.set_model(path), failed=self._not_remembered)

    def _not_remembered(self, error: Exception) -> None:
        words = f"The project could not remember the model: {error}"
        self.problem = f"{self.problem}\n\n{words}".strip()

    def images(self) -> list[Any]:
        """Return the image layers that one can work on, in the order of the viewer."""
        return [layer for layer in self._layers("image") if not result_of(layer)]

    def labels(self) -> list[Any]:
        """Return the labels layers that can be learned from; cells may be corrected, so they count."""
        return [layer for layer in self._layers("labels") if result_of(layer) in ("", "cells")]

    def choose(self, role: str, layer: Any) -> None:
        """Choose the image or the annotation; it stays chosen as long as the viewer has it.

        Parameters
        ----------
        role
            "image" or "annotation".
        layer
            One of `images` or `labels`.

        Raises
        ------
        ValueError
            If the viewer has no such layer.
        """
        for candidate in self._candidates(role):
            if same(candidate, layer):
                self._chosen[role] = True
                setattr(self, role, candidate)
                return
        kind = {"image": "image", "annotation": "labels"}[role]
        name = getattr(layer, "name", layer)
        raise ValueError(f"The viewer has no {kind} layer {name!r}; add it to the viewer first.")

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

    def _layers(self, kind: str) -> list[Any]:
        viewer = self.viewer
        if viewer is None:
            return []
        from napari.layers import Image, Labels

        wanted = {"image": Image, "labels": Labels}[kind]
        return [layer for layer in viewer.layers if isinstance(layer, wanted)]

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
            kept = any(same(layer, present) for layer in there)
            self._chosen[role] = self._chosen[role] and kept
            if self._chosen[role]:
                continue
            plain = [layer for layer in there if not result_of(layer)]
            new = [layer for layer in plain if active is not None and same(layer, active)]
            if new or not kept:
                setattr(self, role, (new or plain[-1:] or [None])[0])


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


def unwrap(thing: Any) -> Any:
    """Return the napari object behind the proxy that napari hands to plugins."""
    return getattr(thing, "__wrapped__", thing)


def same(one: Any, other: Any) -> bool:
    """Whether both are one napari object, seen through proxies or not."""
    return unwrap(one) is unwrap(other)


def switch(layer: Any, visible: bool) -> None:
    """Show or hide a layer for the program's reasons, which nobody takes for the wish of the user."""
    _switched.append(layer)
    try:
        layer.visible = visible
    finally:
        _switched.pop()


def switching(layer: Any) -> bool:
    """Whether the program is showing or hiding this layer now, by `switch`."""
    return any(same(layer, one) for one in _switched)


def result_of(layer: Any) -> str:
    """Return which result of a prediction or training a layer is, "" for any other layer."""
    return layer.metadata.get(METADATA_KEY, {}).get("result", "")
