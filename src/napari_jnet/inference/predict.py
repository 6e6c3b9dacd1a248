"""Prediction of stacks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig, PredictionConfig
from napari_jnet.device import use_own_threads
from napari_jnet.events import FramePrediction, FrameSkipped, Message
from napari_jnet.files import release_pages, scratch_array
from napari_jnet.hardware import available_bytes, format_bytes, release_freed_memory
from napari_jnet.inference.backend import available_backends, choose_backend, use_backend
from napari_jnet.inference.confidence import cell_confidence
from napari_jnet.inference.image import (
    average_transforms,
    estimate_diameter,
    predict_maps,
    settings_of,
)
from napari_jnet.inference.instances import separate, separate_blocks
from napari_jnet.inference.tiling import (
    Cut,
    Maps,
    Region,
    Transform,
    checked_region,
    cut_large,
    shape_of,
    within,
)
from napari_jnet.io.results import ResultWriter
from napari_jnet.io.stack import Stack, check_frame
from napari_jnet.model import Model
from napari_jnet.preprocess import (
    LargeFrame,
    fit_channels,
    frame_tensor,
    is_constant,
    rescaled_size,
)

# Measured: bytes of memory for each pixel and channel of a frame, from the file to the network, and
# for each pixel that is separated into objects.
_IMAGE_BYTES = 40
_OBJECT_BYTES = 40
_FEW = 8  # frames of which one is not predicted twice to measure
_AT_ONCE = 1 << 30  # bytes from which on a frame is predicted and separated block by block
_TOGETHER = 3 << 28  # that frames on their way may take
_BLOCK_BYTES = 3 << 27  # of a block with its halo
_BLOCK_TILE = 768  # pixels a side of a block that the network sees, whose activations take the most
_HALO = 256  # pixels around a block that are separated with it
_AHEAD = 2  # frames that are read or separated beside those in the network, if there is memory
_NETWORK_PIXELS = 1 << 20  # that go through the network at once, if these are several frames


def predict(
    model: Model,
    stack: Stack,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    tile: int | None = None,
    prediction: PredictionConfig | None = None,
    region: Region | None = None,
    on_error: Literal["raise", "skip", "report"] = "raise",
    total: int | None = None,
) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
    """Segment a stack, and yield one frame at a time.

    Parameters
    ----------
    model
        From `load_model`.
    stack
        To segment; volumes are segmented plane by plane and separated as a whole.
    frames
        Frame numbers; None takes all.
    instances
        How to separate objects; None takes the settings of the model.  A minimum size that is that of the
        model follows the diameter.
    tile
        Side of the tiles in pixels, 0 for whole frames; None takes that of ``prediction``.
    prediction
        Tiles, overlap, test-time augmentation and diameter; None takes the settings of the model.
    region
        Rows and columns, slices in pixels; None takes whole frames.
    on_error
        "skip" continues with the other frames where one of several cannot be read or does not fit;
        "report" does so too where it is the only one, or none can be predicted.
    total
        Frames of the whole prediction, where ``frames`` are a part of it, so that sums are rounded as there;
        None where they are all.

    Yields
    ------
    FramePrediction
        For each frame, in order.
    FrameSkipped
        In the place of a frame that is skipped.
    Message
        For a constant frame: it is not predicted, and its maps are empty.  For a large frame where blocks
        differ beside their seams.  For a diameter that is estimated.

    Raises
    ------
    ValueError, OSError
        If a frame does not fit the network, or is damaged, or has no pixel in the region; if there is
        not enough memory for a frame of this size, before the first one is read; or if the network
        gives maps that are not finite.  With "skip", if no frame can be predicted.

    Notes
    -----
    The maps of a region equal those of the whole frame there; only the tiles that it needs are computed.
    Cells are separated within the region, so one on its edge is truncated.
    On a CPU as many frames run through the network at the same time as have 1024 x 1024 pixels together, each
    with its part of the threads.
    A frame that would take more than 1 GB goes block by block: its maps are the same but for the
    rounding of sums, its cells those of `separate_blocks`, and its arrays memory-mapped temporary files.
    """
    numbers = tuple(stack.frame_numbers if frames is None else frames)
    for number in numbers:
        check_frame(number, stack.frame_numbers, stack.name)
    settings = settings_of(model, prediction, tile)
    model, separation, found = _for_diameter(model, stack, settings.diameter, instances)
    if found:
        yield Message(found)
    side, at_once, ahead = _fit_memory(model, stack, settings, region, total or len(numbers))
    if chosen := _set_backend(model, stack, numbers, settings, separation, region, side, at_once):
        yield Message(chosen)
    work = _whole_frame(model, stack, settings, separation, region, side, at_once)
    threads = torch.get_num_threads() // at_once
    done, first, largest = 0, None, model.largest_tile
    positions = {number: position for position, number in enumerate(stack.frame_numbers)}
    for number, result in _in_threads(numbers, work, ahead, threads):
        position = positions[number]
        try:
            maps, empty, cells, seam_pixels, confidence = result()
        except (ValueError, OSError) as error:
            if on_error == "raise" or (on_error == "skip" and len(numbers) == 1):
                raise
            first = first or error
            yield FrameSkipped(position, number, len(numbers), str(error))
            continue
        if model.largest_tile != largest:
            largest = model.largest_tile
            yield Message(
                f"The memory does not hold larger tiles: {stack.name} is predicted in tiles of {largest} x "
                f"{largest} pixels from now on, with the same maps."
            )
        if empty:
            yield Message(
                f"{stack.name}, frame {number}: {empty} plane(s) have one value in every pixel; "
                "they are not segmented and stay empty."
            )
        if seam_pixels:
            yield seam_message(stack, number, seam_pixels)
        done += 1
        yield FramePrediction(
            position=position,
            number=number,
            count=len(numbers),
            segmentation=maps.segmentation,
            distance=maps.distance,
            instances=cells,
            classes=maps.classes,
            class_names=model.config.targets.classes,
            region=None if region is None else checked_region(region, _size(stack)),
            seam_pixels=seam_pixels,
            confidence=confidence,
        )
    if on_error == "skip" and first is not None and not done:
        raise ValueError(
            f"None of the {len(numbers)} frames of {stack.name} could be predicted. The first: {first}"
        ) from first


def seam_message(stack: Stack, number: int, pixels: int) -> Message:
    """Say that blocks of a frame saw other objects beside their seams."""
    return Message(
        f"{stack.name}, frame {number}: the frame was separated in blocks, which differ in {pixels} pixel(s) "
        f"beside their seams. An object there that is larger than {_HALO} pixels may be cut; look at it."
    )


def predict_to_folder(
    model: Model,
    stack: Stack,
    folder: Path,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    prediction: PredictionConfig | None = None,
) -> Generator[FramePrediction | FrameSkipped | Message, None, None]:
    """Predict as `predict` does, skipping bad frames; each is in the `ResultWriter` when its event comes."""
    with ResultWriter(folder, stack, frames) as writer:
        for event in predict(
            model, stack, frames=frames, instances=instances, prediction=prediction, on_error="skip"
        ):
            if isinstance(event, FramePrediction):
                writer.write(event)
            yield event
    if writer.message:
        yield Message(writer.message)


def _read(model: Model, stack: Stack, number: int) -> NDArray[Any]:
    """Read a frame with the channels that the network takes."""
    return fit_channels(stack.frame(number), model.config.network.gray and "C" in stack.axes)


def _for_diameter(
    model: Model, stack: Stack, diameter: float | None, instances: InstanceConfig | None
) -> tuple[Model, InstanceConfig, str]:
    """Return a model for cells of a diameter, how it separates them, and what was estimated, for the user."""
    own, found = model.config.instances, ""
    separation = instances or own
    if diameter is not None:
        model, found = at_diameter(model, stack, diameter)
        if separation.min_size == own.min_size:
            separation = separation.changed(min_size=model.config.instances.min_size)
    return model, separation.changed(relative=bool(model.config.targets.relative)), found


def _set_backend(
    model: Model,
    stack: Stack,
    numbers: Sequence[int],
    settings: PredictionConfig,
    separation: InstanceConfig,
    region: Region | None,
    side: int,
    at_once: int,
) -> str:
    """Take the back end that is asked for, or choose one by the first frame; return what to say of it.

    ``at_once`` copies of it are predicted at the same time, as frames will be.  None is chosen for blocks,
    for few frames, or for a model that has been measured before.
    """

    def one() -> tuple[Maps, NDArray[np.int32]]:
        maps, _ = _predict_planes(model, stack, numbers[0], frame, settings, region)
        return maps, separate(maps.segmentation, maps.distance, separation, model.dt_bound)

    def together() -> tuple[Maps, NDArray[np.int32]]:
        threads = torch.get_num_threads() // at_once
        with ThreadPoolExecutor(at_once, "napari-jnet", use_own_threads, (threads,)) as pool:
            first, *_ = [pool.submit(one) for _ in range(at_once)]
            return first.result()

    chosen = ""
    if settings.backend != "auto":
        use_backend(model, settings.backend)
    elif not (side or model.measured or len(numbers) < _FEW) and available_backends(model):
        # An error of the first frame is reported when it is predicted again.
        with suppress(ValueError, OSError):
            frame = _read(model, stack, numbers[0])
            chosen = choose_backend(model, together, len(numbers) / at_once)
    if model.run is None:
        use_backend(model, "torch")
    return chosen


def _whole_frame(
    model: Model,
    stack: Stack,
    settings: PredictionConfig,
    separation: InstanceConfig,
    region: Region | None,
    side: int,
    at_once: int,
) -> Callable[[int], Any]:
    """Return what makes of a frame number what `predict` yields; several threads may run it.

    One of them reads, so many run the network, and any number separates.
    """
    reading, running = Lock(), BoundedSemaphore(at_once)

    def whole_frame(number: int) -> Any:
        with reading:
            frame = _read(model, stack, number)
        with running:
            maps, empty = _predict_planes(model, stack, number, frame, settings, region, side)
        del frame  # a large one takes the memory that separating needs
        facts = (maps.segmentation, maps.distance)
        if side:
            cells = scratch_array(maps.segmentation.shape, np.int32)
            seam_pixels = separate_blocks(
                *facts, separation, model.dt_bound, cells, side=side, halo=_HALO
            )
        else:
            cells, seam_pixels = separate(*facts, separation, model.dt_bound), 0
        sure = cell_confidence(*facts, cells, model.dt_bound, relative=separation.relative)
        return maps, empty, cells, seam_pixels, sure

    return whole_frame


def _in_threads(
    numbers: Iterable[int], work: Callable[[int], Any], ahead: int, threads: int
) -> Iterator[tuple[int, Callable[[], Any]]]:
    """Do the work of each number in a thread of a pool, where torch has so many threads of its own.

    Yields, in order, the number and a function that waits for the result, or raises its error.  So many
    numbers more are on their way while the caller has one.
    """
    pool = ThreadPoolExecutor(ahead + 1, "napari-jnet frame", use_own_threads, (threads,))
    pending: deque[tuple[int, Future[Any]]] = deque()
    try:
        for number in numbers:
            pending.append((number, pool.submit(work, number)))
            if len(pending) > ahead:
                yield pending[0][0], pending.popleft()[1].result
        while pending:
            yield pending[0][0], pending.popleft()[1].result
    finally:
        pool.shutdown(cancel_futures=True)


def _predict_planes(
    model: Model,
    stack: Stack,
    number: int,
    frame: NDArray[Any],
    settings: PredictionConfig,
    region: Region | None,
    side: int = 0,
) -> tuple[Maps, int]:
    """Predict the plane or planes of a frame, in blocks of this side; also return how many were constant."""
    name = f"{stack.name}, frame {number}"
    volume = "Z" in stack.axes[1:]
    if side:
        return _predict_blocks(model, frame, volume, settings, name, region, side)
    made, empty = [], 0
    for plane in frame if volume else frame[None]:
        if is_constant(frame_tensor(plane, name, model.frame_channels, standardization="plain")):
            empty += 1
            zeros = np.zeros(shape_of(checked_region(region, plane.shape[:2])), np.float32)
            classes = zeros.astype(np.uint8) if model.config.network.classes > 2 else None
            made.append(Maps(zeros, zeros.copy(), classes))
        else:
            same = settings.changed(diameter=None)  # which the model has
            made.append(predict_maps(model, plane, prediction=same, name=name, region=region))
    if not volume:
        return made[0], empty
    together = [[part for part in parts if part is not None] for parts in zip(*made, strict=True)]
    return Maps(*(np.stack(parts) if parts else None for parts in together)), empty  # type: ignore[arg-type]


def _predict_blocks(
    model: Model,
    frame: NDArray[Any],
    volume: bool,
    settings: PredictionConfig,
    name: str,
    region: Region | None,
    side: int,
) -> tuple[Maps, int]:
    """Predict as `_predict_planes`, block by block, into memory-mapped files."""
    planes = frame if volume else frame[None]
    rows, columns = checked_region(region, planes.shape[1:3])
    shape = (len(planes), *shape_of((rows, columns)))
    several = model.config.network.classes > 2
    maps = Maps(
        scratch_array(shape, np.float32),
        scratch_array(shape, np.float32),
        scratch_array(shape, np.uint8) if several else None,
    )
    # Windows that overlap are larger than that, and run again for each block that they reach into.
    seen = side if settings.overlap else min(side, math.ceil(_BLOCK_TILE / model.scale))
    step = -(-seen // model.network.stride) * model.network.stride
    empty = 0
    for number, plane in enumerate(planes):
        how = (model.frame_channels, model.network.levels, model.config.network.standardization)
        large = LargeFrame(plane, name, *how, model.scale)
        if large.is_constant:
            empty += 1
            continue

        def cut(transform: Transform, large: LargeFrame = large) -> Cut:
            return cut_large(model, large, transform)

        for top, left in product(*(range(axis.start, axis.stop, step) for axis in (rows, columns))):
            block = (
                slice(top, min(top + step, rows.stop)),
                slice(left, min(left + step, columns.stop)),
            )
            made = average_transforms(
                model, cut, large.size, settings, block, plane.shape[:2], name
            )
            target = (number, *within(block, (rows, columns)))
            for whole, part in zip(maps, made, strict=True):
                if whole is not None and part is not None:
                    whole[target] = part
                    release_pages(whole)
            release_freed_memory()
    return (maps if volume else Maps(*(None if m is None else m[0] for m in maps))), empty  # type: ignore[arg-type]


def _fit_memory(
    model: Model, stack: Stack, settings: PredictionConfig, region: Region | None, frames: int
) -> tuple[int, int, int]:
    """Return the side of blocks, 0 for whole frames, how many frames run at once, and how many come next.

    Raises `ValueError` if a frame as stored and a block need more than the free memory.
    """
    height, width = _size(stack)
    rows, columns = shape_of(checked_region(region, (height, width)))
    planes = stack.shape[stack.axes.index("Z") - 1] if "Z" in stack.axes[1:] else 1
    enlarged = math.ceil(max(model.scale, 1) ** 2)
    of_image = (_IMAGE_BYTES + stack.dtype.itemsize) * model.frame_channels * enlarged
    of_maps = _OBJECT_BYTES + 4 * model.network.outputs * (2 + min(settings.tta, 2))
    needed = height * width * of_image + rows * columns * planes * of_maps
    free = available_bytes()
    if needed <= min(free, _AT_ONCE):
        fitting = min(_TOGETHER, free // 2) // needed
        seen = math.prod(rescaled_size((rows, columns), model.scale)) * 4**model.network.top_level
        most = torch.get_num_threads() if model.device.type == "cpu" else 1
        each = -(-most // max(min(most, frames, fitting, int(_NETWORK_PIXELS / seen)), 1))
        at_once = most // each  # without threads that are left over
        return 0, at_once, max(min(at_once - 1 + _AHEAD, fitting - 1), 0)
    stored = math.prod(stack.shape) * stack.dtype.itemsize
    of_block = min(_BLOCK_BYTES, (free - stored) // 2)
    side = int(math.sqrt(max(of_block, 0) / (of_image + of_maps * planes))) - 2 * _HALO
    if side < _HALO:
        side = int(math.sqrt(free / (of_image + of_maps * planes))) // 64 * 64
        raise ValueError(
            f"{stack.name}: segmenting {planes} x {rows} x {columns} pixels at once takes about "
            f"{format_bytes(needed)} of memory, {format_bytes(free)} are free. About {side} x {side} pixels "
            "a plane would fit: predict a region of that size, crop the frames or scale them down, or free "
            "some memory."
        )
    return side // _HALO * _HALO, 1, 0


def _size(stack: Stack) -> tuple[int, int]:
    rows = stack.axes.index("Y") - 1
    return stack.shape[rows], stack.shape[rows + 1]


def at_diameter(model: Model, stack: Stack, diameter: float) -> tuple[Model, str]:
    """Return a model for cells of a diameter in pixels, and what was estimated for 0, for the user.

    The estimate is from the first, the middle and the last frame, whatever frames are predicted.  Raises
    `ValueError` as `Model.at_diameter`.
    """
    if diameter:
        return model.at_diameter(diameter), ""
    count = len(stack.frame_numbers)
    places = sorted({0, count // 2, count - 1} if count > 2 else {*range(count)})
    images = []
    for place in places:
        try:
            image = _read(model, stack, stack.frame_numbers[place])
        except (OSError, ValueError):
            continue  # it is predicted later, and its error is reported then
        image = image[len(image) // 2] if "Z" in stack.axes[1:] else image
        if np.isfinite(image).all():  # so is that of one with NaN
            images.append(image)
    found = estimate_diameter(model, images)
    if found is None:
        return model, (
            f"No cell was found in {stack.name} at any size, so frames are not rescaled. If there are "
            "cells, give their diameter."
        )
    return model.at_diameter(found), f"Diameter of the cells, estimated: {found:g} px."
