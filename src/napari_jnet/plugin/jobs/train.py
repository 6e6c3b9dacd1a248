"""The training job: annotations in, events out, and labels painted while it runs."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_jnet.budgets import Hardware
from napari_jnet.config import Config
from napari_jnet.events import Preview, RoundEnd
from napari_jnet.files import read_json, reading
from napari_jnet.io.stack import AnnotatedFrame, misfit
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.guidance import TrainingFacts
from napari_jnet.plugin.jobs.runner import JobMaker, TaskQueue, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.add import placement
from napari_jnet.plugin.layers.read import (
    PaintedPlanes,
    TrainingInput,
    class_legend,
    current_index,
    image_stack,
    pixels,
    plane,
    said_empty,
    spatial_shape,
    training_input,
)
from napari_jnet.plugin.ui.widgets import words
from napari_jnet.plugin.workspace import METADATA_KEY, Lifetime, Workspace
from napari_jnet.project.runs import RunSummary

if TYPE_CHECKING:
    import napari


@dataclass(frozen=True, eq=False)
class PlacedPreview(Preview):
    """A preview, and the leading indices of the plane it is of."""

    index: tuple[int, ...] = ()


class PreviewSource:
    """Gives the trainer the plane that the viewer shows.

    `index` is written in the window's thread; `read` and `place` run in the worker's.
    """

    def __init__(self, layer: Any, index: tuple[int, ...]) -> None:
        self.index = index
        self._read = plane(layer)
        self._sent = index

    def read(self) -> NDArray[Any]:
        """Read the plane that is shown now."""
        self._sent = self.index
        return self._read(self._sent)

    def place(self, events: Generator[Any, None, None]) -> Generator[Any, None, None]:
        """Pass events on; a preview learns which plane it is of.  Closing it closes them."""
        with closing(events):
            for event in events:
                if isinstance(event, Preview):
                    yield PlacedPreview(event.segmentation, event.distance, event.epoch, self._sent)
                else:
                    yield event


class PreviewLayer:
    """The layer "preview": where the network sees cells now; it lies on the plane it is of.

    Made, empty, before the training begins: a new layer costs the window some tenths of a second.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, image: Any, before: PreviewLayer | None
    ) -> None:
        self._viewer = viewer
        self.image = image
        self._layer: Any = None if before is None else before.layer
        index = current_index(viewer, image)
        rows_columns = tuple(pixels(image).shape[len(index) : len(index) + 2])
        empty = np.zeros((1,) * len(index) + rows_columns, np.float32)
        lies = placement(image, index)
        earlier = self.layer
        if earlier is not None and earlier.ndim == empty.ndim:
            earlier.data = empty
            for name, value in lies.items():
                setattr(earlier, name, value)
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

    def show(self, preview: PlacedPreview) -> None:
        """Show a preview, unless the user has deleted the layer."""
        layer = self.layer
        if layer is not None:
            layer.data = preview.segmentation[(None,) * len(preview.index)]
            layer.translate = placement(self.image, preview.index)["translate"]

    def follow(self, source: PreviewSource) -> None:
        """Tell the source which plane the viewer shows."""
        source.index = current_index(self._viewer, self.image)


_COLUMNS = {
    "training": "train_loss",
    "validation": "validation_loss",
    "iou": "iou",
    "seg": "seg",
    "rate": "learning_rate",
}


@dataclass(frozen=True)
class RunHistory:
    """The curves of one run; None where an epoch has no such value."""

    path: Path  # of the run folder
    epochs: tuple[float, ...]
    elapsed_s: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]  # by curve: training, validation, iou, seg, rate

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.path.name

    @property
    def minutes(self) -> tuple[float, ...]:
        """Training time at the end of each epoch, in minutes."""
        return tuple(seconds / 60 for seconds in self.elapsed_s)


