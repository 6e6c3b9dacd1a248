"""The prediction jobs: frames of a stack, a folder of stacks, an export, and separating cells again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig
from napari_jnet.events import FramePrediction, FrameSkipped, Notice, summarize_skipped
from napari_jnet.io.formats import FORMATS
from napari_jnet.io.results import is_result
from napari_jnet.io.stack import Stack
from napari_jnet.plugin.jobs.runner import JobMaker, Progress, TaskQueue, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.add import ModelOutputs, Prediction, Region
from napari_jnet.plugin.layers.read import (
    METADATA_KEY,
    channel_axis,
    current_index,
    metadata,
    placement,
    position_of,
    spatial_ndim,
    spatial_shape,
)
from napari_jnet.plugin.workspace import Workspace
from napari_jnet.project.open import open_stack, sequences

if TYPE_CHECKING:
    from napari_jnet.model import Model


# name -> title and tooltip
SCOPES: dict[str, tuple[str, str]] = {
    "frame": ("This frame", "The frame that the viewer shows."),
    "visible": (
        "What is visible",
        "The part of this frame that the window shows: zoom in for a result in a moment.",
    ),
    "region": ("A drawn region", "The part of this frame around what you have drawn."),
    "annotated": ("Annotated frames", "The frames that are painted on, to compare with."),
    "all": ("All frames", "Every frame, one after the other, in the background."),
    "folder": ("A folder of stacks…", "Every stack in a folder; results go to files, not layers."),
}

_EDGE = 2  # px; lines of the drawn shapes are visible on any image


@dataclass(frozen=True)
class PredictionRequest:
    """Which frames are predicted (frame numbers; None = all) and which region (None = whole frames)."""

    numbers: tuple[int, ...] | None
    region: Region | None = None

    def positions(self, stack: Stack) -> tuple[int, ...]:
        """Return the positions along the stack."""
        numbers = stack.frame_numbers if self.numbers is None else self.numbers
        return tuple(stack.frame_numbers.index(number) for number in numbers)


def make_request(scope: str, workspace: Workspace, image: Any, stack: Stack) -> PredictionRequest:
    """Return the frames and the region that a scope means now.

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
        return PredictionRequest(None)
    if scope == "annotated":
        positions = [p for p in workspace.frames.annotated if p < len(stack.frame_numbers)]
        if not positions:
            raise ValueError(
                "No frame is annotated yet; paint a cell first, or predict this frame."
            )
        return PredictionRequest(tuple(stack.frame_numbers[p] for p in positions))
    index = current_index(workspace.viewer, image)
    number = stack.frame_numbers[position_of(index)]
    if scope == "visible":
        return PredictionRequest((number,), _visible_region(workspace.viewer, image))
    if scope == "region":
        return PredictionRequest((number,), _drawn_region(workspace.viewer, image, index, number))
    if scope == "frame":
        return PredictionRequest((number,))
    raise ValueError(f"{scope!r} is not a scope; known are {', '.join(SCOPES)}.")


def _clipped(low: NDArray[Any], high: NDArray[Any], image: Any) -> Region:
    """Return rows and columns from low up to high, both (y, x), as far as they lie in the image."""
    size = spatial_shape(image)[-2:]
    starts, stops = (np.clip(edge, 0, size).astype(int) for edge in (low, high))
    return slice(int(starts[0]), int(stops[0])), slice(int(starts[1]), int(stops[1]))


def _visible_region(viewer: Any, image: Any) -> Region:
    if viewer.dims.ndisplay == 3:
        raise ValueError(
            "This is the 3-D view; change to the flat view to predict what is visible."
        )
    corners = np.asarray(image.corner_pixels, float)[:, -2:]
    if getattr(image, "multiscale", False):
        corners = corners * np.asarray(image.downsample_factors)[image.data_level][-2:]
    region = _clipped(np.floor(corners[0]), np.ceil(corners[1]) + 1, image)
    if any(side.stop - side.start < 2 for side in region):
        raise ValueError(
            f"Nothing of {image.name!r} is visible; zoom out (the house below the layers), or show "
            "the layer."
        )
    return region


