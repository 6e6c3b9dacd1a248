"""The training job: annotations in, events out, and labels painted while it runs."""

from __future__ import annotations

import csv
import dataclasses
import threading
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QObject
from superqt.utils import qthrottled

from napari_jnet.budgets import Hardware
from napari_jnet.config import Config
from napari_jnet.events import ComparisonResult, EpochEnd, Preview
from napari_jnet.files import read_json, reading
from napari_jnet.io.axes import size_text
from napari_jnet.io.meaning import StoredLabels
from napari_jnet.io.stack import (
    AnnotatedFrame,
    Stack,
    frame_name,
    mismatch,
    plane_name,
    section_of,
)
from napari_jnet.labels import UNKNOWN, LabelKind, known_labels
from napari_jnet.plugin.jobs.runner import JobMaker, TaskQueue, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
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
    spatial_shape,
)
from napari_jnet.plugin.workspace import Lifetime, Workspace
from napari_jnet.project.runs import read_run

if TYPE_CHECKING:
    import napari


@dataclass(frozen=True, eq=False)
class PlacedPreview(Preview):
    """A preview, and the leading indices of the plane that it is of."""

    index: tuple[int, ...] = ()


class PreviewLayer:
    """The layer "preview": where the network sees cells now, in the plane that the viewer shows.

    Made, empty, before the training begins: a new layer costs the window some tenths of a second.
    `read` and `place` are called in the worker thread, the others in the window's.

    Parameters
    ----------
    before
        The preview of an earlier training, whose layer is used again.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, image: Any, before: PreviewLayer | None
    ) -> None:
        self._viewer, self._image, self._plane = viewer, image, plane(image)
        self._index = self._read_index = index = current_index(viewer, image)
        self._layer: Any = None if before is None else before.layer
        rows_columns = tuple(pixels(image).shape[len(index) : len(index) + 2])
        empty = np.zeros((1,) * len(index) + rows_columns, np.float32)
        lies = placement(image, index)
        earlier = self.layer
        if earlier is not None and earlier.ndim == empty.ndim:
            earlier.data = empty
            place(earlier, lies)
            return
        if earlier is not None:
            viewer.layers.remove(earlier)
        active = viewer.layers.selection.active
        self._layer = viewer.add_image(
            empty,
            name="preview",
            colormap="green",
            blending="additive",
            opacity=0.45,
            contrast_limits=(0.3, 1.0),  # an untrained network says one half everywhere
            metadata={METADATA_KEY: {"result": "preview"}},
            **lies,
        )
        if active is not None:
            viewer.layers.selection.active = active

    @property
    def layer(self) -> Any:
        """The layer, or None where the user has deleted it."""
        there = any(self._layer is other for other in self._viewer.layers)
        return self._layer if there else None

    def follow(self, _event: Any = None) -> None:
        """Preview the plane that the viewer shows now."""
        self._index = current_index(self._viewer, self._image)

    def read(self) -> NDArray[Any]:
        """Read the plane that is shown."""
        self._read_index = self._index
        return np.asarray(self._plane(self._read_index))

    def place(self, preview: Preview) -> PlacedPreview:
        """Add to a preview which plane it is of: the one that was read last."""
        return PlacedPreview(
            preview.segmentation, preview.distance, preview.epoch, self._read_index
        )

    def show(self, preview: PlacedPreview) -> None:
        """Show a preview, unless the user has deleted the layer."""
        layer = self.layer
        if layer is not None:
            layer.data = preview.segmentation[(None,) * len(preview.index)]
            place(layer, placement(self._image, preview.index))


def read_history(run: Path) -> tuple[EpochEnd, ...]:
    """Read the epochs of a run; none where its history is missing or damaged."""

    def number(row: Mapping[str, str], name: str) -> float | None:
        return float(row[name]) if row.get(name) else None

    try:
        path = run / "history.csv"
        with reading(path, "a history"), path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("epoch")]
        return tuple(
            EpochEnd(
                epoch=int(float(row["epoch"])),
                train_loss=float(row.get("train_loss") or "nan"),
                validation_loss=number(row, "validation_loss"),
                iou=number(row, "iou"),
                seg=number(row, "seg"),
                learning_rate=float(row.get("learning_rate") or "nan"),
                images_per_s=0.0,
                elapsed_s=float(row["elapsed_s"]),
                best=False,
            )
            for row in rows
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()


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
    partial: Collection[int] = ()  # frame numbers; looked at in the worker: it may read files
    classes: tuple[tuple[str, str], ...] = ()  # name and colour of each class, where known
    roles: Mapping[int, str] = field(default_factory=dict)  # by frame number
    empty: Collection[int] = ()  # frame numbers that are annotated without any object
    unpainted: frozenset[int] = frozenset()  # positions that are not read
    copied: Mapping[int, NDArray[Any]] = field(default_factory=dict)  # by position, edited since

    def frames(self) -> list[AnnotatedFrame]:
        """Read the annotated planes; called in the worker thread.

        Raises
        ------
        ValueError
            If nothing is annotated, labels are negative, or their meaning was not chosen and they do
            not look like cells.
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
    array, size = pixels(labels), spatial_shape(image)
    if tuple(array.shape) != tuple(size):
        raise ValueError(
            f"The image {image.name!r} has {size_text(size)} pixels, the labels {labels.name!r} "
            f"{size_text(array.shape)}; both must cover the same pixels. Choose the labels of this "
            "image, or add a new labels layer with the + button above the layer list."
        )
    return TrainingInput(
        stack=image_stack(image),
        image=pixels(image),
        labels=array,
        kind=kind,
        known=kind_of(labels) is kind,
        partial=metadata(labels).get("partial", ()),
        classes=network_classes(labels, kind),
        empty=marked_empty(labels),
    )


