"""The training job: annotations in, events out, and labels painted while it runs."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Container, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject
from superqt.utils import qthrottled

from napari_jnet.config import Config
from napari_jnet.events import ComparisonResult, EpochEnd, Preview
from napari_jnet.hardware import Hardware
from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import AnnotatedFrame, Stack, frame_name, plane_name, section_of
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.plugin.jobs.runner import JobMaker, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    check_same_size,
    current_index,
    image_stack,
    kind_of,
    marked_empty,
    metadata,
    network_classes,
    pixels,
    place,
    placement,
    plane,
    result_of,
)
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.runs import read_run


class PreviewLayer:
    """The layer "preview": where the network sees cells now, in the plane that the viewer shows.

    Made, empty, before the training begins: a new layer costs the window some tenths of a second.  One of
    an earlier training goes.  `read` is called in the worker thread.
    """

    def __init__(self, viewer: napari.viewer.Viewer, image: Any) -> None:
        self._viewer, self._image, self._plane = viewer, image, plane(image)
        self._index = self._read_index = index = current_index(viewer, image)
        rows_columns = tuple(pixels(image).shape[len(index) : len(index) + 2])
        for earlier in [layer for layer in viewer.layers if result_of(layer) == "preview"]:
            viewer.layers.remove(earlier)
        active = viewer.layers.selection.active
        self._layer = viewer.add_image(
            np.zeros((1,) * len(index) + rows_columns, np.float32),
            name="preview",
            colormap="green",
            blending="additive",
            opacity=0.45,
            contrast_limits=(0.3, 1.0),  # an untrained network says one half everywhere
            metadata={METADATA_KEY: {"result": "preview"}},
            **placement(image, index),
        )
        if active is not None:
            viewer.layers.selection.active = active

    def follow(self, _event: Any = None) -> None:
        """Preview the plane that the viewer shows now."""
        self._index = current_index(self._viewer, self._image)

    def read(self) -> NDArray[Any]:
        """Read the plane that is shown."""
        self._read_index = self._index
        return np.asarray(self._plane(self._read_index))

    def show(self, preview: Preview) -> None:
        """Show a preview of the plane that was read last, unless the user has deleted the layer."""
        layer = self._layer
        if layer in self._viewer.layers:
            layer.data = preview.segmentation[(None,) * len(self._read_index)]
            place(layer, placement(self._image, self._read_index))


@dataclass(frozen=True, eq=False)
class TrainingInput:
    """An image layer and a labels layer for a worker thread, which copies the frames that it reads.

    Copying all of them in the window's thread would hold it.  A stroke that falls into the reading
    comes again, whole, by `LiveAnnotations`.
    """

    stack: Stack  # the image; names its frames
    image: Any  # (..., H, W) or (..., H, W, C)
    labels: Any  # (..., H, W), of the layer
    kind: LabelKind
    known: bool = True  # whether the user, or a file, gives this kind
    partial: Container[int] = ()  # frame numbers; looked at in the worker: it may read files
    classes: tuple[tuple[str, str], ...] = ()  # name and colour of each class, where known
    roles: Mapping[int, str] = field(default_factory=dict)  # by frame number
    empty: Container[int] = ()  # frame numbers that are annotated without any object
    unpainted: frozenset[int] = frozenset()  # positions that are not read
    copied: Mapping[int, NDArray[Any]] = field(default_factory=dict)  # by position, edited since

    def frames(self) -> list[AnnotatedFrame]:
        """Read the annotated planes; called in the worker thread.

        Raises `ValueError` if nothing is annotated, labels are negative, or their meaning was not chosen
        and they do not look like cells.
        """
        found = list(self._annotated())
        if not found:
            raise ValueError(
                f"The labels of {self._name!r} are empty; paint at least one cell in one frame."
            )
        if not self.known and self.kind is LabelKind.INSTANCES:
            self._check_cells(found)
        return found

    @property
    def _name(self) -> str:
        return self.stack.sequence or self.stack.name

    def _annotated(self) -> Iterator[AnnotatedFrame]:
        kind = LabelKind.CLASSES if self.kind is LabelKind.SCRIBBLES else self.kind
        for index in np.ndindex(tuple(self.labels.shape[:-2])):
            position, inner = (index[0], index[1:]) if index else (0, ())
            number = self.stack.frame_numbers[position]
            role = self.roles.get(number, "")
            if role == "unused" or (position in self.unpainted and number not in self.empty):
                continue
            copied = self.copied.get(position)
            labels = np.array(self.labels[index]) if copied is None else copied[inner]
            if not (labels.any() or number in self.empty) or not (labels != UNKNOWN).any():
                continue
            name = frame_name(self.stack, number)  # as `annotated_frames` does
            name = plane_name(name, inner[0], self.labels.shape[1]) if inner else name
            try:
                labels = known_labels(
                    labels, self.kind, partial=bool(index) and number in self.partial
                )
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            image, section = np.asarray(self.image[index]), section_of(self.stack, number, *inner)
            yield AnnotatedFrame(name, image, labels, kind, role, self.classes, "", *section)

    def _check_cells(self, found: Sequence[AnnotatedFrame]) -> None:
        """Refuse to take for cells what is surely classes; unsure labels are what Annotate shows."""
        planes = {k: partial(np.asarray, frame.labels) for k, frame in enumerate(found)}
        stored = StoredLabels("labels", self._name, lambda: planes, lambda _: self._name)
        decided = stored.annotation()
        try:
            kind, reason = decided.kind, decided.reason
        except ValueError:
            return
        if kind is not LabelKind.INSTANCES:
            raise ValueError(
                f"The labels of {self._name!r} look like {kind} ({reason}), and their meaning was "
                "not chosen. Choose what they mean in the step Annotate, under Meaning."
            )


def training_input(image: Any, labels: Any, kind: LabelKind) -> TrainingInput:
    """Take an image layer and a labels layer for training; raises `ValueError` where sizes differ."""
    check_same_size(labels, image)
    return TrainingInput(
        stack=image_stack(image),
        image=pixels(image),
        labels=pixels(labels),
        kind=kind,
        known=kind_of(labels) is kind,
        partial=metadata(labels).get("partial", ()),
        classes=network_classes(labels, kind),
        empty=marked_empty(labels),
    )


def labels_now(workspace: Workspace, positions: Iterable[int] | None = None) -> TrainingInput:
    """Take the annotation of a workspace, of these frames or of all that are annotated.

    Raises `ValueError` if there is no image or annotation, or their sizes differ.
    """
    image, frames = workspace.image, workspace.frames
    if image is None or frames.layer is None:
        what = "image; open one" if image is None else "annotation; press New annotation"
        raise ValueError(f"There is no {what} first.")
    taken = set(frames.annotated if positions is None else positions)
    known = positions is not None or not frames.counting
    return dataclasses.replace(
        training_input(image, frames.layer, frames.kind),
        roles=frames.roles,
        unpainted=frozenset(range(len(frames))) - taken if known else frozenset(),
    )


_COPY_EVERY_MS = 1500  # a stroke seldom comes alone


class LiveAnnotations(QObject):
    """What a training learns from: the present annotation, and what is painted on it while it runs."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._frames = frames = workspace.frames
        self._layer = frames.layer
        self._lock = threading.Lock()
        self.data, self._new = labels_now(workspace), False  # the frames as they were copied last
        self._positions: set[int] = set()
        self._copy_soon = qthrottled(self.copy, timeout=_COPY_EVERY_MS, leading=False, parent=self)
        self._lifetime = Lifetime()
        self._lifetime.connect(frames.edited, self._edited)
        self._lifetime.connect(frames.roles_changed, self._changed)
        self._lifetime.connect(frames.kind_changed, self._changed)

    def end(self) -> None:
        """Copy nothing more."""
        self._lifetime.end()
        self._copy_soon.cancel()

    def take(self) -> list[AnnotatedFrame] | None:
        """Read all frames where something is new; called in the worker thread.

        None also where nothing can be learned from what is left: the training then goes on with
        the frames it has.
        """
        with self._lock:
            data, new, self._new = self.data, self._new, False
        with suppress(ValueError):
            return data.frames() if new else None
        return None

    def copy(self) -> None:
        """Copy the edited frames, all roles and the kind; called in the window's thread."""
        frames, data = self._frames, self.data
        if not self._is_annotation or pixels(self._layer).shape != data.labels.shape:
            return  # other labels were put into the layer: they do not cover the image
        new = {position: np.array(frames.frame(position)) for position in sorted(self._positions)}
        self._positions.clear()
        data = dataclasses.replace(
            data,
            copied={**data.copied, **new},
            unpainted=data.unpainted - frozenset(new),
            roles=frames.roles,
            empty=marked_empty(self._layer),
            kind=frames.kind,  # where the network cannot learn it, the training goes on as it was
            classes=network_classes(self._layer, frames.kind),
        )
        with self._lock:
            self.data, self._new = data, True

    @property
    def _is_annotation(self) -> bool:
        return self._frames.layer is self._layer

    def _edited(self, positions: Iterable[int]) -> None:
        if self._is_annotation:
            self._positions.update(positions)
            self._copy_soon()

    def _changed(self, new: Any) -> None:
        if self._is_annotation and new is not self.data.kind:  # only class names are new
            self._copy_soon()


