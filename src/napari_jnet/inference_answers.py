"""The network's answer for a region of a frame, computed at once, in tiles or in windows."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_jnet.checkpoint import Model
from napari_jnet.config import PredictionConfig
from napari_jnet.inference_maps import probabilities
from napari_jnet.inference_tiles import (
    Part,
    around,
    at_level,
    common,
    sides,
    tiles,
    windows,
    within,
)
from napari_jnet.normalization import standardized_pyramid
from napari_jnet.pyramid import expand

__all__ = ["answer", "frame_answer", "frame_logits"]

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