def region_layer(viewer: Any) -> Any | None:
    """Return the layer that a region is drawn in: ours, else the last one of shapes, or None."""
    from napari.layers import Shapes

    shapes = [layer for layer in viewer.layers if isinstance(layer, Shapes)]
    ours = [layer for layer in shapes if metadata(layer).get("role") == "region"]
    others = [layer for layer in shapes if not metadata(layer).get("role")]
    return (ours or others or [None])[-1]


def draw_region(viewer: Any, image: Any) -> Any:
    """Prepare to draw a rectangle on an image, in a layer that is made where there is none."""
    layer = region_layer(viewer)
    if layer is None or layer.ndim > viewer.dims.ndim:
        layer = viewer.add_shapes(
            ndim=spatial_ndim(image),
            name="region to predict",
            face_color="transparent",
            edge_color="#ffd84d",
            edge_width=_EDGE,
            metadata={METADATA_KEY: {"role": "region"}},
            **placement(image),
        )
    if layer is not viewer.layers[-1]:
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def _drawn_region(viewer: Any, image: Any, index: Sequence[int], number: int) -> Region:
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
    low, high = np.floor(points.min(axis=0) + 0.5), np.ceil(points.max(axis=0) + 0.5)
    region = _clipped(low, high, image)
    if any(side.start >= side.stop for side in region):
        raise ValueError("What is drawn lies beside the image; drag a rectangle over the cells.")
    return region


def _corners(layer: Any, shape: Any, image: Any) -> NDArray[Any]:
    """Return the corners of a shape, (n, axes), in pixels of the image; a flat layer lacks axes."""
    world = np.array([layer.data_to_world(point) for point in np.asarray(shape, float)])
    axis, ndim = channel_axis(image), image.ndim
    # a flat layer lies on every frame: its corners have no time, depth and channels
    lead = np.zeros((len(world), max(ndim - world.shape[1], 0)))
    full = np.hstack([lead, world])[:, -ndim:]
    found = np.array([image.world_to_data(point) for point in full])
    kept = np.arange(ndim) >= lead.shape[1]
    if axis is not None:
        kept[axis] = False
    return found[:, kept]


def _lies_in(corners: NDArray[Any], index: Sequence[int]) -> bool:
    axes = corners.shape[1] - 2
    plane = list(index)[len(index) - axes :] if axes else []
    return [round(float(v)) for v in corners[0, :axes]] == plane


@dataclass(frozen=True)
class ModelReady:
    """The model is open; its frames follow."""

    key: tuple[Any, ...]
    dt_bound: float
    instances: InstanceConfig
    device: str
    outputs: ModelOutputs


@dataclass(frozen=True)
class FrameSummary:
    """What was found in one frame."""

    cells: int
    class_pixels: dict[str, int] = field(default_factory=dict)  # by name, background first
    position: int = 0
    uncertainty: float | None = None  # bits a pixel; None of a region


