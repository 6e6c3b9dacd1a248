"""Settings estimated from the training data: channels, classes, resolution levels, dt_bound, sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_jnet.config import SMALLEST_DIAMETER, Config, NetworkConfig
from napari_jnet.io.stack import AnnotatedFrame, is_plane, mismatch
from napari_jnet.labels import UNKNOWN, LabelKind, numbered_pieces
from napari_jnet.networks import network_class

# Diameter that a typical object has at the top level, within a factor of 1.5: enough to see its
# boundary, and few enough pixels that a training has many steps.  Strokes are shorter than the cells
# that they are drawn in, and a network that learns from few pixels needs all of them.
WORKING_DIAMETER = 30
SPARSE_DIAMETER = 40
SPARSE_TOP = -1  # lowest top level where labels are strokes
# dt_bound as a fraction of the typical diameter; the middle of a cell is 0.5 away from its boundary.
DT_BOUND_OF_DIAMETER = 0.4
# So many times the 20th percentile of the diameters is the 80th where no one truncation distance fits all.
SIZES_DIFFER = 2.0
SMALLEST_OBJECT = 0.5  # minimum size as a fraction of the small (5th percentile) annotated objects


def _sizes(frames: Sequence[AnnotatedFrame]) -> Iterator[NDArray[np.int64]]:
    """Yield the sizes of the objects of each frame in pixels, and of each volume in voxels.

    Objects of a volume are separated as a whole, so their size is that of all planes together; planes
    that are not annotated do not count.
    """
    volumes: dict[str, dict[int, AnnotatedFrame]] = {}
    for frame in frames:
        if frame.kind is LabelKind.INSTANCES and is_plane(frame):
            volumes.setdefault(frame.volume, {})[frame.section] = frame
        else:
            yield np.concatenate([np.zeros(0, np.int64), *map(_counts, _objects(frame))])
    for planes in volumes.values():
        first = min(planes)
        volume = np.zeros((max(planes) + 1 - first, *planes[first].labels.shape), np.int32)
        for section, plane in planes.items():
            volume[section - first] = plane.labels
        yield _counts(numbered_pieces(volume))


def _counts(objects: NDArray[np.signedinteger[Any]]) -> NDArray[np.int64]:
    """Return the pixels of each object."""
    counts = np.bincount(objects.ravel())[1:]
    return counts[counts > 0]


def _objects(frame: AnnotatedFrame) -> Iterator[NDArray[np.signedinteger[Any]]]:
    """Yield numbered objects, integers (H, W): all pieces of a frame, or the parts of a class at a time."""
    if frame.kind is LabelKind.INSTANCES:
        yield numbered_pieces(frame.labels)  # a number that two cells share is two objects
        return
    for label in range(1, int(frame.labels.max(initial=0)) + 1):
        yield ndimage.label(frame.labels == label)[0]


def is_sparse(frame: AnnotatedFrame) -> bool:
    """Whether labels are strokes: classes, and most pixels of the frame are unknown."""
    unknown = np.count_nonzero(frame.labels == UNKNOWN)
    return frame.kind is not LabelKind.INSTANCES and bool(2 * unknown > frame.labels.size)


def typical_diameter(frames: Sequence[AnnotatedFrame]) -> float | None:
    """Return the median diameter of the annotated objects, in pixels; None where there is none.

    It is at least the smallest that a configuration takes, 3.
    All frames with objects have the same weight, divided among their objects.  The diameter of an object
    is that of a disc of the same area, or less where areas of a class are long and thin.  The length of a
    stroke is more informative than its area: a stroke counts with the diagonal of its bounding box.
    Sparse frames only count if all are sparse.
    """
    return _typical(frames, _dense_widths(frames))


def _dense_widths(frames: Sequence[AnnotatedFrame]) -> list[NDArray[np.float64]]:
    return [_widths(frame) for frame in frames if not is_sparse(frame)]


def _typical(
    frames: Sequence[AnnotatedFrame], widths: Sequence[NDArray[np.float64]]
) -> float | None:
    """Return the typical diameter, from the widths of the frames that are not sparse."""
    found = _percentile(widths, 50) or _percentile(
        [_lengths(f) for f in frames if is_sparse(f)], 50
    )
    return None if found is None else max(found, SMALLEST_DIAMETER)


def _differ(widths: Sequence[NDArray[np.float64]]) -> bool:
    """Whether objects, of all frames together, differ so much in size that each needs its own unit."""
    small, large = _percentile(widths, 20), _percentile(widths, 80)
    return small is not None and large is not None and large > SIZES_DIFFER * small


def _widths(frame: AnnotatedFrame) -> NDArray[np.float64]:
    """Return how wide each object is in pixels: the diameter of a disc, 1.5 widths of a line.

    A network of vessels or membranes is one object as large as the frame, but its lines are
    a few pixels wide.  The mean depth of a disc is a sixth of its diameter, that of a line
    a quarter of its width.
    """
    widths = [np.zeros(0)]
    for objects in _objects(frame):
        counts = np.bincount(objects.ravel())[1:]
        discs = np.sqrt(4 * counts / np.pi)
        if frame.kind is not LabelKind.INSTANCES:
            depth = ndimage.distance_transform_edt(objects)
            sums = np.bincount(objects.ravel(), depth.ravel())[1:]
            discs = np.minimum(discs, 6 * sums / np.maximum(counts, 1))
        widths.append(discs[counts > 0])
    return np.concatenate(widths)


def _lengths(frame: AnnotatedFrame) -> NDArray[np.float64]:
    """Return how long each stroke is in pixels: the diagonal of its bounding box."""
    strokes, _ = ndimage.label(frame.labels > 0)
    boxes: list[tuple[slice, ...]] = [*ndimage.find_objects(strokes)]
    return np.array([math.hypot(*(side.stop - side.start for side in box)) for box in boxes])


def _percentile(frames: Sequence[NDArray[np.number[Any]]], percent: float) -> float | None:
    """Return a percentile of the values of all frames, where each frame has the same weight."""
    values = np.concatenate([np.zeros(0), *frames])
    if not values.size:
        return None
    weights = np.concatenate([np.full(len(of), 1 / len(of)) for of in frames if len(of)])
    order = np.argsort(values)
    # the middle of each value on a scale from 0 to 100; of one frame they are evenly spaced
    middles = np.cumsum(weights[order]) - weights[order] / 2
    scale = (middles - middles[0]) / max(middles[-1] - middles[0], 1e-12) * 100
    return float(np.interp(percent, scale, values[order]))


def class_count(config: Config, frames: Sequence[AnnotatedFrame]) -> int:
    """Return the classes that a network needs: those of the configuration, more if the labels have more.

    Labels of 0 and 1, and objects, need no more than one channel.
    """
    classes = config.network.classes
    if frames[0].kind is LabelKind.INSTANCES:
        return classes
    largest = max(int(frame.labels.max(initial=0)) for frame in frames)
    return max(classes, largest + 1) if largest > 1 else classes


def frame_channels(frame: AnnotatedFrame) -> int:
    """Return the number of channels of a frame."""
    return 1 if frame.image.ndim == 2 else frame.image.shape[-1]


def check_fit(network: NetworkConfig, frames: Sequence[AnnotatedFrame], name: str) -> None:
    """Raise `ValueError` for frames that do not fit the trained network of a model; see `mismatch`."""
    for frame in frames:
        largest = int(frame.labels.max(initial=0))
        channels = frame_channels(frame)
        if why := mismatch(network, name, kind=frame.kind, largest=largest, channels=channels):
            raise ValueError(why)


def resolution_levels(
    network: NetworkConfig, frames: Sequence[AnnotatedFrame], top: int
) -> tuple[int, ...]:
    """Return the levels below a top level that suit a network and the size of the frames.

    The median of the frames' shorter sides decides how far down it goes: to 8 pixels.  Smaller
    frames are mirrored while training; frames too small for the top level lower it.
    """
    sides = sorted(min(frame.image.shape[:2]) for frame in frames)
    deepest = int(math.log2(max(sides[len(sides) // 2] * network.scale, 8) / 8))
    top = max(top, -deepest)
    depth = network_class(network.name).depth(network, top + deepest + 1)
    return tuple(range(top - depth + 1, top + 1))


def adapt(config: Config, frames: Sequence[AnnotatedFrame]) -> Config:
    """Fill in the settings that follow from the training frames; values that are given stay.

    These are the channels, the number of classes, the diameter of the objects, resolution levels,
    ``dt_bound``, the unit of distances, and minimum size.
    The top level halves the frame until the typical diameter is near 30 pixels (40, and once at most,
    where labels are strokes); ``dt_bound`` is 0.4 diameters.  Where that is left open and the 80th percentile
    of the diameters is more than twice the 20th, distances are relative to each object.  Strokes
    have no boundary, so a network that is trained on strokes alone predicts no distance, and the minimum
    size is left to the user.
    """
    network, widths = config.network, _dense_widths(frames)
    known = network.diameter or _typical(frames, widths)
    typical = known or 30.0
    small = _percentile([*_sizes([frame for frame in frames if not is_sparse(frame)])], 5)
    sparse = all(is_sparse(frame) for frame in frames)
    changes: dict[str, object] = {
        "network.in_channels": 1 if network.gray else frame_channels(frames[0]),
        "network.classes": class_count(config, frames),
    }
    if not config.network.resolution_levels:
        working = SPARSE_DIAMETER if sparse else WORKING_DIAMETER
        top = -max(0, round(math.log2(typical * network.scale / working)))
        top = max(top, SPARSE_TOP) if sparse else top
        changes["network.resolution_levels"] = resolution_levels(config.network, frames, top)
    if known is not None and network.diameter is None:
        changes["network.diameter"] = round(known, 1)
    if sparse:
        changes["network.distance"] = False
    dt_bound = config.targets.dt_bound or float(max(3, round(DT_BOUND_OF_DIAMETER * typical)))
    changes["targets.dt_bound"] = dt_bound
    relative = config.targets.relative
    if relative is None:
        in_pixels = config.augmentation.original or config.targets.dt_bound or not network.distance
        relative = frames[0].kind is LabelKind.INSTANCES and not in_pixels and _differ(widths)
        changes["targets.relative"] = relative
    if relative:
        changes["instances.relative"] = True
    if config.training.loss != "bce+mse":
        changes["network.distance_scale"] = dt_bound
    if not config.instances.min_size and small is not None and not sparse:
        changes["instances.min_size"] = int(SMALLEST_OBJECT * small)
    return config.replace(changes)
