"""Geometric changes: each draws its parameters; together they make one sampling grid.

A linear change is a 2x2 matrix for each patch, a field a displacement for each pixel.  Both map
positions in the patch to positions in the frame, in pixels, (y, x).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.config import AugmentationConfig

__all__ = ["FIELDS", "LINEAR", "draw_field", "draw_matrix"]


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _flip(count: int, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2 - 1
    if not config.flip:
        signs = torch.ones_like(signs)
    return torch.diag_embed(signs.float())


def _rotation(count: int, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    angle = torch.deg2rad(_uniform(count, -config.rotation, config.rotation, generator))
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _scale(count: int, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    low, high = (math.log(value) for value in config.scale)
    factor = torch.exp(_uniform(count, low, high, generator))
    # A patch of objects twice as large covers half of the frame.
    return torch.eye(2) / factor[:, None, None]


def _elastic(
    count: int, size: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Random displacements at knots one sigma apart, joined by cubic interpolation."""
    knots = max(4, round(size / config.elastic_sigma) + 1)
    coarse = torch.rand(count, 2, knots, knots, generator=generator) * 2 - 1
    coarse *= config.elastic_alpha * torch.rand(count, 1, 1, 1, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


LINEAR: dict[str, Callable[[int, AugmentationConfig, torch.Generator], Tensor]] = {
    "flip": _flip,
    "rotation": _rotation,
    "scale": _scale,
}
FIELDS: dict[str, Callable[[int, int, AugmentationConfig, torch.Generator], Tensor]] = {
    "elastic": _elastic,
}


def draw_matrix(count: int, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    """Draw the linear part of the warp: (count, 2, 2), patch offsets (y, x) to frame offsets."""
    matrix = torch.eye(2).expand(count, 2, 2)
    for draw in LINEAR.values():
        matrix = matrix @ draw(count, config, generator)
    return matrix


def draw_field(
    count: int, size: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Draw the displacements of every pixel: (count, 2, size, size), (y, x); None where all are 0."""
    if config.elastic_alpha == 0:
        return None
    fields = [draw(count, size, config, generator) for draw in FIELDS.values()]
    return torch.stack(fields).sum(dim=0)