def labels_now(workspace: Workspace, positions: Iterable[int] | None = None) -> TrainingInput:
    """Take the annotation of a workspace.

    Parameters
    ----------
    positions
        Of the frames to take; None for all that are annotated.

    Raises
    ------
    ValueError
        If there is no image or annotation, or their sizes differ.
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
    """What a training learns from: the annotation, and what is painted on it while it runs.

    Parameters
    ----------
    workspace
        Labels that become its annotation later are not learned from.

    Raises
    ------
    ValueError
        As for `labels_now`.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self._frames = frames = workspace.frames
        self._layer = frames.layer
        self._lock = threading.Lock()
        self._data, self._new = labels_now(workspace), False
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

    @property
    def data(self) -> TrainingInput:
        """The frames as they were copied last."""
        with self._lock:
            return self._data

    def take(self) -> list[AnnotatedFrame] | None:
        """Read all frames where something is new; called in the worker thread.

        None also where nothing can be learned from what is left: the training then goes on with
        the frames it has.
        """
        with self._lock:
            data, new, self._new = self._data, self._new, False
        with suppress(ValueError):
            return data.frames() if new else None
        return None

    def copy(self) -> None:
        """Copy the edited frames, all roles and the kind; called in the window's thread."""
        frames, data = self._frames, self._data
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
            self._data, self._new = data, True

    @property
    def _is_annotation(self) -> bool:
        return self._frames.layer is self._layer

    def _edited(self, positions: Iterable[int]) -> None:
        if self._is_annotation:
            self._positions.update(positions)
            self._copy_soon()

    def _changed(self, new: Any) -> None:
        if self._is_annotation and new is not self._data.kind:  # only class names are new
            self._copy_soon()


# Set by the frames and the loss.
_OF_DATA = {"network.in_channels", "network.distance_scale", "targets.classes"}
_BY_DATA = {"resolution_levels", "dt_bound", "classes"}  # also, where they have their default
_TITLES = {
    "name": "Network",
    "structure": "Network",
    "resolution_levels": "Training resolution",
    "dt_bound": "Truncation distance",
}


def words(name: str) -> str:
    """Return a field name as a label: ``seed_threshold`` -> "Seed threshold"."""
    return name.replace("_", " ").capitalize()


