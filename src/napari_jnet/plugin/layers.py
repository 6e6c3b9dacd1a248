"""From the viewer's layers to what the engine reads: stacks and annotated frames.

Taken from the layers in the window's thread, cheaply; pixels are read frame by frame in the worker.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.frames import frame_name, plane_name, section_of
from napari_jnet.data.stack import UNKNOWN, AnnotatedFrame, LabelKind, Stack, known_labels
from napari_jnet.plugin.legend import class_legend
from napari_jnet.plugin.session import METADATA_KEY, unwrap

__all__ = [
    "PaintedPlanes",
    "TrainingInput",
    "current_index",
    "describe_kind",
    "image_stack",
    "kind_of",
    "pixel_size",
    "plane",
    "stroke_positions",
    "training_input",
    "world_matrix",
]

_COPY_LIMIT = 2**30  # bytes of painted labels that are copied at once


def _metadata(layer: Any) -> dict[str, Any]:
    return layer.metadata.get(METADATA_KEY, {})


def pixels(layer: Any) -> Any:
    """Return the array of a layer, the finest level of a pyramid."""
    data = unwrap(layer.data)
    return unwrap(data[0]) if getattr(layer, "multiscale", False) else data


def _is_rgb(layer: Any) -> bool:
    return bool(getattr(layer, "rgb", False))


def _axes(layer: Any, ndim: int) -> str:
    """Name the axes without colour: "YX", "TYX", "ZYX" or "TZYX"."""
    if ndim == 3:
        first = str(layer.axis_labels[0]).strip().lower()
        return "ZYX" if first.startswith("z") else "TYX"
    return {2: "YX", 4: "TZYX"}[ndim]


def image_stack(layer: Any) -> Stack:
    """See an image layer as a stack; a plane is a stack of one frame.

    Raises
    ------
    ValueError
        If the layer has more axes than time, depth, rows, columns and colours.
    """
    data, rgb = pixels(layer), _is_rgb(layer)
    ndim = data.ndim - rgb
    if ndim not in (2, 3, 4):
        raise ValueError(
            f"The image {layer.name!r} has shape {data.shape}; an image has rows and columns, and "
            "at most time and depth before them. Split its channels into layers (right click)."
        )
    if 0 in data.shape:
        raise ValueError(f"The image {layer.name!r} has shape {data.shape}: it has no pixels.")
    axes = _axes(layer, ndim)
    single = ndim == 2
    count = 1 if single else int(data.shape[0])
    told = _metadata(layer)
    numbers = tuple(int(n) for n in told.get("frame_numbers") or ())
    if len(numbers) != count:
        numbers = tuple(range(count))
    positions = {number: position for position, number in enumerate(numbers)}

    def read(number: int) -> NDArray[Any]:
        return np.asarray(data if single else data[positions[number]])

    leading = ("T" + axes) if single else axes
    return Stack(
        name=layer.name,
        format=told.get("format", "array"),
        path=Path(told["path"]) if told.get("path") else None,
        axes=leading + ("C" if rgb else ""),
        frame_numbers=numbers,
        shape=tuple(data.shape if single else data.shape[1:]),
        dtype=np.dtype(data.dtype),
        read=read,
        scale=((1.0,) if single else ()) + pixel_size(layer),
        units=(("pixel",) if single else ()) + tuple(str(u) for u in layer.units),
        digits=int(told.get("digits") or 3),
        sequence=told.get("sequence") or "",
    )


def pixel_size(layer: Any, unit: Any = None) -> tuple[float, ...]:
    """Return how far it is from one index to the next along each axis of a layer, in the world.

    Parameters
    ----------
    layer
        Its scale and whatever else turns or stretches it are counted; a flip is no negative size.
    unit
        Which unit the sizes are in, where an axis has one that can be changed into it; None takes
        that of each axis.
    """
    points = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)])
    origin, *ends = (np.asarray(layer.data_to_world(point), float) for point in points)
    sizes = [float(f"{np.linalg.norm(end - origin):.12g}") or 1.0 for end in ends]
    if unit is None:
        return tuple(sizes)
    factors = (_factor(own, unit) for own in layer.units)
    return tuple(size * factor for size, factor in zip(sizes, factors, strict=True))


def world_matrix(layer: Any, axes: int) -> NDArray[np.float64]:
    """Return how the last axes of a layer lie in the world, in the unit of the last one.

    Returns
    -------
    ndarray of float64
        (axes, axes + 1): times the indices, and a 1 after them, it gives the place.
    """
    points = np.vstack([np.eye(layer.ndim)[layer.ndim - axes :], np.zeros(layer.ndim)])
    *ends, origin = (np.asarray(layer.data_to_world(p), float)[-axes:] for p in points)
    matrix = np.stack([*(end - origin for end in ends), origin], axis=1)
    factors = [_factor(unit, layer.units[-1]) for unit in layer.units[-axes:]]
    return np.asarray(matrix * np.array(factors)[:, np.newaxis])


def _factor(unit: Any, other: Any) -> float:
    try:
        return float((1 * unit).to(other).magnitude)
    except (AttributeError, ValueError, TypeError):  # pixels have no size
        return 1.0


def current_index(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the leading indices (time, depth) of the plane of this layer that the viewer shows."""
    ndim = layer.ndim
    if ndim == 2:
        return ()
    at = np.asarray(layer.world_to_data(viewer.dims.point[-ndim:]))[: ndim - 2]
    shape = pixels(layer).shape
    return tuple(int(np.clip(round(float(a)), 0, n - 1)) for a, n in zip(at, shape, strict=False))


