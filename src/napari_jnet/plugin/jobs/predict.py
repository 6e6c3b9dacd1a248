"""The prediction jobs: one stack, a folder of stacks, and separating cells again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig
from napari_jnet.events import FramePrediction, FrameSkipped, Notice, summarize_skipped
from napari_jnet.io.formats import FORMATS
from napari_jnet.io.results import is_result
from napari_jnet.io.stack import Stack
from napari_jnet.plugin.jobs.runner import JobMaker, JobRunner, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.add import Answer, Prediction, placement
from napari_jnet.plugin.layers.read import current_index, spatial_ndim, spatial_shape
from napari_jnet.plugin.workspace import METADATA_KEY, Workspace, channel_axis
from napari_jnet.project.open import open_stack, sequences

if TYPE_CHECKING:
    from napari_jnet.model import Model


Part = tuple[slice, slice]


SCOPES: dict[str, tuple[str, str]] = {
    "frame": ("This frame", "The frame that the viewer shows."),
    "visible": (
        "What is visible",
        "The part of this frame that the window shows: zoom in, and it is there in a moment.",
    ),
    "region": ("A drawn region", "The part of this frame around what you have drawn."),
    "annotated": ("Annotated frames", "The frames that are painted on, to compare with."),
    "all": ("All frames", "Every frame, one after the other, in the background."),
    "folder": ("A folder of stacks…", "Every stack in a folder; results go to files, not layers."),
}


"""Name -> what the user reads, and what it means."""


_REGION = "region to predict"


_EDGE = 2  # px; lines of the drawn shapes are seen on any image


@dataclass(frozen=True)
class Work:
    """What a prediction in the window is of.

    Attributes
    ----------
    numbers
        Frame numbers, or None for all.
    region
        Rows and columns, or None for whole frames.
    """

    numbers: tuple[int, ...] | None
    region: Part | None = None

    def positions(self, stack: Stack) -> tuple[int, ...]:
        """Return the positions along the stack."""
        numbers = stack.frame_numbers if self.numbers is None else self.numbers
        return tuple(stack.frame_numbers.index(number) for number in numbers)


def work(scope: str, workspace: Workspace, image: Any, stack: Stack) -> Work:
    """Say which frames and which region a scope means now.

    Parameters
    ----------
    scope
        A key of `SCOPES`, but "folder".
    workspace
        Of the viewer.
    image
        The layer that is predicted.
    stack
        `image_stack` of it.

    Raises
    ------
    ValueError
        If there is nothing of that kind: nothing drawn, nothing annotated, nothing visible.
    """
    if scope == "all":
        return Work(None)
    if scope == "annotated":
        return Work(_annotated(workspace, stack))
    index = current_index(workspace.viewer, image)
    number = stack.frame_numbers[index[0] if index else 0]
    if scope == "visible":
        return Work((number,), _visible(workspace.viewer, image))
    if scope == "region":
        return Work((number,), _drawn(workspace.viewer, image, index, number))
    if scope == "frame":
        return Work((number,))
    raise ValueError(f"{scope!r} is no scope; known are {', '.join(SCOPES)}.")


def _annotated(workspace: Workspace, stack: Stack) -> tuple[int, ...]:
    numbers = tuple(
        stack.frame_numbers[p] for p in workspace.frames.annotated if p < len(stack.frame_numbers)
    )
    if not numbers:
        raise ValueError("No frame is annotated yet; paint a cell first, or predict this frame.")
    return numbers


def _visible(viewer: Any, image: Any) -> Part:
    if viewer.dims.ndisplay == 3:
        raise ValueError(
            "This is the 3-D view; change to the flat view to predict what is visible."
        )
    corners = np.asarray(image.corner_pixels, float)[:, -2:]
    if getattr(image, "multiscale", False):
        corners = corners * np.asarray(image.downsample_factors)[image.data_level][-2:]
    height, width = spatial_shape(image)[-2:]
    (top, left), (bottom, right) = np.floor(corners[0]), np.ceil(corners[1])
    rows = slice(max(int(top), 0), min(int(bottom) + 1, height))
    columns = slice(max(int(left), 0), min(int(right) + 1, width))
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        raise ValueError(
            f"Nothing of {image.name!r} is visible; zoom out (the house below the layers), or show "
            "the layer."
        )
    return rows, columns


def region_layer(viewer: Any) -> Any | None:
    """Return the layer that a region is drawn in: ours, else the last one of shapes, or None."""
    from napari.layers import Shapes

    shapes = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    roles = [s.metadata.get(METADATA_KEY, {}).get("role", "") for s in shapes]
    ours = [s for s, role in zip(shapes, roles, strict=True) if role == "region"]
    others = [s for s, role in zip(shapes, roles, strict=True) if not role]
    return (ours or others or [None])[-1]


def draw_region(viewer: Any, image: Any) -> Any:
    """Make ready to draw a rectangle on an image; the layer for it is made where there is none."""
    layer = region_layer(viewer)
    if layer is None or layer.ndim > viewer.dims.ndim:
        layer = viewer.add_shapes(
            ndim=spatial_ndim(image),
            name=_REGION,
            face_color="transparent",
            edge_color="#ffd84d",
            edge_width=_EDGE,
            metadata={METADATA_KEY: {"role": "region"}},
            **placement(image),
        )
    if not any(layer is other for other in list(viewer.layers)[-1:]):
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def _drawn(viewer: Any, image: Any, index: Sequence[int], number: int) -> Part:
    layer = region_layer(viewer)
    corners = [] if layer is None else [_corners(layer, shape, image) for shape in layer.data]
    here = [c[:, -2:] for c in corners if _lies_in(c, index)]
    if not here:
        elsewhere = " What is drawn lies in another frame." if corners else ""
        raise ValueError(
            f"Nothing is drawn in frame {number}; press Draw a region and drag a rectangle over "
            f"the cells.{elsewhere}"
        )
    points = np.concatenate(here)
    height, width = spatial_shape(image)[-2:]
    low, high = np.floor(points.min(axis=0) + 0.5), np.ceil(points.max(axis=0) + 0.5)
    rows = slice(int(np.clip(low[0], 0, height)), int(np.clip(high[0], 0, height)))
    columns = slice(int(np.clip(low[1], 0, width)), int(np.clip(high[1], 0, width)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise ValueError("What is drawn lies beside the image; drag a rectangle over the cells.")
    return rows, columns


def _corners(layer: Any, shape: Any, image: Any) -> np.ndarray:
    """Corners of a shape, (n, axes), in pixels of the image; fewer axes where the layer has fewer."""
    world = np.array([layer.data_to_world(point) for point in np.asarray(shape, float)])
    axis, ndim = channel_axis(image), image.ndim
    # a flat layer lies on every frame: its corners say nothing of time, depth and channels
    lead = np.zeros((len(world), max(ndim - world.shape[1], 0)))
    full = np.hstack([lead, world])[:, -ndim:]
    found = np.array([image.world_to_data(point) for point in full])
    said = np.arange(ndim) >= lead.shape[1]
    if axis is not None:
        said[axis] = False
    return found[:, said]


def _lies_in(corners: np.ndarray, index: Sequence[int]) -> bool:
    axes = corners.shape[1] - 2
    wanted = list(index)[len(index) - axes :] if axes else []
    return [round(float(v)) for v in corners[0, :axes]] == wanted


_PATIENCE_S = 0.5  # a window that closes answers no more


@dataclass(frozen=True)
class ModelReady:
    """The model is open; its frames follow."""

    key: tuple[Any, ...]
    bound: float
    instances: InstanceConfig
    device: str
    answer: Answer = field(default_factory=Answer)
    missing: list[str] = field(default_factory=list)  # layers to make, as the window answers
    taken: Event = field(default_factory=Event, compare=False)


@dataclass(frozen=True)
class LayerWanted:
    """Time to make one more result layer; one at a time, so that the window stays alive."""

    name: str
    made: Event = field(default_factory=Event, compare=False)


@dataclass(frozen=True)
class Unsure:
    """How unsure the network is of a frame, in bits a pixel."""

    position: int
    bits: float


@dataclass(frozen=True)
class ClassPixels:
    """How much of what is predicted belongs to each class."""

    pixels: dict[str, int]  # by name, background first


@dataclass(frozen=True)
class Exported:
    """One more frame is on disk."""

    done: int
    count: int


class ModelCache:
    """Keeps the model that was opened last, so that the next frame does not open it again."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._model: Model | None = None

    def get(self, path: Path, facts: dict[str, Any]) -> tuple[tuple[Any, ...], Model]:
        """Open a model, in the worker thread; a file that has changed is opened anew."""
        from napari_jnet.model import load_model, model_file

        file = model_file(path)
        changed = file.stat().st_mtime_ns if file.exists() else 0
        key = (str(file), changed, facts["resolution_levels"], facts["dt_bound"])
        if self._model is None or key != self._key:
            self._model = None
            self._model, self._key = load_model(path, **facts), key
        return key, self._model