class FineTuning:
    """Whether the model of the workspace can be trained further with the annotation.

    Attributes
    ----------
    changed
        Emitted when another model is there, one is read, or other settings are chosen.
    """

    changed = Signal()

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._config: Config | None = None
        self._chosen: dict[str, Any] = {}
        self._name = self._refused = ""
        self._tasks = TaskQueue("napari-jnet start model")
        workspace.model_changed.connect(self._read)

    @property
    def possible(self) -> bool:
        """Whether Fine-tune can work now."""
        return not self.why_not

    @property
    def why_not(self) -> str:
        """Why Fine-tune cannot work now; "" if it can."""
        if self._workspace.model is None:
            return "There is no model to fine-tune yet; press Train first."
        if self._config is None and not self._refused:
            return f"{self._name} is still being read; press Fine-tune in a moment."
        return self.mismatch

    @property
    def mismatch(self) -> str:
        """Why the model cannot learn from the labels, and what to do; "" if it can, or none is known."""
        workspace, config, frames = self._workspace, self._config, self._workspace.frames
        if config is None or workspace.image is None or workspace.annotation is None:
            return self._refused
        cells = frames.kind is LabelKind.INSTANCES
        painted = () if cells else (len(frames.info(p).pixels) for p in frames.annotated)
        return self._other_network(config) or mismatch(
            config.network,
            self._name,
            kind=LabelKind.INSTANCES if cells else LabelKind.CLASSES,
            largest=max(painted, default=1) - 1,
            channels=_channels(workspace.image),
        )

    def choose(self, settings: Mapping[str, Any]) -> None:
        """Set what the user has chosen of the network and the targets, as ``section.field``."""
        if settings != self._chosen:
            self._chosen = dict(settings)
            self.changed.emit()

    def _other_network(self, config: Config) -> str:
        """Name the chosen settings that the model does not have."""
        others = []
        for name, value in self._chosen.items():
            field_of, key = attrgetter(name), name.partition(".")[2]
            by_data = key in _BY_DATA and value == field_of(Config())
            if name not in _OF_DATA and not by_data and value != field_of(config):
                others.append(_TITLES.get(key) or words(key))
        if not others:
            return ""
        return (
            f"{self._name} has another network than is chosen above "
            f"({', '.join(dict.fromkeys(others))}). Choose what it has, or train from scratch."
        )

    def _read(self, _path: str = "") -> None:
        """Read what kind of network the model is: of a run at once, of a single file in a thread."""
        path = self._workspace.model
        self._config, self._refused = None, ""
        if path is not None:
            folder = path.parent if path.name == "model.pt" else path
            self._name = f"run {folder.name}" if folder.name.isdigit() else folder.name
            try:
                if not (folder / "model.pt").is_file():
                    raise FileNotFoundError(folder)
                self._config = Config.from_saved(read_json(folder / "config.json"))
            except (OSError, ValueError, TypeError, AttributeError):
                self._read_file(path)
        self.changed.emit()

    def _read_file(self, path: Path) -> None:
        def read() -> Config:
            load_torch()
            from napari_jnet.model import read_model_config

            return read_model_config(path)

        def done(found: Config | Exception) -> None:
            if path == self._workspace.model:
                if isinstance(found, Exception):
                    self._refused = str(found)
                else:
                    self._config = found
                self.changed.emit()

        self._tasks.submit(read, done, done)


def _channels(image: Any) -> int:
    try:
        stack = image_stack(image)
    except ValueError:  # shown where it is trained on
        return 1
    return int(stack.shape[-1]) if stack.axes.endswith("C") else 1


_SAMPLED = 12  # annotated frames that are measured before a training
_SIZES = ("full", "half", "quarter", "1/8", "1/16")


@dataclass(frozen=True)
class EstimatedSettings:
    """Settings that follow from the annotated objects, where the user chooses no others.

    Attributes
    ----------
    diameter
        Of the typical object, in pixels of the full frame; the length of a stroke.
    levels
        Resolution levels, lowest first.
    bound
        Truncation distance in pixels.
    min_size
        Smallest object in pixels.
    choices
        Top level -> resolution levels: what may be chosen instead.
    sparse
        Whether labels are strokes, which show neither distances nor how small an object may be.
    """

    diameter: float
    levels: tuple[int, ...]
    bound: float
    min_size: int
    choices: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sparse: bool = False

    def describe(
        self,
        kind: LabelKind,
        *,
        top: int | None,
        bound: float | None,
        min_size: int,
        distance: bool,
    ) -> str:
        """Describe at which size is trained; values that the user chose instead are shown as chosen."""
        what = "Cells" if kind is LabelKind.INSTANCES else "Painted areas"
        across = f"{what} are about {self.diameter:.0f} px across"
        if self.sparse:
            across = f"Strokes are about {self.diameter:.0f} px long"
        parts = [f"trained at {size_title(self.levels[-1] if top is None else top)}"]
        if distance and not self.sparse:
            parts.append(f"distance truncated at {self.bound if bound is None else bound:g} px")
        if smallest := min_size or self.min_size:
            parts.append(f"objects of less than {smallest} pixels removed")
        return f"{across}: {', '.join(parts)}."