def plane(layer: Any) -> Any:
    """Return a function that reads one plane of the layer by its leading indices, in any thread."""
    data = pixels(layer)
    return lambda index: np.asarray(data[index] if index else data)


def stroke_positions(atoms: Iterable[Any], frames: int) -> set[int]:
    """Return the frames that a stroke fell on.

    Parameters
    ----------
    atoms
        What napari's ``events.paint`` of a labels layer tells: (indices or slices, ...) each.
    frames
        Of the layer; 1 for a single plane.
    """
    if frames == 1:
        return {0}
    found: set[int] = set()
    for atom in atoms:
        first = atom[0][0]
        if isinstance(first, slice):
            found.update(range(frames)[first])
            continue
        rows = np.asarray(first)
        if rows.size:
            low, high = int(rows.min()), int(rows.max())
            found.update([low] if low == high else np.unique(rows).tolist())
    return found


def kind_of(layer: Any) -> LabelKind | None:
    """Return the kind that the reader knows of this labels layer, or None."""
    kind = _metadata(layer).get("kind")
    return LabelKind(kind) if kind else None


def describe_kind(kind: LabelKind) -> str:
    """Say in one line what counts as what."""
    return {
        LabelKind.INSTANCES: "1, 2, 3 … = one cell each; 0 = background. "
        "Frames without any label are not used.",
        LabelKind.CLASSES: "1, 2 … = a class each; 0 = background. "
        "Frames without any label are not used.",
        LabelKind.SCRIBBLES: "1 = background, 2, 3 … = classes; 0 = not painted, so unknown.",
    }[kind]


@dataclass(frozen=True, eq=False)
class PaintedPlanes:
    """The labels of a layer as they were: what is painted is copied, and the rest is not read.

    Attributes
    ----------
    source
        The array of the layer; read where a frame is neither copied nor empty.
    copied
        Position -> labels of the frame.
    empty
        Positions where nothing is painted.
    """

    source: Any
    copied: Mapping[int, NDArray[Any]]
    empty: frozenset[int] = frozenset()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer."""
        return tuple(self.source.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels."""
        return np.dtype(self.source.dtype)

    @property
    def ndim(self) -> int:
        """Axes of the layer."""
        return len(self.shape)

    def __getitem__(self, index: tuple[int, ...]) -> NDArray[Any]:
        """Return a plane by its leading indices."""
        position, inner = (index[0], index[1:]) if index else (0, ())
        if position in self.empty:
            return np.zeros(self.shape[-2:], self.dtype)
        frame = self.copied.get(position)
        if frame is None:
            return np.asarray(self.source[index])
        return frame[inner]


