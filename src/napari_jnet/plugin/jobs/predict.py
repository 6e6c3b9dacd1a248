"""The prediction jobs: frames of a stack, a folder of stacks, an export, and separating cells again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig
from napari_jnet.events import FramePrediction, FrameSkipped, Message, summarize_skipped
from napari_jnet.files import OutputError
from napari_jnet.io.formats import FORMATS
from napari_jnet.io.marks import is_result
from napari_jnet.io.results import ResultWriter
from napari_jnet.io.run_folder import model_file
from napari_jnet.io.stack import Stack
from napari_jnet.io.tiff import TIFF_SUFFIXES
from napari_jnet.plugin.jobs.runner import JobMaker, Progress, TaskQueue, window_threads
from napari_jnet.plugin.jobs.torch_loading import load_torch
from napari_jnet.plugin.layers.add import Prediction, Region
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
        if self.numbers is None:
            return tuple(range(len(stack)))
        positions = {number: position for position, number in enumerate(stack.frame_numbers)}
        return tuple(positions[number] for number in self.numbers)


def make_request(scope: str, workspace: Workspace, image: Any, stack: Stack) -> PredictionRequest:
    """Return the frames and the region that a scope of `SCOPES`, but "folder", means now.

    Raises `ValueError` if there is nothing of that kind: nothing drawn, annotated or visible.
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
    return PredictionRequest((number,))


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
    """Return the layer that a region is drawn in, or None."""
    ours = [layer for layer in viewer.layers if metadata(layer).get("role") == "region"]
    return ours[-1] if ours else None


def draw_region(viewer: Any, image: Any) -> Any:
    """Prepare to draw a rectangle on an image, in a layer that is made where there is none."""
    layer = region_layer(viewer)
    if layer is None or layer.ndim != spatial_ndim(image):
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
    drawn = layer.data if layer is not None and layer.ndim == spatial_ndim(image) else []
    corners = [_corners(layer, shape, image) for shape in drawn]
    here = [c[:, -2:] for c in corners if np.array_equal(np.round(c[0, :-2]), index)]
    if not here:
        raise ValueError(
            f"Nothing is drawn in frame {number}; press Draw a region and drag a rectangle over the cells."
        )
    points = np.concatenate(here)
    low, high = np.floor(points.min(axis=0) + 0.5), np.ceil(points.max(axis=0) + 0.5)
    region = _clipped(low, high, image)
    if any(side.start >= side.stop for side in region):
        raise ValueError("What is drawn lies beside the image; drag a rectangle over the cells.")
    return region


def _corners(layer: Any, shape: Any, image: Any) -> NDArray[Any]:
    """Return the corners of a shape, (n, axes), in pixels of the image without its channels."""
    world = np.array([layer.data_to_world(point) for point in np.asarray(shape, float)])
    axis = channel_axis(image)
    if axis is None:
        return np.array([image.world_to_data(point) for point in world])
    world = np.insert(world, axis, 0, axis=1)
    return np.delete([image.world_to_data(point) for point in world], axis, axis=1)


def circle_layer(viewer: Any) -> Any | None:
    """Return the layer with the circle that shows the diameter of the cells, or None."""
    ours = [layer for layer in viewer.layers if metadata(layer).get("role") == "diameter"]
    return ours[-1] if ours else None


def draw_circle(viewer: Any, image: Any, diameter: float) -> Any:
    """Show a circle of a diameter in pixels over an image, in a layer that is made where there is none.

    It stays where it is, and is drawn in the middle of what is visible at first; dragging a corner
    changes it.
    """
    layer, index = circle_layer(viewer), current_index(viewer, image)
    if layer is None:
        rows, columns = _visible_region(viewer, image)
        centre = np.array([rows.start + rows.stop, columns.start + columns.stop]) / 2
        layer = viewer.add_shapes(
            ndim=spatial_ndim(image),
            name="diameter of the cells",
            face_color="transparent",
            edge_color="#ffd84d",
            edge_width=_EDGE,
            metadata={METADATA_KEY: {"role": "diameter"}},
            **placement(image),
        )
    else:
        centre = np.asarray(layer.data[0])[:, -2:].mean(axis=0) if len(layer.data) else np.zeros(2)
    half = diameter / 2 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    corners = np.column_stack([np.tile(index, (4, 1)), centre + half]) if index else centre + half
    layer.data = [(corners, "ellipse")]
    layer.mode = "select"
    layer.selected_data = {0}
    return layer