def read_history(run: Path) -> RunHistory | None:
    """Read the history of a run; None where there is none that can be read."""
    try:
        path = run / "history.csv"
        with reading(path, "a history"), path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("epoch")]
        return RunHistory(
            run,
            tuple(float(row["epoch"]) for row in rows),
            tuple(float(row["elapsed_s"]) for row in rows),
            {
                name: tuple(float(row[c]) if row.get(c) else None for row in rows)
                for name, c in _COLUMNS.items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return None


def read_histories(runs: Iterable[Path]) -> list[RunHistory]:
    """Read the histories of those runs that have at least one epoch."""
    found = (read_history(run) for run in runs)
    return [history for history in found if history is not None and history.epochs]


def read_split(run: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the training and validation frames of a run; empty where not known."""
    try:
        split = read_json(run / "split.json")
        return tuple(split["training"]), tuple(split["validation"])
    except (OSError, ValueError, KeyError, TypeError):
        return (), ()


class _Copies:
    """An array that gives copies of its planes: the layer is painted on while they are used."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.shape, self.dtype = source.shape, source.dtype

    def __getitem__(self, index: Any) -> Any:
        return np.array(self._source[index])


def labels_now(workspace: Workspace, positions: Iterable[int] | None = None) -> TrainingInput:
    """Take the annotation for a worker thread, which copies the frames that it reads.

    Copying all of them in the window's thread would hold it.  A stroke that falls into the reading
    comes again, whole, by `FrameFeed.put`.

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
    every = range(len(frames))
    taken = set(frames.annotated if positions is None else positions)
    known = positions is not None or not frames.counting
    empty = frozenset(every) - taken if known else frozenset()
    planes = PaintedPlanes(_Copies(pixels(frames.layer)), {}, empty)
    return training_input(image, frames.layer, frames.kind, painted=planes, roles=frames.roles)


class FrameFeed:
    """What a training learns from; frames are replaced while it runs.

    Parameters
    ----------
    data
        From `labels_now`, when it begins.
    """

    def __init__(self, data: TrainingInput) -> None:
        self._lock = threading.Lock()
        self._data = data
        self._new = False

    @property
    def data(self) -> TrainingInput:
        """The frames as they were put last."""
        with self._lock:
            return self._data

    def put(self, frames: Any, positions: Iterable[int]) -> None:
        """Copy the frames at these positions, all roles and the kind; called in the window's thread.

        Parameters
        ----------
        frames
            The `FrameTable` of the annotation that is learned from.
        positions
            Of frames whose pixels are new; none where only roles are.
        """
        data, before = self.data, self.data.labels
        if tuple(pixels(frames.layer).shape) != before.shape:
            return  # other labels were put into the layer: they do not cover the image
        new = {position: np.array(frames.frame(position)) for position in positions}
        planes = PaintedPlanes(
            before.source, {**before.copied, **new}, before.empty - frozenset(new)
        )
        with self._lock:
            self._data = dataclasses.replace(
                data,
                labels=planes,
                roles=frames.roles,
                empty=said_empty(frames.layer),
                kind=frames.kind,  # where the network cannot learn it, the training goes on as it was
                legend=class_legend(frames.layer, frames.kind),
            )
            self._new = True

    def take(self) -> list[AnnotatedFrame] | None:
        """Read all frames where something is new; called in the worker thread.

        None also where nothing can be learned from what is left: the training then goes on with
        the frames it has.
        """
        with self._lock:
            data, new = self._data, self._new
            self._new = False
        if not new:
            return None
        try:
            return data.frames()
        except ValueError:
            return None


_LATER_MS = 1500  # of the first stroke: a stroke seldom comes alone


class LiveAnnotations(QObject):
    """Copies changed frames of the annotation that is learned from, and of no other.

    Parameters
    ----------
    frames
        The `FrameTable` of the viewer.
    """

    def __init__(self, frames: Any, lifetime: Lifetime) -> None:
        super().__init__()
        self._frames = frames
        self._feed: FrameFeed | None = None
        self._layer: Any = None
        self._positions: set[int] = set()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.hand_over)
        lifetime.connect(frames.edited, self._edited)
        lifetime.connect(frames.roles_changed, self._roles_changed)
        lifetime.connect(frames.kind_changed, self._kind_changed)
        lifetime.at_end(self._timer.stop)

    def begin(self, feed: FrameFeed) -> None:
        """Feed this training from now on."""
        self._feed, self._layer = feed, self._frames.layer
        self._positions = set()

    def end(self) -> None:
        """Feed nothing more."""
        self._timer.stop()
        self._feed = None

    def hand_over(self) -> None:
        """Give what is new to the training now."""
        self._timer.stop()
        if self._feed is not None and self._frames.layer is self._layer:
            self._feed.put(self._frames, sorted(self._positions))
            self._positions.clear()

    def _edited(self, positions: Iterable[int]) -> None:
        if self._feed is None or self._frames.layer is not self._layer:
            return
        self._positions.update(positions)
        self._later()

    def _roles_changed(self, _positions: Iterable[int]) -> None:
        if self._feed is not None and self._frames.layer is self._layer:
            self._later()

    def _kind_changed(self, _kind: Any) -> None:
        if self._feed is not None and self._frames.kind is not self._feed.data.kind:
            self._roles_changed(())

    def _later(self) -> None:
        if not self._timer.isActive():
            self._timer.start()


_DECIDED = {"in_channels", "distance_scale", "legend"}  # by the frames and the loss


_AUTOMATIC = {
    "resolution_levels",
    "dt_bound",
    "classes",
}  # by the frames, where they have their default


_TITLES = {
    "name": "Network",
    "structure": "Network",
    "resolution_levels": "Training resolution",
    "dt_bound": "Distance bound",
}


class FineTuning:
    """Knows the network of the session's model; the labels are asked when somebody asks.

    Parameters
    ----------
    workspace
        Of the viewer.

    Attributes
    ----------
    changed
        Emitted when another model is there, or one is read.
    """

    changed = Signal()

    def __init__(self, workspace: Any) -> None:
        self._workspace = workspace
        self._config: Config | None = None
        self._asked: dict[str, Any] = {}
        self._refused = ""
        self._background = TaskQueue("napari-jnet start model")
        workspace.model_changed.connect(self._read)

    @property
    def possible(self) -> bool:
        """Whether Fine-tune can work now."""
        return self._config is not None and not self.misfit

    def ask(self, settings: Mapping[str, Any]) -> None:
        """Know what somebody has chosen of the network and the targets, as ``section.field``."""
        if settings != self._asked:
            self._asked = dict(settings)
            self.changed.emit()

    @property
    def misfit(self) -> str:
        """Why the model cannot learn from the labels, and what to do; "" if it can, or none is known."""
        workspace, config = self._workspace, self._config
        if config is None or workspace.image is None or workspace.annotation is None:
            return self._refused
        frames = workspace.frames
        cells = frames.kind is LabelKind.INSTANCES
        painted = () if cells else (len(frames.info(p).pixels) for p in frames.annotated)
        return self._other_network(config) or misfit(
            config.network,
            _name(workspace.model),
            kind=LabelKind.INSTANCES if cells else LabelKind.CLASSES,
            largest=max(painted, default=1) - 1,
            channels=_channels(workspace.image),
        )

    @property
    def why_not(self) -> str:
        """Why Fine-tune cannot work now; "" if it can."""
        if self._workspace.model is None:
            return "There is no model to fine-tune yet; press Train first."
        if self._config is None and not self._refused:
            return (
                f"{_name(self._workspace.model)} is still being read; press Fine-tune in a moment."
            )
        return self.misfit

    def _other_network(self, config: Config) -> str:
        """Say which settings of the form ask for another network than the model has."""
        mine, default = config.to_dict(), Config().to_dict()
        others = []
        for name, value in json.loads(json.dumps(self._asked)).items():
            section, _, key = name.partition(".")
            automatic = key in _DECIDED or (key in _AUTOMATIC and value == default[section][key])
            if not automatic and value != json.loads(json.dumps(mine[section][key])):
                others.append(_TITLES.get(key) or words(key))
        if not others:
            return ""
        named = ", ".join(dict.fromkeys(others))
        return (
            f"{_name(self._workspace.model)} has another network than is chosen above ({named}). Choose what "
            "it has, or train from scratch."
        )

    def _read(self, _path: str = "") -> None:
        """Read what kind of network the model is: of a run at once, of a single file in a thread."""
        path = self._workspace.model
        self._config, self._refused = None, ""
        if path is not None:
            try:
                self._config = _of_run(path)
            except (OSError, ValueError, TypeError, AttributeError):
                self._read_file(path)
        self.changed.emit()

    def _read_file(self, path: Path) -> None:
        def read() -> Config:
            load_torch()
            from napari_jnet.model import read_start

            return read_start(path)

        def told(found: Config | Exception) -> None:
            if path != self._workspace.model:
                return
            if isinstance(found, Exception):
                self._refused = str(found)
            else:
                self._config = found
            self.changed.emit()

        self._background.submit(read, told, told)


def _of_run(path: Path) -> Config:
    """Read the configuration of a run; raises where there is none that can be read."""
    folder = path.parent if path.name == "model.pt" else path
    if not (folder / "model.pt").is_file():
        raise FileNotFoundError(folder)
    return Config.from_saved(read_json(folder / "config.json"))


def _name(path: Path) -> str:
    if path.name == "model.pt":
        path = path.parent
    return f"run {path.name}" if path.name.isdigit() else path.name


def _channels(image: Any) -> int:
    try:
        stack = image_stack(image)
    except ValueError:  # said where it is trained on
        return 1
    return int(stack.shape[-1]) if stack.axes.endswith("C") else 1


_SAMPLED = 12  # annotated frames that are measured before a training


def gather(
    workspace: Workspace,
    config: Config | None,
    hardware: Hardware,
    run: Path | None,
    *,
    resume: bool,
) -> TrainingFacts:
    """Return the facts of a training with this configuration into this folder.

    Parameters
    ----------
    config
        None where it cannot be made; its error is then said when training is asked for.
    run
        A run folder that somebody has chosen; None for one in the project.
    resume
        Whether the run in it shall go on.
    """
    image, labels, frames = workspace.image, workspace.annotation, workspace.frames
    painted = None if labels is None else pixels(labels)
    other = None if image is None else fitting_labels(workspace)
    network = None if config is None else config.network
    return TrainingFacts(
        image=None if image is None else image.name,
        labels=None if labels is None else labels.name,
        image_size=() if image is None else _spatial(image),
        labels_size=() if painted is None else tuple(painted.shape),
        integers=painted is None
        or np.issubdtype(painted.dtype, np.integer)
        or painted.dtype == bool,
        fitting="" if other is None else other.name,
        kind=frames.kind,
        frames=frames.annotated_info,
        frame_letter=frames.frame_name(0)[0],
        counting=frames.counting,
        classes=_class_names(workspace),
        run=run,
        run_taken=run is not None and not resume and _is_taken(run),
        free_bytes=_free(run or (workspace.project.path if workspace.project else Path.home())),
        hardware=hardware,
        channels=network.channels if network is not None and network.name == "unet" else 0,
        minutes=None if config is None else config.training.minutes,
        misfit=workspace.fine_tuning.misfit,
    )


def fitting_labels(workspace: Workspace) -> Any | None:
    """Return the last labels layer of the image's size that is not the annotation, or None."""
    size = _spatial(workspace.image)
    fitting = [
        layer
        for layer in workspace.labels()
        if tuple(pixels(layer).shape) == size and layer is not workspace.annotation
    ]
    return fitting[-1] if fitting else None


def sample(workspace: Workspace) -> TrainingInput | None:
    """Take some annotated frames, spread over the stack, to measure the cells in; None without any."""
    image, labels, frames = workspace.image, workspace.annotation, workspace.frames
    frames = frames.annotated_info
    kept = (one for one in frames if one.role not in ("unused", "validation") and not one.empty)
    positions = [one.position for one in kept]
    if image is None or labels is None or not positions:
        return None
    if tuple(pixels(labels).shape) != _spatial(image):
        return None
    step = max(1, len(positions) // _SAMPLED)
    try:
        return labels_now(workspace, positions[::step][:_SAMPLED])
    except ValueError:
        return None


def _class_names(workspace: Workspace) -> tuple[str, ...]:
    """Return the names of the classes from background; the legend of scribbles is by label."""
    names = tuple(name for name, _ in workspace.frames.legend)
    return names[1:] if workspace.frames.kind is LabelKind.SCRIBBLES else names


def _spatial(image: Any) -> tuple[int, ...]:
    return spatial_shape(image)


def _is_taken(run: Path) -> bool:
    return (run / "last.pt").exists() or (run / "model.pt").exists()


def _free(path: Path) -> int | None:
    """Return the free bytes where a folder is or will be; None where that cannot be said."""
    for folder in (path, *path.parents):
        if folder.is_dir():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


_EARLIER = 4  # runs that are drawn in grey


@dataclass(frozen=True)
class DeviceFound:
    """Where torch would compute, in words and for the plans."""

    line: str
    hardware: Hardware


@dataclass(frozen=True)
class Past:
    """The curves of a resumed run so far, those of earlier runs, and which run was the last."""

    own: RunHistory | None
    earlier: tuple[RunHistory, ...]
    last: RunSummary | None = None


def training(
    feed: FrameFeed,
    run: Path,
    config: Config,
    resume: bool,
    start_from: Path | None,
    source: PreviewSource,
) -> JobMaker:
    """Make the job that trains on the annotated frames, and on what is painted meanwhile.

    A resumed run keeps to its own configuration, but for what was given.
    """

    def job() -> Generator[Any, None, None]:
        load_torch(optimizer=True)
        from napari_jnet.training.loop import train

        if resume:
            yield Past(read_history(run), read_past(run.parent, run))
        try:
            yield from source.place(
                train(
                    feed.data.frames(),
                    run,
                    config,
                    resume=resume,
                    start_from=start_from,
                    preview=source.read,
                    new_frames=feed.take,
                )
            )
        finally:
            with suppress(OSError):  # an empty folder is one that could not begin
                run.rmdir()

    return job


def comparison(feed: FrameFeed, old: Path, new: Path, device: str) -> JobMaker:
    """Make the job that scores two models on the validation frames of the newer; gives `RoundEnd`."""

    def job() -> Generator[Any, None, RoundEnd]:
        load_torch()
        from napari_jnet.training.validate import compare_models

        names = set(read_split(new)[1])
        frames = [frame for frame in feed.data.frames() if frame.name in names]
        end = yield from compare_models({"old": old, "new": new}, frames, device=device)
        known = [short_name(f.name) for f in frames if f.name in set(read_split(old)[0])]
        if not known:
            return end
        many = len(known) > 1
        words = (
            f"{end.words} The old model has learned from {' and '.join(known)}: "
            f"{'their scores flatter' if many else 'its score flatters'} it."
        )
        return replace(end, words=words)

    return job


def short_name(name: str) -> str:
    """Return the last part of a frame's name: "01/t005" -> "t005"."""
    return name.rsplit("/", 1)[-1]


def read_past(runs: Path, present: Path | None) -> tuple[RunHistory, ...]:
    """Read the last runs of a folder of runs, without the present one."""
    if not runs.is_dir():
        return ()
    others = [run for run in runs.iterdir() if run != present and (run / "history.csv").is_file()]
    newest = sorted(others, key=lambda run: (run / "history.csv").stat().st_mtime)[-_EARLIER:]
    return tuple(read_histories(newest))


def look_up_device() -> DeviceFound:
    """Say where torch would compute; this imports torch."""
    load_torch()
    import torch

    from napari_jnet.device import choose_device, device_line

    kind = choose_device().type
    free = torch.cuda.mem_get_info()[0] / 2**30 if kind == "cuda" else 0.0
    return DeviceFound(device_line(), Hardware(kind, window_threads(), free))


def time_left(seconds: float) -> str:
    """Say a duration: "45 s", "3 min", "2 h 10 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
