"""Prediction: whole frames or tiles with a halo, one frame of a stack after the other."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, NamedTuple

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

__all__ = ["Maps", "answer", "output_maps", "predict", "predict_image", "predict_maps"]

TILED_FROM = 2048 * 2048
"""Frames with more pixels than this are predicted in tiles unless told otherwise."""
DEFAULT_TILE = 1024


class Maps(NamedTuple):
    """What the network says of one image or volume, at its full size."""

    segmentation: NDArray[np.float32]  # probability of cell
    distance: NDArray[np.float32]  # pixels; zeros without a distance head
    classes: NDArray[np.uint8] | None  # most probable class; None for cell and background


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
        maps, empty = _predict_planes(model, frame, stack, number, tile)
        if empty:
            yield Notice(
                f"{stack.name}, frame {number}: {empty} plane(s) have one value in every pixel; "
                "they have nothing to segment and stay empty."
            )
        yield FramePrediction(
            position=stack.frame_numbers.index(number),
            number=number,
            count=len(numbers),
            segmentation=maps.segmentation,
            distance=maps.distance,
            instances=separate(maps.segmentation, maps.distance, settings, model.dt_bound),
            classes=maps.classes,
        )


def _predict_planes(
    model: Model, frame: NDArray[Any], stack: Stack, number: int, tile: int | None
) -> tuple[Maps, int]:
    """Predict the one plane of a frame, or each of a volume; also how many were constant."""
    name = f"{stack.name}, frame {number}"
    volume = "Z" in stack.axes[1:]
    planes = frame if volume else frame[None]
    made, empty = [], 0
    for plane in planes:
        if is_constant(frame_tensor(plane, name, model.frame_channels)):
            empty += 1
            made.append(_nothing(plane.shape[:2], model))
        else:
            made.append(predict_maps(model, plane, tile=tile, name=name))
    if not volume:
        return made[0], empty
    classes = [maps.classes for maps in made if maps.classes is not None]
    together = Maps(
        np.stack([maps.segmentation for maps in made]),
        np.stack([maps.distance for maps in made]),
        np.stack(classes) if classes else None,
    )
    return together, empty


def _nothing(shape: tuple[int, ...], model: Model) -> Maps:
    zeros = np.zeros(shape, np.float32)
    classes = None if model.config.network.classes == 1 else zeros.astype(np.uint8)
    return Maps(zeros, zeros.copy(), classes)


def predict_image(
    model: Model, image: NDArray[Any], *, tile: int | None = None, name: str = "The image"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Segment one image; `predict_maps` without the classes.

    Returns
    -------
    segmentation, distance
        Each (H, W) float32, as in `Maps`.
    """
    maps = predict_maps(model, image, tile=tile, name=name)
    return maps.segmentation, maps.distance


def predict_maps(
    model: Model, image: NDArray[Any], *, tile: int | None = None, name: str = "The image"
) -> Maps:
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
    Maps
        Each (H, W).

    Raises
    ------
    ValueError
        If the image does not fit the network, is too small for its levels, or is not finite.

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
    size = (frame.shape[-2], frame.shape[-1])
    return output_maps(expand(output, network.top_level, size), model)


def _at(part: slice, power: int) -> slice:
    return slice(part.start // 2**power, part.stop // 2**power)


def answer(network: torch.nn.Module, levels: list[Tensor]) -> Tensor:
    """Run the network without gradients; float32, (N, outputs, h, w)."""
    with torch.inference_mode():
        levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
        output: Tensor = network(levels)
        return output.float()


def output_maps(output: Tensor, model: Model) -> Maps:
    """Turn the network's answer (1, outputs, H, W) into maps of (H, W)."""
    classes = model.config.network.classes
    logits = output[0, :classes]
    if classes == 1:
        cell, most_probable = logits[0].sigmoid(), None
    else:
        cell = 1 - logits.softmax(dim=0)[0]
        most_probable = logits.argmax(dim=0).to(torch.uint8).numpy()
    if output.shape[1] == classes:
        return Maps(cell.numpy(), np.zeros(cell.shape, np.float32), most_probable)
    distance = output[0, classes].clamp(min=0, max=None if model.original else model.dt_bound)
    return Maps(cell.numpy(), distance.numpy(), most_probable)


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