def size_title(top: int) -> str:
    """Return the title of a resolution level: "half size"."""
    return f"{_SIZES[-top] if -top < len(_SIZES) else f'1/{2**-top}'} size"


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


def estimate_settings(data: TrainingInput, config: Config) -> EstimatedSettings | None:
    """Measure the annotated objects; called in a worker thread, since it imports torch.

    Parameters
    ----------
    data
        A `sample`; only labels are read.
    config
        The preset; sizes that it gives are kept.

    Returns
    -------
    EstimatedSettings or None
        None without any object.
    """
    from napari_jnet.training.estimate import (
        adapt,
        is_sparse,
        object_areas,
        resolution_levels,
        typical_diameter,
    )

    blank = np.broadcast_to(np.float32(0), data.image.shape)  # reading images would take long
    frames = dataclasses.replace(data, image=blank, empty=(), known=True).frames()
    if not object_areas(frames).size:
        return None
    adapted = adapt(config, frames)
    tops = {
        top: resolution_levels(config.network, frames, top) for top in range(0, -len(_SIZES), -1)
    }
    return EstimatedSettings(
        diameter=typical_diameter(frames) or 0.0,
        levels=adapted.network.resolution_levels,
        bound=float(adapted.targets.dt_bound or 0),
        min_size=adapted.instances.min_size,
        choices={top: levels for top, levels in tops.items() if levels[-1] == top},
        sparse=all(is_sparse(frame) for frame in frames),
    )


_EARLIER = 4  # runs that are drawn in grey


@dataclass(frozen=True)
class EarlierRuns:
    """The epochs of a resumed run so far, and those of other runs by their names."""

    own: tuple[EpochEnd, ...]
    others: Mapping[str, tuple[EpochEnd, ...]]


def read_others(runs: Path, present: Path | None) -> dict[str, tuple[EpochEnd, ...]]:
    """Read the newest runs of a folder of runs that have an epoch, without the present one."""
    if not runs.is_dir():
        return {}
    others = [run for run in runs.iterdir() if run != present and (run / "history.csv").is_file()]
    newest = sorted(others, key=lambda run: (run / "history.csv").stat().st_mtime)[-_EARLIER:]
    return {run.name: epochs for run in newest if (epochs := read_history(run))}


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

        if resume:
            yield EarlierRuns(read_history(run), read_others(run.parent, run))
        events = train(
            annotations.data.frames(),
            run,
            config,
            resume=resume,
            start_from=start_from,
            preview=preview.read,
            new_frames=annotations.take,
        )
        try:
            with closing(events):
                for event in events:
                    yield preview.place(event) if isinstance(event, Preview) else event
        finally:
            with suppress(OSError):  # an empty folder is one that could not begin
                run.rmdir()

    return job


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
        optimistic = "their scores are" if len(known) > 1 else "its score is"
        words = f"{end.summary} The old model was trained on {' and '.join(known)}: {optimistic} optimistic."
        return dataclasses.replace(end, summary=words)

    return job


def short_name(name: str) -> str:
    """Return the last part of a frame's name: "01/t005" -> "t005"."""
    return name.rsplit("/", 1)[-1]


def find_device() -> tuple[str, Hardware]:
    """Return where torch would compute, in words and for the budgets; this imports torch."""
    load_torch()
    import torch

    from napari_jnet.device import choose_device, device_line

    kind = choose_device().type
    free = torch.cuda.mem_get_info()[0] / 2**30 if kind == "cuda" else 0.0
    return device_line(), Hardware(kind, window_threads(), free)