def circle_diameter(layer: Any) -> float | None:
    """Return the diameter of the circle in pixels, the mean of both axes of an ellipse; None without it."""
    if not len(layer.data):
        return None
    return float(np.ptp(np.asarray(layer.data[0])[:, -2:], axis=0).mean())


@dataclass(frozen=True)
class ModelReady:
    """The model is open; its frames follow.  `key` identifies it, with the options it was opened with."""

    key: tuple[Any, ...]
    model: Model


class ModelCache:
    """The model that was opened last, so that the next frame does not open it again."""

    def __init__(self) -> None:
        self._ready: ModelReady | None = None

    def open(self, path: Path, options: dict[str, Any]) -> ModelReady:
        """Open a model in the worker thread, one that has changed again, and leave a core to the window."""
        load_torch()
        from napari_jnet.device import use_threads
        from napari_jnet.model import load_model

        use_threads(window_threads())
        file = model_file(path)
        changed = file.stat().st_mtime_ns if file.exists() else 0
        key = (str(file), changed, *options.values())
        if self._ready is None or key != self._ready.key:
            self._ready = None  # two would take twice the memory
            self._ready = ModelReady(key, load_model(path, **options))
        return self._ready


def predicting(
    open_model: Callable[[], ModelReady],
    stack: Stack,
    request: PredictionRequest,
    instances: InstanceConfig,
    diameter: float | None = None,
) -> JobMaker:
    """Return the job that opens a model and predicts frames of a stack, or a region of them.

    `ModelReady` comes with the first frame that can be predicted; it is for cells of the ``diameter`` in
    pixels, or of one that is estimated, where the model is for any size.  What ``instances`` does not give
    is as the model has it.
    """

    def job() -> Generator[Any, None, None]:
        ready = open_model()
        from napari_jnet.inference.predict import at_diameter, predict

        prediction = ready.model.config.prediction
        wanted = prediction.diameter if diameter is None else diameter
        if wanted is not None:
            model, found = at_diameter(ready.model, stack, wanted)
            ready = ModelReady((*ready.key, model.config.network.diameter), model)
            if found:
                yield Message(found)
        done, announced = 0, False
        events = predict(
            ready.model,
            stack,
            frames=request.numbers,
            instances=ready.model.config.instances.changed(**instances.given()),
            prediction=prediction.changed(diameter=None),
            region=request.region,
            on_error="skip",
        )
        for event in events:
            if isinstance(event, FramePrediction) and not announced:
                yield ready
                announced = True
            yield event
            if not isinstance(event, Message):
                done += 1
                yield Progress(done, event.count, f"frame {done} of {event.count}")

    return job


def exporting(results: Prediction, folder: Path) -> Generator[Progress | Message, None, None]:
    """Write the predicted frames of some results to a folder."""
    positions = sorted(results.done)
    numbers = [results.done[position] for position in positions]
    with ResultWriter(folder, results.stack, numbers) as writer:
        for written, position in enumerate(positions, start=1):
            writer.write(results.prediction(position))
            yield Progress(written, len(positions), f"written {written} of {len(positions)}")
    if writer.message:
        yield Message(writer.message)


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
        config = config.changed(
            relative=results.outputs.relative
        )  # sliders may be of another model
        shown = results.shown()
        position = shown if shown in self._positions else min(self._positions)
        self._positions.remove(position)

        def separated() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
            from napari_jnet.inference.confidence import cell_confidence
            from napari_jnet.inference.instances import separate

            maps, dt_bound = results.maps(position), results.dt_bound
            cells = separate(*maps, config, dt_bound)
            return cells, cell_confidence(*maps, cells, dt_bound, relative=config.relative)

        def write(made: tuple[NDArray[np.int32], NDArray[np.float32]]) -> None:
            if position not in results.edited:  # painted on meanwhile
                cells, confidence = made
                results.write_cells(position, cells, config.segmentation_threshold, confidence)
            self._next()

        def failed(error: Exception) -> None:
            self._on_error(error)
            self._next()

        self._tasks.submit(separated, write, failed)


