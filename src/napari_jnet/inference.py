"""Prediction: whole frames or tiles with a halo, one frame of a stack after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.checkpoint import Model
from napari_jnet.config import InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction, Notice
from napari_jnet.instances import separate
from napari_jnet.normalization import frame_tensor, is_constant, standardized_pyramid
from napari_jnet.pyramid import expand

__all__ = ["answer", "output_maps", "predict", "predict_image"]

TILED_FROM = 2048 * 2048
"""Frames with more pixels than this are predicted in tiles unless told otherwise."""
DEFAULT_TILE = 1024


def predict(
    model: Model,
    stack: Stack,
    *,
    frames: Sequence[int] | None = None,
    instances: InstanceConfig | None = None,
    tile: int | None = None,
) -> Generator[FramePrediction | Notice, None, None]:
    """Segment a stack, one frame at a time.

    Parameters
    ----------
    model
        From `load_model`.
    stack
        What to segment; volumes are segmented plane by plane and separated as a whole.
    frames
        Frame numbers; None takes all.
    instances
        How to separate objects; None takes what the model was trained with.
    tile
        Side of the tiles in pixels; None decides by the size of the frame, 0 takes whole frames.

    Yields
    ------
    FramePrediction
        For each frame, in order.
    Notice
        For a frame that is constant: it has nothing to segment and comes back empty.

    Raises
    ------
    ValueError
        If a frame does not fit the network, or is damaged.
    """
    numbers = tuple(stack.frame_numbers if frames is None else frames)
    settings = instances or model.config.instances
    for number in numbers:
        frame = stack.frame(number)
        segmentation, distance, empty = _predict_planes(model, frame, stack, number, tile)
        if empty:
            yield Notice(
                f"{stack.name}, frame {number}: {empty} plane(s) have one value in every pixel; "
                "they have nothing to segment and stay empty."
            )
        yield FramePrediction(
            position=stack.frame_numbers.index(number),
            number=number,
            count=len(numbers),
            segmentation=segmentation,
            distance=distance,
            instances=separate(segmentation, distance, settings, model.dt_bound),
        )


def _predict_planes(
    model: Model, frame: NDArray, stack: Stack, number: int, tile: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Predict the one plane of a frame, or each of a volume; also how many were constant."""
    name = f"{stack.name}, frame {number}"
    volume = "Z" in stack.axes[1:]
    planes = frame if volume else frame[None]
    maps, empty = [], 0
    for plane in planes:
        if is_constant(frame_tensor(plane, name, model.frame_channels)):
            empty += 1
            maps.append(np.zeros((2, *plane.shape[:2]), np.float32))
        else:
            maps.append(np.stack(predict_image(model, plane, tile=tile, name=name)))
    both = np.stack(maps, axis=1)
    segmentation, distance = both if volume else both[:, 0]
    return segmentation, distance, empty


def predict_image(
    model: Model, image: NDArray, *, tile: int | None = None, name: str = "The image"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Segment one image.

    Parameters
    ----------
    model
        From `load_model`.
    image
        (H, W) or (H, W, C), any real type, any size that has pixels at every level.
    tile
        Side of the tiles in pixels; None decides by the size, 0 takes the whole image.
    name
        For the error messages.

    Returns
    -------
    segmentation
        (H, W) float32, probability of cell.
    distance
        (H, W) float32, distance to the nearest boundary in pixels; zeros without a distance head.

    Notes
    -----
    Statistics are those of the whole image, tiles begin on the network's stride and are read with a
    halo that covers its receptive field: tiled equals untiled.
    """
    frame = frame_tensor(image, name, model.frame_channels)[None]
    if tile is None:
        tile = DEFAULT_TILE if frame.shape[-2] * frame.shape[-1] > TILED_FROM else 0
    network = model.network
    levels = standardized_pyramid(frame, network.levels)
    top = levels[-1]
    unit = 2**-network.top_level
    output = top.new_zeros((1, network.outputs, *top.shape[-2:]))
    for inner, outer in _tiles(frame.shape[-2:], tile, network.stride, network.halo):
        parts = [
            level[..., _at(outer[0], -k), _at(outer[1], -k)]
            for level, k in zip(levels, network.levels, strict=True)
        ]
        result = answer(network, [part.to(model.device) for part in parts]).cpu()
        rows, columns = (slice(s.start // unit, s.stop // unit) for s in inner)
        offset = tuple(o.start // unit for o in outer)
        output[..., rows, columns] = result[
            ...,
            rows.start - offset[0] : rows.stop - offset[0],
            columns.start - offset[1] : columns.stop - offset[1],
        ]
    return output_maps(expand(output, network.top_level, tuple(frame.shape[-2:])), model)


def _at(part: slice, power: int) -> slice:
    return slice(part.start // 2**power, part.stop // 2**power)


def answer(network: torch.nn.Module, levels: list[Tensor]) -> Tensor:
    """Run the network without gradients; float32, (N, outputs, h, w)."""
    with torch.inference_mode():
        levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
        output: Tensor = network(levels)
        return output.float()


def output_maps(
    output: Tensor, model: Model
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn the network's answer (1, outputs, H, W) into segmentation and distance, each (H, W)."""
    classes = model.config.network.classes
    logits = output[0, :classes]
    cell = logits[0].sigmoid() if classes == 1 else 1 - logits.softmax(dim=0)[0]
    if output.shape[1] == classes:
        return cell.numpy(), np.zeros(cell.shape, np.float32)
    distance = output[0, classes].clamp(min=0, max=None if model.original else model.dt_bound)
    return cell.numpy(), distance.numpy()


def _tiles(
    size: Sequence[int], tile: int, stride: int, halo: int
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Pairs of (inner part, part to read) that cover a frame; begins lie on the stride."""
    if not tile or tile >= max(size):
        whole = (slice(0, size[0]), slice(0, size[1]))
        yield whole, whole
        return
    step = max(tile // stride, 1) * stride
    for top in range(0, size[0], step):
        for left in range(0, size[1], step):
            inner = tuple(
                slice(start, min(start + step, side))
                for start, side in zip((top, left), size, strict=True)
            )
            outer = tuple(
                slice(max(part.start - halo, 0), min(part.stop + halo, side))
                for part, side in zip(inner, size, strict=True)
            )
            yield (inner[0], inner[1]), (outer[0], outer[1])