def facts_wanted(path: Path) -> tuple[tuple[str, ...], int]:
    """Return what a file of the original J-Net does not hold, see `missing_facts`; called in a thread."""
    load_torch()
    from napari_jnet.model import missing_facts

    return missing_facts(path)


def opened_model(
    model_cache: ModelCache, path: Path, facts: dict[str, Any]
) -> tuple[ModelReady, Model]:
    """Open a model in the worker thread, and leave a core to the window."""
    load_torch()
    from napari_jnet.device import describe_device, use_threads

    use_threads(window_threads())
    key, model = model_cache.get(path, facts)
    where = describe_device(model.device)
    network = model.config.network
    answer = Answer(network.classes, network.distance, model.config.targets.legend)
    return ModelReady(key, model.dt_bound, model.config.instances, where, answer), model


def class_pixels(prediction: FramePrediction, answer: Answer, threshold: float) -> dict[str, int]:
    """Count the pixels of each class, by its name; nothing where single cells are meant."""
    if not answer.areas:
        return {}
    if prediction.classes is not None:
        counts = np.bincount(prediction.classes.ravel(), minlength=len(answer.names))
    else:
        foreground = int((prediction.segmentation > threshold).sum())
        counts = np.array([prediction.segmentation.size - foreground, foreground])
    return {name: int(count) for name, count in zip(answer.names, counts, strict=False)}


