"""Prediction of one frame: whole, in exact tiles, in averaged windows, and test-time augmentation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.config import PredictionConfig
from napari_jnet.hardware import is_memory_full
from napari_jnet.model import Model
from napari_jnet.preprocess import LargeFrame, expand, pool, standardized_pyramid

Region = tuple[slice, slice]  # rows and columns, in pixels of the full frame
Cut = Callable[[Region], list[Tensor]]  # the standardised levels of a region of a frame
TILED_FROM = 1536 * 1536  # regions with more pixels are predicted in tiles by default
DEFAULT_TILE = 1024
SMALLEST_TILE = 64  # that a full memory leads to


class Maps(NamedTuple):
    """Prediction of one image or volume, at its full size."""

    segmentation: NDArray[np.float32]  # probability of cell
    distance: NDArray[np.float32]  # pixels; zeros without a distance head
    classes: NDArray[np.uint8] | None  # most probable class; None for cell and background


def at_level(region: Region, level: int) -> Region:
    """Return where a region of the full frame lies at a resolution level."""
    factor = 2**-level
    rows, columns = (slice(side.start // factor, side.stop // factor) for side in region)
    return rows, columns


def shape_of(region: Region) -> tuple[int, int]:
    """Return the height and width of a region."""
    return region[0].stop - region[0].start, region[1].stop - region[1].start


def within(region: Region, outer: Region) -> Region:
    """Return a region relative to one that contains it."""
    rows, columns = (
        slice(side.start - begin.start, side.stop - begin.start)
        for side, begin in zip(region, outer, strict=True)
    )
    return rows, columns


def clipped(region: Region, area: Region) -> Region:
    """Return the intersection of a region and an area; it may be empty."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(region, area, strict=True)
    )
    return rows, columns


def checked_region(region: Region | None, size: Sequence[int]) -> Region:
    """Return a region with explicit limits, for None the whole frame; raises `ValueError` without a pixel."""
    region = region or (slice(None), slice(None))
    sides = [slice(*side.indices(length)) for side, length in zip(region, size, strict=True)]
    if any(side.step != 1 or side.stop <= side.start for side in sides):
        raise ValueError(
            f"The region is rows {region[0]}, columns {region[1]}; the frame has {size[0]} rows and "
            f"{size[1]} columns. Choose a region with pixels of the frame."
        )
    rows, columns = (slice(side.start, side.stop) for side in sides)
    return rows, columns


