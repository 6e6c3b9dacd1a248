"""One frame through a network: whole, in exact tiles, in averaged windows, and test-time augmentation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_jnet.config import PredictionConfig
from napari_jnet.model import Model
from napari_jnet.preprocess import expand, standardized_pyramid

Part = tuple[slice, slice]


"""Rows and columns, in pixels of the full frame."""


def at_level(part: Part, level: int) -> Part:
    """Return where a part of the full frame lies at a resolution level."""
    factor = 2**-level
    rows, columns = (slice(side.start // factor, side.stop // factor) for side in part)
    return rows, columns


def sides(part: Part) -> tuple[int, int]:
    """Return the height and width of a part."""
    return part[0].stop - part[0].start, part[1].stop - part[1].start


def within(part: Part, outer: Part) -> Part:
    """Return where a part lies within another one that holds it."""
    rows, columns = (
        slice(side.start - begin.start, side.stop - begin.start)
        for side, begin in zip(part, outer, strict=True)
    )
    return rows, columns


def common(one: Part, other: Part) -> Part | None:
    """Return what two parts have in common, None where that is nothing."""
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def checked_region(region: Part, size: Sequence[int]) -> Part:
    """Return a region with plain limits.

    Raises
    ------
    ValueError
        If it holds no pixel of a frame of ``size`` (height, width), or leaves pixels out.
    """
    sides = [slice(*side.indices(length)) for side, length in zip(region, size, strict=True)]
    if any(side.step != 1 or side.stop <= side.start for side in sides):
        raise ValueError(
            f"The region is rows {region[0]}, columns {region[1]}; the frame has {size[0]} rows and "
            f"{size[1]} columns. Choose a region that holds pixels of the frame."
        )
    rows, columns = (slice(side.start, side.stop) for side in sides)
    return rows, columns


def around(region: Part, size: Sequence[int], stride: int) -> Part:
    """Return a region grown outwards to the stride, and by one more: what its maps are made of."""
    rows, columns = (
        slice(
            max((side.start // stride - 1) * stride, 0),
            min((-(-side.stop // stride) + 1) * stride, length),
        )
        for side, length in zip(region, size, strict=True)
    )
    return rows, columns


def tiles(
    size: Sequence[int], tile: int, stride: int, halo: int, area: Part | None = None
) -> Iterator[tuple[Part, Part]]:
    """Pairs of (inner part, part to read) that cover a frame, or an area of it from `around`.

    Begins lie on the stride.
    """
    area = area or (slice(0, size[0]), slice(0, size[1]))
    longest = max(sides(area))
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


def windows(size: Sequence[int], tile: int, overlap: float, stride: int) -> Iterator[Part]:
    """Windows of one size that cover a frame, each begin on the stride.

    Parameters
    ----------
    size
        Height and width of the frame.
    tile
        Side of a window; the last ones reach up to a stride further, to the edge.
    overlap
        Of neighbours, as a part of ``tile``; the last ones may overlap more.
    stride
        Of the network.
    """
    rows, columns = (_spans(side, tile, overlap, stride) for side in size)
    yield from product(rows, columns)


def _spans(side: int, tile: int, overlap: float, stride: int) -> list[slice]:
    if tile >= side:
        return [slice(0, side)]
    step = max(int(tile * (1 - overlap)) // stride, 1) * stride
    last = (side - tile) // stride * stride
    starts = [*range(0, last, step), last]
    return [slice(start, side if start == last else start + tile) for start in starts]


class Maps(NamedTuple):
    """What the network says of one image or volume, at its full size."""

    segmentation: NDArray[np.float32]  # probability of cell
    distance: NDArray[np.float32]  # pixels; zeros without a distance head
    classes: NDArray[np.uint8] | None  # most probable class; None for cell and background


def output_maps(output: Tensor, model: Model) -> Maps:
    """Turn the network's answer (1, outputs, H, W) into maps of (H, W)."""
    return average_maps([probabilities(output, model)], model)


def probabilities(output: Tensor, model: Model) -> Tensor:
    """Turn logits into probabilities, and cut the distance at its bound; (N, outputs, H, W)."""
    classes = model.config.network.classes
    logits = output[:, :classes]
    parts = [logits.sigmoid() if classes == 1 else logits.softmax(dim=1)]
    if output.shape[1] > classes:
        bound = None if model.original else model.dt_bound
        parts.append(output[:, classes:].clamp(min=0, max=bound))
    return torch.cat(parts, dim=1)


def average_maps(answers: Sequence[Tensor], model: Model) -> Maps:
    """Average `probabilities`, each (1, outputs, H, W); then take the most probable class."""
    mean = answers[0][0] if len(answers) == 1 else torch.cat(list(answers)).mean(dim=0)
    classes = model.config.network.classes
    cell = mean[0] if classes == 1 else 1 - mean[0]
    most_probable = mean[:classes].argmax(dim=0).to(torch.uint8).numpy() if classes > 2 else None
    distance = mean[classes] if len(mean) > classes else torch.zeros_like(cell)
    return Maps(cell.numpy(), distance.numpy(), most_probable)


TILED_FROM = 2048 * 2048