def stacks_in(folder: Path, output: Path | None = None) -> tuple[list[Stack], list[str]]:
    """Open the stacks of a folder, by headers only, and say why others cannot be opened.

    They are the sequences of a dataset, the one stack whose frames lie there, or every stack that does.
    Results, as in `output`, are not stacks.
    """
    if not folder.exists():
        raise FileNotFoundError(f"{folder} does not exist; choose the folder of the stacks.")
    inside = [
        path
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if not path.name.startswith(".")
        and any(known.matches(path) for known in FORMATS.values())
        and not (output is not None and path.resolve() == output.resolve())
        and not (path.is_file() and is_result(path))
    ]
    stacks, problems = ([], []) if _first_has_pages(inside) else _opened([folder])
    if not stacks and inside:
        stacks, problems = _opened(inside)
    if not stacks:
        raise ValueError(
            f"{folder} holds no stack that can be opened; choose a folder with TIFF stacks or with "
            f"folders of images. {' '.join(problems[:1])}"
        )
    return stacks, problems


def _first_has_pages(paths: Sequence[Path]) -> bool:
    """Whether the first TIFF file that is not damaged has several pages: a stack, not a frame of one."""
    for path in paths:
        if path.suffix.lower() in TIFF_SUFFIXES:
            with suppress(OSError, ValueError), tifffile.TiffFile(path) as file:
                return len(file.pages) > 1
    return False


def _opened(paths: Sequence[Path]) -> tuple[list[Stack], list[str]]:
    found, problems = [], []
    for path in paths:
        for sequence in sequences(path) or (None,):
            try:
                found.append(open_stack(path, sequence=sequence))
            except (ValueError, OSError) as error:
                problems.append(f"{path.name} is skipped: {error}")
    return found, problems


def predicting_folder(
    open_model: Callable[[], ModelReady],
    folder: Path,
    output: Path,
    instances: InstanceConfig,
    diameter: float | None = None,
) -> JobMaker:
    """Return the job that predicts every stack of a folder into a folder of its own in ``output``.

    A damaged frame or stack is skipped with a message.  The job returns how many stacks there were, and
    how many of them were skipped.
    """

    def job() -> Generator[Any, None, tuple[int, int]]:
        if folder.resolve() == output.resolve():
            raise ValueError(
                f"Results would be written among the stacks in {folder}; choose another folder."
            )
        stacks, problems = stacks_in(folder, output)
        for text in (*problems, *(note for stack in stacks for note in stack.notes)):
            yield Message(text)
        yield (ready := open_model())
        from napari_jnet.inference.predict import predict_to_folder

        prediction = ready.model.config.prediction
        chosen = ready.model.config.instances.changed(**instances.given())
        if diameter is not None:
            prediction = prediction.changed(diameter=diameter)
        count, done, skipped = sum(len(stack) for stack in stacks), 0, len(problems)
        for name, stack in _named(stacks).items():
            left: list[FrameSkipped] = []
            try:
                events = predict_to_folder(
                    ready.model, stack, output / name, instances=chosen, prediction=prediction
                )
                with closing(events):
                    for event in events:
                        if isinstance(event, FrameSkipped):
                            left.append(event)
                        elif isinstance(event, Message):
                            yield Message(f"{stack.name}: {event.text}")
                        else:
                            yield event
                            at = done + event.position + 1
                            yield Progress(at, count, f"{stack.name}: frame {at} of {count}")
            except OutputError:
                raise  # the disk is full or the folder gone: no use in going on
            except (ValueError, OSError) as error:
                yield Message(f"{stack.name} is skipped: {error}")
                skipped += 1
            else:
                for text in summarize_skipped(left):
                    yield Message(f"{stack.name}: {text}")
            done += len(stack)
        return len(stacks) + len(problems), skipped

    return job


def _named(stacks: Sequence[Stack]) -> dict[str, Stack]:
    """Return a name of its own for every stack: that of its file, and its sequence."""
    named: dict[str, Stack] = {}
    for stack in stacks:
        path = stack.path or Path(stack.name)
        name = f"{path.stem if path.is_file() else path.name} {stack.sequence}".strip()
        named[path.name if name in named else name] = stack
    return named