def around(region: Region, size: Sequence[int], stride: int) -> Region:
    """Return a region extended to the stride and by one stride more, from which its maps are made."""
    rows, columns = (
        slice(
            max((side.start // stride - 1) * stride, 0),
            min((-(-side.stop // stride) + 1) * stride, length),
        )
        for side, length in zip(region, size, strict=True)
    )
    return rows, columns


def tiles(
    size: Sequence[int], tile: int, stride: int, halo: int, area: Region
) -> Iterator[tuple[Region, Region]]:
    """Yield pairs (inner region, region to read) that cover an area from `around` of a frame.

    Begins lie on the stride.
    """
    longest = max(shape_of(area))
    step = longest if not tile or tile >= longest else max(tile // stride, 1) * stride
    begins = (range(side.start, side.stop, step) for side in area)
    for top, left in product(*begins):
        inner = (
            slice(top, min(top + step, area[0].stop)),
            slice(left, min(left + step, area[1].stop)),
        )
        rows, columns = (
            slice(max(part.start - halo, 0), min(part.stop + halo, side))
            for part, side in zip(inner, size, strict=True)
        )
        yield inner, (rows, columns)


def windows(size: Sequence[int], tile: int, overlap: float, stride: int) -> Iterator[Region]:
    """Yield windows of one size that cover a frame, each begin on the stride.

    Neighbours share the fraction `overlap` of a window; the last ones may share more, and reach up to a
    stride further, to the edge.
    """

    def spans(side: int) -> list[slice]:
        if tile >= side:
            return [slice(0, side)]
        step = max(int(tile * (1 - overlap)) // stride, 1) * stride
        last = (side - tile) // stride * stride
        starts = [*range(0, last, step), last]
        return [slice(start, side if start == last else start + tile) for start in starts]

    yield from product(spans(size[0]), spans(size[1]))


def output_maps(output: Tensor, model: Model) -> Maps:
    """Turn the output of the network (1, outputs, H, W) into maps of (H, W)."""
    return split_maps(probabilities(output, model)[0], model)


def probabilities(output: Tensor, model: Model) -> Tensor:
    """Turn logits into probabilities, and truncate the distance; (N, outputs, H, W)."""
    classes = model.config.network.classes
    logits = output[:, :classes]
    parts = [logits.sigmoid() if classes == 1 else logits.softmax(dim=1)]
    if output.shape[1] > classes:
        most = None if model.original else model.dt_bound
        parts.append(output[:, classes:].clamp(min=0, max=most))
    return torch.cat(parts, dim=1)


def split_maps(outputs: Tensor, model: Model) -> Maps:
    """Return the maps in `probabilities` of one frame, (outputs, H, W), with the most probable class."""
    classes = model.config.network.classes
    cell = outputs[0] if classes == 1 else 1 - outputs[0]
    most_probable = outputs[:classes].argmax(dim=0).to(torch.uint8).numpy() if classes > 2 else None
    distance = outputs[classes] if len(outputs) > classes else torch.zeros_like(cell)
    return Maps(cell.numpy(), distance.numpy(), most_probable)


def predict_region(
    model: Model, cut: Cut, size: tuple[int, int], settings: PredictionConfig, region: Region
) -> Tensor:
    """Return probabilities and distance of a region of a frame of this size: (1, outputs, h, w)."""
    area = around(region, size, model.network.stride)
    output = _assemble(model, cut, size, settings.tile, settings.overlap, area)
    full = expand(output, model.network.top_level, shape_of(area))
    if not settings.overlap:
        full = probabilities(full, model)
    return full[(..., *within(region, area))]


def frame_logits(model: Model, frame: Tensor) -> Tensor:
    """Return logits and distance of a frame (1, C, H, W) at the top level, on the CPU, in tiles if large."""
    size = (frame.shape[-2], frame.shape[-1])
    cut, tile = cut_whole(model, frame), model.config.prediction.tile
    return _assemble(model, cut, size, tile, 0.0, checked_region(None, size))


def cut_whole(model: Model, frame: Tensor) -> Cut:
    """Return what cuts regions out of the levels of a frame (1, C, H, W), which are made at once."""
    levels, how = model.network.levels, model.config.network.standardization
    pyramid = standardized_pyramid(frame, levels, standardization=how)
    pairs = list(zip(pyramid, levels, strict=True))
    return lambda region: [whole[(..., *at_level(region, level))] for whole, level in pairs]


def cut_large(model: Model, frame: LargeFrame, transform: Transform) -> Cut:
    """Return what makes the levels of regions of a transformed large frame, each when it is asked for."""
    # pixels that pooling drops at the end, transformed, are at the begin of the frame
    height, width = frame.size

    def cut(region: Region) -> list[Tensor]:
        part = transform.apply(frame.read(transform.inverse_region(region, frame.size)))
        made = []
        for level in model.network.levels:
            top = height % 2**-level if -2 in transform.mirrored else 0
            left = width % 2**-level if -1 in transform.mirrored else 0
            mean, deviation = frame.statistics(level, top, left)
            made.append((pool(part, level) - mean) / (3 * deviation))
        return made

    return cut


def _assemble(
    model: Model,
    cut: Cut,
    size: tuple[int, int],
    tile: int | None,
    overlap: float,
    area: Region,
) -> Tensor:
    """Return an area of a frame at the top level, on the CPU, from parts that are predicted one by one.

    Without overlap these are logits and distance of tiles that fit together exactly, else probabilities
    and distance, averaged over windows.  Tiles that do not fit into the memory are halved, for this model
    from now on.
    """
    if overlap:  # smaller windows would have other maps
        return _assemble_parts(model, cut, size, tile or DEFAULT_TILE, overlap, area)
    longest = max(shape_of(area))
    if tile is None:
        tile = DEFAULT_TILE if math.prod(shape_of(area)) > TILED_FROM else 0
    while True:
        side = min(tile or longest, longest, model.largest_tile or longest)
        try:
            return _assemble_parts(model, cut, size, side, 0.0, area)
        except (MemoryError, RuntimeError) as error:
            if side < 2 * SMALLEST_TILE or not is_memory_full(error):
                raise
        # Another frame may have halved it meanwhile.
        model.largest_tile = min(side // 2, model.largest_tile or side)
        torch.cuda.empty_cache()  # outside of the handler, as the error holds what was computed


def _assemble_parts(
    model: Model, cut: Cut, size: tuple[int, int], tile: int, overlap: float, area: Region
) -> Tensor:
    network, top = model.network, model.network.top_level
    parts: Iterator[tuple[Region, Region]]  # output to keep, input
    if overlap:
        seen = windows(size, tile, overlap, network.stride)
        parts = ((clipped(window, area), window) for window in seen)
    else:
        parts = tiles(size, tile, network.stride, network.halo, area)
    run = model.run or partial(run_network, network)
    begin = at_level(area, top)
    total = torch.zeros((1, network.outputs, *shape_of(begin)))
    count = total.new_zeros(total.shape[-2:]) if overlap else None
    for inner, outer in parts:
        if min(shape_of(inner)) <= 0:
            continue
        output = run([level.to(model.device) for level in cut(outer)]).cpu()
        kept, read = at_level(inner, top), at_level(outer, top)
        output, target = output[(..., *within(kept, read))], within(kept, begin)
        if count is None:
            total[(..., *target)] = output
        else:
            total[(..., *target)] += probabilities(output, model)
            count[target] += 1
    return total if count is None else total.div_(count)


def run_network(network: torch.nn.Module, levels: list[Tensor]) -> Tensor:
    """Run the network without gradients; float32, (N, outputs, h, w)."""
    with torch.inference_mode():
        levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
        output: Tensor = network(levels)
        return output.float()


class Transform(NamedTuple):
    """Mirror rows, columns or both, and perhaps transpose; works on (N, C, H, W)."""

    mirrored: tuple[int, ...]  # axes
    transposed: bool

    def apply(self, images: Tensor) -> Tensor:
        """Return the transformed images."""
        images = images.flip(self.mirrored) if self.mirrored else images
        return images.transpose(-2, -1) if self.transposed else images

    def region(self, region: Region, size: tuple[int, int]) -> Region:
        """Return where a region of an image of (height, width) lies after `apply`."""
        sides = [
            slice(side - cut.stop, side - cut.start) if axis in self.mirrored else cut
            for axis, cut, side in zip((-2, -1), region, size, strict=True)
        ]
        return (sides[1], sides[0]) if self.transposed else (sides[0], sides[1])

    def inverse_region(self, region: Region, size: tuple[int, int]) -> Region:
        """Return where a region after `apply` lies in the image before, of (height, width)."""
        before = (region[1], region[0]) if self.transposed else region
        return Transform(self.mirrored, transposed=False).region(before, size)

    def invert(self, maps: Tensor) -> Tensor:
        """Return maps of transformed images as maps of the images before `apply`."""
        maps = maps.transpose(-2, -1) if self.transposed else maps
        return maps.flip(self.mirrored) if self.mirrored else maps


# For test-time augmentation.  The first is the identity, the first four keep the frame's shape, all
# eight add the quarter turns.
TRANSFORMS: tuple[Transform, ...] = tuple(
    Transform(mirrored, transposed)
    for transposed in (False, True)
    for mirrored in ((), (-1,), (-2,), (-2, -1))
)