class ModelCache:
    """The model that was opened last, so that the next frame does not open it again."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._model: Model | None = None

    def open(self, path: Path, options: dict[str, Any]) -> tuple[ModelReady, Model]:
        """Open a model in the worker thread, and leave a core to the window.

        Parameters
        ----------
        path
            A run folder or a model file; a file that has changed is opened again.
        options
            Further arguments of `load_model`.
        """
        load_torch()
        from napari_jnet.device import describe_device, use_threads
        from napari_jnet.model import load_model, model_file

        use_threads(window_threads())
        file = model_file(path)
        changed = file.stat().st_mtime_ns if file.exists() else 0
        key = (str(file), changed, *options.values())
        if self._model is None or key != self._key:
            self._model = None
            self._model, self._key = load_model(path, **options), key
        model = self._model
        network = model.config.network
        outputs = ModelOutputs(network.classes, network.distance, model.config.targets.classes)
        device = describe_device(model.device)
        return ModelReady(key, model.dt_bound, model.config.instances, device, outputs), model


def missing_options(path: Path) -> tuple[tuple[str, ...], int]:
    """Return what a file of the original J-Net does not hold, see `missing_parameters`; for a thread."""
    load_torch()
    from napari_jnet.model import missing_parameters

    return missing_parameters(path)


def class_pixels(
    prediction: FramePrediction, outputs: ModelOutputs, threshold: float
) -> dict[str, int]:
    """Count the pixels of each class, by its name; nothing where single cells are meant."""
    if not outputs.semantic:
        return {}
    if prediction.classes is not None:
        counts = np.bincount(prediction.classes.ravel(), minlength=len(outputs.names))
    else:
        foreground = int((prediction.segmentation > threshold).sum())
        counts = np.array([prediction.segmentation.size - foreground, foreground])
    return {name: int(count) for name, count in zip(outputs.names, counts, strict=False)}


def predicting(
    model_cache: ModelCache,
    path: Path,
    options: dict[str, Any],
    stack: Stack,
    request: PredictionRequest,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Return the job that opens a model and predicts frames of a stack, or a region of them.

    `ModelReady` comes with the first frame that can be predicted.
    """

    def job() -> Generator[Any, None, None]:
        load_torch()
        from napari_jnet.inference.predict import frame_uncertainty, predict

        ready, model = model_cache.open(path, options)
        threshold = (instances or ready.instances).segmentation_threshold
        done, announced = 0, False
        events = predict(
            model,
            stack,
            frames=request.numbers,
            instances=instances,
            region=request.region,
            on_error="skip",
        )
        for event in events:
            if isinstance(event, FramePrediction) and not announced:
                yield ready
                announced = True
            yield event
            if isinstance(event, Notice):
                continue
            done += 1
            yield Progress(done, event.count, f"frame {done} of {event.count}")
            if isinstance(event, FramePrediction):
                yield FrameSummary(
                    int(event.instances.max(initial=0)),
                    class_pixels(event, ready.outputs, threshold),
                    event.position,
                    frame_uncertainty(event.segmentation) if event.region is None else None,
                )

    return job


def exporting(results: Prediction, folder: Path) -> Generator[Progress | Notice, None, None]:
    """Write the predicted frames of some results to a folder."""
    from napari_jnet.io.results import ResultWriter

    positions = sorted(results.done)
    numbers = [results.done[position] for position in positions]
    with ResultWriter(folder, results.stack, numbers) as writer:
        for written, position in enumerate(positions, start=1):
            writer.write(results.prediction(position))
            yield Progress(written, len(positions), f"written {written} of {len(positions)}")
    if writer.notice:
        yield Notice(writer.notice)


class Resegmentation:
    """Separates the cells of predicted frames again; a new request replaces the one under way.

    One thread does one frame after the other, and the frame that is shown before all others.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._tasks = TaskQueue("napari-jnet cells")
        self._on_error = on_error
        self._request: tuple[Prediction, InstanceConfig] | None = None
        self._positions: set[int] = set()  # that wait

    @property
    def running(self) -> bool:
        """Whether there are cells still to be separated."""
        return bool(self._positions) or self._tasks.busy

    def close(self) -> None:
        """Drop all requests."""
        self._positions.clear()
        self._tasks.close()

    def request(
        self, results: Prediction, config: InstanceConfig, positions: Collection[int] | None = None
    ) -> None:
        """Separate predicted frames that nobody painted on again; all, or those at positions."""
        done = set(results.done)
        self._request = results, config
        self._positions = (done if positions is None else done & set(positions)) - results.edited
        if not self._tasks.busy:
            self._next()

    def _next(self) -> None:
        if self._request is None or not self._positions:
            self._request = None  # with its maps
            return
        results, config = self._request
        shown = results.shown()
        position = shown if shown in self._positions else min(self._positions)
        self._positions.remove(position)

        def separated() -> NDArray[np.int32]:
            from napari_jnet.inference.instances import separate

            return separate(*results.maps(position), config, results.dt_bound)

        def write(cells: NDArray[np.int32]) -> None:
            if position not in results.edited:  # painted on meanwhile
                results.write_cells(position, cells, config.segmentation_threshold)
            self._next()

        def failed(error: Exception) -> None:
            self._on_error(error)
            self._next()

        self._tasks.submit(separated, write, failed)


def stacks_in(folder: Path, output: Path | None = None) -> tuple[list[Stack], list[str]]:
    """Open the stacks of a folder, by headers only.

    Parameters
    ----------
    folder
        A dataset, of which every sequence counts, or a folder of stacks.
    output
        A folder that is skipped, if it lies inside: results are not stacks.

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
            continue  # damaged; the next one may tell
    return False