def predicting(
    model_cache: ModelCache,
    path: Path,
    facts: dict[str, Any],
    stack: Stack,
    work: Work,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Make the job that opens a model and predicts frames of a stack, or a region of them."""

    def job() -> Generator[Any, None, None]:
        load_torch()
        from napari_jnet.inference.predict import frame_uncertainty, predict

        ready, model = opened_model(model_cache, path, facts)
        frames, region, shown = work.numbers, work.region, False
        for event in predict(
            model, stack, frames=frames, instances=instances, region=region, on_error="skip"
        ):
            if isinstance(event, FramePrediction) and not shown:  # layers only for what is there
                yield from _ready_layers(ready)
                shown = True
            yield event
            if not isinstance(event, FramePrediction):
                continue
            threshold = (instances or ready.instances).segmentation_threshold
            if counted := class_pixels(event, ready.answer, threshold):
                yield ClassPixels(counted)
            if event.region is None:
                yield Unsure(event.position, frame_uncertainty(event.segmentation))

    return job


def _ready_layers(ready: ModelReady) -> Generator[ModelReady | LayerWanted, None, None]:
    yield ready
    ready.taken.wait(_PATIENCE_S)
    for name in ready.missing:
        wanted = LayerWanted(name)
        yield wanted
        wanted.made.wait(_PATIENCE_S)


def exporting(results: Prediction, folder: Path) -> Generator[Exported | Notice, None, None]:
    """Write the predicted frames of some results to a folder."""
    from napari_jnet.io.results import ResultWriter

    positions = sorted(results.done)
    numbers = [results.done[position] for position in positions]
    with ResultWriter(folder, results.stack, numbers) as writer:
        for written, position in enumerate(positions, start=1):
            writer.write(results.prediction(position))
            yield Exported(written, len(positions))
    if writer.notice:
        yield Notice(writer.notice)


@dataclass(frozen=True, eq=False)
class _Renewed:
    position: int
    cells: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Request:
    results: Prediction
    config: InstanceConfig
    positions: tuple[int, ...]


class Resegmentation:
    """Runs the latest wish only: a new one replaces the one under way.

    The visible frame has a thread of its own: it never waits for another frame, however large the
    stack.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._shown, self._others = JobRunner(), JobRunner()
        self._on_error = on_error
        self._wish: _Request | None = None  # of the visible frame, as soon as it can begin
        self._rest: _Request | None = None  # of the others, when the visible one is there

    @property
    def running(self) -> bool:
        """Whether cells are being renewed."""
        return self._shown.running or self._others.running

    def close(self) -> None:
        """Stop and wait."""
        self._wish = self._rest = None
        self._shown.close()
        self._others.close()

    def request(
        self, results: Prediction, config: InstanceConfig, positions: Collection[int] | None = None
    ) -> None:
        """Renew the cells of predicted frames that nobody painted on; of all, or at positions."""
        wanted = set(results.done) if positions is None else set(positions) & set(results.done)
        self._wish = _Request(results, config, tuple(sorted(wanted - results.edited)))
        self._rest = None
        self._others.stop()
        if not self._shown.running:
            self._begin()

    def _begin(self, _value: Any = None) -> None:
        wish, self._wish = self._wish, None
        if wish is None:
            self._begin_others()
            return
        shown = wish.results.shown()
        self._rest = _Request(wish.results, wish.config, _without(wish.positions, shown))
        if shown not in wish.positions:
            self._begin_others()
            return
        self._run(self._shown, wish, (shown,), self._begin)

    def _begin_others(self, _value: Any = None) -> None:
        if self._rest is None or self._others.running or self._shown.running:
            return
        rest, self._rest = self._rest, None
        if rest.positions:
            self._run(self._others, rest, rest.positions, self._begin_others)

    def _run(
        self,
        relay: JobRunner,
        wish: _Request,
        positions: Sequence[int],
        go_on: Callable[..., None],
    ) -> None:
        results, config = wish.results, wish.config

        def write(event: _Renewed) -> None:
            # painted on, or wished otherwise, meanwhile
            if event.position not in results.edited and not relay.stopping:
                results.write_cells(event.position, event.cells, config.segmentation_threshold)

        def failed(error: Exception) -> None:
            self._on_error(error)
            go_on()

        job = _separating(results, config, positions)
        relay.start(job, write, go_on, failed, go_on)


def _separating(results: Prediction, config: InstanceConfig, positions: Sequence[int]) -> JobMaker:
    def job() -> Generator[_Renewed, None, None]:
        from napari_jnet.inference.instances import separate

        for position in positions:
            yield _Renewed(position, separate(*results.maps(position), config, results.bound))

    return job


def _without(positions: tuple[int, ...], position: int) -> tuple[int, ...]:
    return tuple(p for p in positions if p != position)


@dataclass(frozen=True)
class BatchFrame:
    """One more frame of the folder is on disk."""

    stack: str
    done: int
    count: int
    cells: int
    classes: dict[str, int] = field(default_factory=dict)  # pixels of each


@dataclass(frozen=True)
class BatchEnd:
    """All stacks of the folder are done."""

    stacks: int
    skipped: int


def stacks_in(folder: Path, output: Path | None = None) -> tuple[list[Stack], list[str]]:
    """Open the stacks of a folder, by headers only.

    Parameters
    ----------
    folder
        A dataset, of which every sequence counts, or a folder of stacks.
    output
        A folder that is left out, if it lies inside: results are no stacks.

    Returns
    -------
    stacks, problems
        In the order of their names; and what could not be opened, in words.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds nothing that can be opened.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; choose the folder of the stacks.")
    problems: list[str] = []
    stacks = _opened(folder, problems) if _known(folder) and not _holds_stacks(folder) else []
    if not stacks and folder.is_dir():
        problems = []
        for path in sorted(folder.iterdir()):
            ours = output is not None and path.resolve() == output.resolve()
            ours = ours or (path.is_file() and is_result(path))
            if not ours and not path.name.startswith(".") and _known(path):
                stacks += _opened(path, problems)
    if not stacks:
        why = f" {problems[0]}" if problems else ""
        raise ValueError(
            f"{folder} holds no stack that can be opened; choose a folder with TIFF stacks or with "
            f"folders of images.{why}"
        )
    return stacks, problems


def _holds_stacks(folder: Path) -> bool:
    """Whether the TIFF files of a folder have several pages each: stacks, and not frames of one."""
    if not folder.is_dir():
        return False
    for path in sorted(folder.glob("*.tif*")):
        if is_result(path):
            continue
        try:
            with tifffile.TiffFile(path) as file:
                return len(file.pages) > 1
        except (tifffile.TiffFileError, OSError, ValueError):
            continue  # damaged; the next one tells
    return False


def _known(path: Path) -> bool:
    return any(known.matches(path) for known in FORMATS.values())


def _opened(path: Path, problems: list[str]) -> list[Stack]:
    found = []
    for sequence in sequences(path) or (None,):
        try:
            stack = open_stack(path, sequence=sequence)
        except (ValueError, OSError) as error:
            problems.append(f"{path.name} is left out: {error}")
            continue
        found.append(stack)
    return found


def predicting_folder(
    model_cache: ModelCache,
    path: Path,
    facts: dict[str, Any],
    folder: Path,
    output: Path,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Make the job that predicts every stack of a folder into a folder of its own in ``output``.

    A frame or stack that is damaged is said and left out; the others go on.
    """

    def job() -> Generator[Any, None, BatchEnd]:
        if folder.resolve() == output.resolve():
            raise ValueError(
                f"Results would be written among the stacks in {folder}; choose another folder."
            )
        stacks, problems = stacks_in(folder, output)
        for problem in problems:
            yield Notice(problem)
        for stack in stacks:
            for note in stack.notes:
                yield Notice(note)
        ready, model = opened_model(model_cache, path, facts)
        yield ready
        count, done, skipped = sum(len(stack) for stack in stacks), 0, len(problems)
        for stack, place in zip(stacks, _places(stacks, output), strict=True):
            written = yield from _one_stack(model, ready, stack, place, instances, done, count)
            skipped += not written
            done += len(stack)
        return BatchEnd(len(stacks) + len(problems), skipped)

    return job


def _places(stacks: Sequence[Stack], output: Path) -> list[Path]:
    """Give every stack a folder: named after its file, numbered where two have one name."""
    names: list[str] = []
    for stack in stacks:
        path = stack.path
        stem = stack.name if path is None else path.name if path.is_dir() else path.stem
        name = stem if not stack.sequence else f"{stem} {stack.sequence}"
        again = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({again + 1})" if again else name)
    return [output / name for name in names]


def _one_stack(
    model: Model,
    ready: ModelReady,
    stack: Stack,
    place: Path,
    instances: InstanceConfig | None,
    done: int,
    count: int,
) -> Generator[Any, None, bool]:
    from napari_jnet.files import OutputError
    from napari_jnet.inference.predict import predict
    from napari_jnet.io.results import ResultWriter

    try:
        writer = ResultWriter(place, stack)
    except OutputError as error:
        yield Notice(f"{stack.name} is left out: {error}")
        return False
    threshold = (instances or ready.instances).segmentation_threshold
    left: list[FrameSkipped] = []
    with writer:
        try:
            for event in predict(model, stack, instances=instances, on_error="skip"):
                if isinstance(event, FrameSkipped):
                    left.append(event)
                elif isinstance(event, FramePrediction):
                    writer.write(event)
                    cells = int(event.instances.max(initial=0))
                    classes = class_pixels(event, ready.answer, threshold)
                    position = done + event.position + 1
                    yield BatchFrame(stack.name, position, count, cells, classes)
        except OutputError:
            raise  # the disk is full or the folder gone: no use in going on
        except (ValueError, OSError) as error:
            yield Notice(f"{stack.name} is left out: {error}")
            return False
    if writer.notice:
        yield Notice(f"{stack.name}: {writer.notice}")
    for words in summarize_skipped(left):
        yield Notice(f"{stack.name}: {words}")
    return True