"""Regions with more pixels than this are predicted in tiles unless told otherwise."""


DEFAULT_TILE = 1024


def frame_answer(model: Model, frame: Tensor, settings: PredictionConfig, region: Part) -> Tensor:
    """Probabilities and distance of a region of a frame (1, C, H, W): (1, outputs, h, w)."""
    network, size = model.network, (frame.shape[-2], frame.shape[-1])
    how = model.config.network.standardization
    levels = standardized_pyramid(frame, network.levels, standardization=how)
    area = around(region, size, network.stride)
    inside = (area[0].stop - area[0].start, area[1].stop - area[1].start)
    if settings.overlap:
        averaged = _window_answers(model, levels, size, settings, area)
        full = expand(averaged, network.top_level, inside)
    else:
        tile = settings.tile
        if tile is None:
            tile = DEFAULT_TILE if inside[0] * inside[1] > TILED_FROM else 0
        output = _tile_answers(model, levels, size, tile, area)
        full = probabilities(expand(output, network.top_level, inside), model)
    return full[(..., *within(region, area))]


def frame_logits(model: Model, frame: Tensor) -> Tensor:
    """Logits and distance of a frame (1, C, H, W) at the top level, on the CPU, in tiles if large."""
    size = (frame.shape[-2], frame.shape[-1])
    tile = model.config.prediction.tile
    if tile is None:
        tile = DEFAULT_TILE if size[0] * size[1] > TILED_FROM else 0
    how = model.config.network.standardization
    levels = standardized_pyramid(frame, model.network.levels, standardization=how)
    return _tile_answers(model, levels, size, tile, (slice(0, size[0]), slice(0, size[1])))


def _tile_answers(
    model: Model, levels: list[Tensor], size: tuple[int, int], tile: int, area: Part
) -> Tensor:
    """Logits and distance of an area at the top level, from tiles that fit together exactly."""
    network = model.network
    top, begin = network.top_level, at_level(area, network.top_level)
    output = levels[-1].new_zeros((1, network.outputs, *sides(begin)))
    for inner, outer in tiles(size, tile, network.stride, network.halo, area):
        result = _part_answer(model, levels, outer)
        kept, read = at_level(inner, top), at_level(outer, top)
        output[(..., *within(kept, begin))] = result[(..., *within(kept, read))]
    return output


def _window_answers(
    model: Model,
    levels: list[Tensor],
    size: tuple[int, int],
    settings: PredictionConfig,
    area: Part,
) -> Tensor:
    """Probabilities and distance of an area at the top level, averaged over overlapping windows."""
    network, begin = model.network, at_level(area, model.network.top_level)
    total = levels[-1].new_zeros((1, network.outputs, *sides(begin)))
    count = total.new_zeros(total.shape[-2:])
    tile = settings.tile or DEFAULT_TILE
    for window in windows(size, tile, settings.overlap, network.stride):
        read = at_level(window, network.top_level)
        kept = common(read, begin)
        if kept is None:
            continue
        result = _part_answer(model, levels, window)[(..., *within(kept, read))]
        total[(..., *within(kept, begin))] += probabilities(result, model)
        count[within(kept, begin)] += 1
    return total / count


def _part_answer(model: Model, levels: list[Tensor], part: Part) -> Tensor:
    """Logits and distance of a part of a frame, at the top level, on the CPU."""
    cut = [
        level[(..., *at_level(part, k))]
        for level, k in zip(levels, model.network.levels, strict=True)
    ]
    return answer(model.network, [level.to(model.device) for level in cut]).cpu()


def answer(network: torch.nn.Module, levels: list[Tensor]) -> Tensor:
    """Run the network without gradients; float32, (N, outputs, h, w)."""
    with torch.inference_mode():
        levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
        output: Tensor = network(levels)
        return output.float()


class Symmetry(NamedTuple):
    """Mirror rows, columns or both, and perhaps exchange the two; works on (N, C, H, W)."""

    mirrored: tuple[int, ...]  # axes
    transposed: bool

    def apply(self, images: Tensor) -> Tensor:
        """Return the images as this symmetry shows them."""
        images = images.flip(self.mirrored) if self.mirrored else images
        return images.transpose(-2, -1) if self.transposed else images

    def part(self, part: Part, size: tuple[int, int]) -> Part:
        """Return where rows and columns of an image of (height, width) lie after `apply`."""
        sides = [
            slice(side - cut.stop, side - cut.start) if axis in self.mirrored else cut
            for axis, cut, side in zip((-2, -1), part, size, strict=True)
        ]
        return (sides[1], sides[0]) if self.transposed else (sides[0], sides[1])

    def undo(self, maps: Tensor) -> Tensor:
        """Bring maps of the images that `apply` gave back to the images as they were."""
        maps = maps.transpose(-2, -1) if self.transposed else maps
        return maps.flip(self.mirrored) if self.mirrored else maps


SYMMETRIES: tuple[Symmetry, ...] = tuple(
    Symmetry(mirrored, transposed)
    for transposed in (False, True)
    for mirrored in ((), (-1,), (-2,), (-2, -1))
)


"""The first is the frame as it is, the first four keep its shape, all eight add the quarter turns."""