_SAMPLED = 12  # annotated frames that are measured before a training
_SMALLEST = -4  # resolution level to choose


class Estimate(NamedTuple):
    """What follows from the annotated objects: in words, and the resolutions that may be chosen."""

    text: str
    resolutions: dict[str, tuple[int, ...]]  # title -> levels, the full size first


def sample(workspace: Workspace) -> TrainingInput | None:
    """Take some training frames, spread over the stack, to measure the cells in; None without any."""
    positions = [
        frame.position
        for frame in workspace.frames.annotated_info
        if frame.role not in ("unused", "validation") and not frame.empty
    ]
    step = max(1, len(positions) // _SAMPLED)
    with suppress(ValueError):
        return labels_now(workspace, positions[::step][:_SAMPLED]) if positions else None
    return None


def estimate(data: TrainingInput, config: Config) -> Estimate | None:
    """Measure the annotated objects of a `sample`; None without any.

    Called in a worker thread, since it imports torch.  What the configuration gives is described as it is.
    """
    from napari_jnet.training.estimate import adapt, resolution_levels, typical_diameter

    blank = np.broadcast_to(np.float32(0), data.image.shape)  # reading images would take long
    frames = dataclasses.replace(data, image=blank, empty=(), known=True).frames()
    diameter = typical_diameter(frames)
    if diameter is None:
        return None
    adapted = adapt(config, frames)
    what = "Cells" if data.kind is LabelKind.INSTANCES else "Painted areas"
    size = _size(adapted.network.resolution_levels[-1])
    text = f"{what} are about {diameter:.0f} px across: trained at {size}"
    if adapted.network.distance:
        text += f", {adapted.describe_distance()}"
    if smallest := adapted.instances.min_size:
        text += f", objects of less than {smallest} pixels removed"
    tops = range(0, _SMALLEST - 1, -1)
    levels = {top: resolution_levels(config.network, frames, top) for top in tops}
    return Estimate(f"{text}.", {_size(top): of for top, of in levels.items() if of[-1] == top})


def _size(top: int) -> str:
    return f"1/{2**-top} size" if top else "full size"


def training(
    annotations: LiveAnnotations,
    run: Path,
    config: Config,
    preview: PreviewLayer,
    *,
    resume: bool,
    start_from: Path | None,
) -> JobMaker:
    """Make the job that trains on the annotated frames, and on what is painted meanwhile.

    A resumed run keeps to its own configuration, but for what was given.
    """

    def job() -> Generator[Any, None, None]:
        load_torch(optimizer=True)
        from napari_jnet.training.loop import train

        try:
            if resume:
                yield from _past(run)
            yield from train(
                annotations.data.frames(),
                run,
                config,
                resume=resume,
                start_from=start_from,
                preview=preview.read,
                new_frames=annotations.take,
            )
        finally:
            with suppress(OSError):  # an empty folder is one that could not begin
                run.rmdir()

    return job


def _past(run: Path) -> list[EpochEnd]:
    """Return the epochs that a run has behind it; none where they cannot be read: the training says why."""
    from napari_jnet.model import read_checkpoint

    with suppress(OSError, ValueError, TypeError, KeyError):
        return [EpochEnd(**row) for row in read_checkpoint(run / "last.pt")["history"]]
    return []


def comparison(annotations: LiveAnnotations, old: Path, new: Path, device: str) -> JobMaker:
    """Make the job that compares two models on the validation frames of the newer."""

    def job() -> Generator[Any, None, ComparisonResult]:
        load_torch()
        from napari_jnet.training.validate import compare_models

        names = set(read_run(new).validation_frames)
        frames = [frame for frame in annotations.data.frames() if frame.name in names]
        end = yield from compare_models({"old": old, "new": new}, frames, device=device)
        trained = set(read_run(old).training_frames)
        known = [short_name(frame.name) for frame in frames if frame.name in trained]
        if not known:
            return end
        words = f"{end.summary} The old model was trained on {' and '.join(known)}: its score is optimistic."
        return dataclasses.replace(end, summary=words)

    return job


def short_name(name: str) -> str:
    """Return the last part of a frame's name: "01/t005" -> "t005"."""
    return name.rsplit("/", 1)[-1]


def find_device() -> tuple[str, Hardware]:
    """Return where torch would compute, in words and for the budgets; this imports torch."""
    load_torch()
    from napari_jnet.device import device_line, find_hardware

    return device_line(), find_hardware(cores=window_threads())