def _known(path: Path) -> bool:
    return any(known.matches(path) for known in FORMATS.values())


def _opened(path: Path, problems: list[str]) -> list[Stack]:
    found = []
    for sequence in sequences(path) or (None,):
        try:
            found.append(open_stack(path, sequence=sequence))
        except (ValueError, OSError) as error:
            problems.append(f"{path.name} is skipped: {error}")
    return found


def predicting_folder(
    model_cache: ModelCache,
    path: Path,
    options: dict[str, Any],
    folder: Path,
    output: Path,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Return the job that predicts every stack of a folder into a folder of its own in ``output``.

    A damaged frame or stack is skipped with a notice.  The job returns how many stacks there were, and
    how many of them were skipped.
    """

    def job() -> Generator[Any, None, tuple[int, int]]:
        if folder.resolve() == output.resolve():
            raise ValueError(
                f"Results would be written among the stacks in {folder}; choose another folder."
            )
        stacks, problems = stacks_in(folder, output)
        for text in (*problems, *(note for stack in stacks for note in stack.notes)):
            yield Notice(text)
        ready, model = model_cache.open(path, options)
        yield ready
        count, done, skipped = sum(len(stack) for stack in stacks), 0, len(problems)
        for stack, place in zip(stacks, _places(stacks, output), strict=True):
            written = yield from _one_stack(model, ready, stack, place, instances, done, count)
            skipped += not written
            done += len(stack)
        return len(stacks) + len(problems), skipped

    return job


def _places(stacks: Sequence[Stack], output: Path) -> list[Path]:
    """Return a folder for every stack: named after its file, numbered where two have one name."""
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
    """Predict a stack into a folder; return False where it was skipped."""
    from napari_jnet.files import OutputError
    from napari_jnet.inference.predict import predict
    from napari_jnet.io.results import ResultWriter

    try:
        writer = ResultWriter(place, stack)
    except OutputError as error:
        yield Notice(f"{stack.name} is skipped: {error}")
        return False
    threshold = (instances or ready.instances).segmentation_threshold
    skipped: list[FrameSkipped] = []
    with writer:
        try:
            for event in predict(model, stack, instances=instances, on_error="skip"):
                if isinstance(event, FrameSkipped):
                    skipped.append(event)
                elif isinstance(event, FramePrediction):
                    writer.write(event)
                    cells = int(event.instances.max(initial=0))
                    yield FrameSummary(cells, class_pixels(event, ready.outputs, threshold))
                    at = done + event.position + 1
                    yield Progress(at, count, f"{stack.name}: frame {at} of {count}")
        except OutputError:
            raise  # the disk is full or the folder gone: no use in going on
        except (ValueError, OSError) as error:
            yield Notice(f"{stack.name} is skipped: {error}")
            return False
    for text in ([writer.notice] if writer.notice else []) + summarize_skipped(skipped):
        yield Notice(f"{stack.name}: {text}")
    return True