@dataclass(frozen=True, eq=False)
class TrainingInput:
    """An image layer and a labels layer, as they were when training was asked for."""

    stack: Stack  # the image; names its frames
    image: Any  # (..., H, W) or (..., H, W, C)
    labels: Any  # (..., H, W)
    kind: LabelKind
    partial: Collection[int]  # frame numbers; looked at in the worker: it may read files
    legend: tuple[tuple[str, str], ...] = ()  # name and colour of each class, where known
    roles: Mapping[int, str] = field(default_factory=dict)  # by frame number; unused are left out
    empty: Collection[int] = ()  # frame numbers that are annotated without any object

    @property
    def name(self) -> str:
        """What the frames are called by: the sequence, or the stack."""
        return self.stack.sequence or self.stack.name

    @property
    def frame_numbers(self) -> tuple[int, ...]:
        """The frame numbers, by position."""
        return self.stack.frame_numbers

    def frames(self) -> list[AnnotatedFrame]:
        """Read the annotated planes; called in the worker thread.

        Raises
        ------
        ValueError
            If nothing is annotated, or labels are negative.
        """
        found = list(self._annotated())
        if not found:
            raise ValueError(
                f"The labels of {self.name!r} are empty; paint at least one cell in one frame."
            )
        return found

    def _annotated(self) -> Iterator[AnnotatedFrame]:
        kind = LabelKind.CLASSES if self.kind is LabelKind.SCRIBBLES else self.kind
        for index in np.ndindex(tuple(self.labels.shape[:-2])):
            number = self.frame_numbers[index[0] if index else 0]
            role = self.roles.get(number, "")
            if role == "unused":
                continue
            labels = np.asarray(self.labels[index])
            if not (labels.any() or number in self.empty) or not (labels != UNKNOWN).any():
                continue
            partial = bool(index) and number in self.partial
            try:
                known = known_labels(labels, self.kind, partial=partial)
            except ValueError as error:
                raise ValueError(f"{self._plane_name(index)}: {error}") from error
            image = np.asarray(self.image[index])
            name = self._plane_name(index)
            number = self.frame_numbers[index[0] if index else 0]
            section = section_of(self.stack, number, *index[1:2])
            yield AnnotatedFrame(name, image, known, kind, role, self.legend, "", *section)

    def _plane_name(self, index: tuple[int, ...]) -> str:
        """Name a plane as `annotated_frames` does: a run may go on from the command line."""
        name = frame_name(self.stack, self.frame_numbers[index[0] if index else 0])
        return name if len(index) < 2 else plane_name(name, index[1], self.labels.shape[1])


def training_input(
    image: Any,
    labels: Any,
    kind: LabelKind,
    *,
    painted: Any | None = None,
    roles: Mapping[int, str] | None = None,
    name: str | None = None,
) -> TrainingInput:
    """Take an image layer and a labels layer for training; painted pixels are copied.

    Parameters
    ----------
    image, labels
        The layers.
    kind
        What the labels mean.
    painted
        The pixels of the labels where they are copied already, such as `PaintedPlanes`.
    roles
        Frame number -> "training", "validation" or "unused".
    name
        What the frames are called by, where it is not the layer: that of the project.

    Raises
    ------
    ValueError
        If the sizes differ, or the labels are not integers.
    """
    stack = image_stack(image)
    picture, painted = pixels(image), pixels(labels) if painted is None else painted
    size = picture.shape[:-1] if _is_rgb(image) else picture.shape
    if tuple(painted.shape) != tuple(size):
        raise ValueError(
            f"The image {image.name!r} has {_size(size)} pixels, the labels {labels.name!r} "
            f"{_size(painted.shape)}; both must cover the same pixels. Choose the labels of this "
            "image, or add a new labels layer with the + button above the layer list."
        )
    if not (np.issubdtype(painted.dtype, np.integer) or painted.dtype == bool):
        raise ValueError(
            f"The labels {labels.name!r} are of type {painted.dtype}; labels are integers. "
            "Right click the layer and convert it to labels."
        )
    if isinstance(painted, np.ndarray) and painted.nbytes <= _COPY_LIMIT:
        if not painted.any():
            raise ValueError(
                f"The labels {labels.name!r} are empty; paint at least one cell in one frame."
            )
        painted = painted.copy()
    return TrainingInput(
        stack=stack if name is None else replace(stack, name=name),
        image=picture,
        labels=painted,
        kind=kind,
        partial=_metadata(labels).get("partial", ()),
        legend=class_legend(labels, kind),
        roles=dict(roles or {}),
        empty=_metadata(labels).get("empty", ()),
    )


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)
