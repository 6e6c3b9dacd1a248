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


def _shear(count: int, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    matrix = torch.eye(2).repeat(count, 1, 1)
    if config.shear:
        matrix[:, 1, 0] = _uniform(count, -config.shear, config.shear, generator)
    return matrix


def _elastic(
    count: int, size: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Random displacements at knots one sigma apart, joined by cubic interpolation."""
    if config.elastic_alpha == 0:
        return None
    knots = max(4, round(size / config.elastic_sigma) + 1)
    coarse = torch.rand(count, 2, knots, knots, generator=generator) * 2 - 1
    coarse *= config.elastic_alpha * torch.rand(count, 1, 1, 1, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


def _smooth(
    count: int, size: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Noise from -1 to 1 smoothed by a Gaussian, times alpha (Simard, Steinkraus, Platt, 2003).

    The Gaussian is applied to the spectrum, as if the patch went on at its opposite edge: the field is as
    strong at the edges as in the middle, and its cost does not depend on sigma.
    """
    if max(config.smooth_alpha) == 0:
        return None
    alpha = _uniform(count, *config.smooth_alpha, generator)[:, None, None, None]
    sigma = _uniform(count, *config.smooth_sigma, generator)[:, None, None, None]
    noise = torch.rand(count, 2, size, size, generator=generator) * 2 - 1
    squared = torch.fft.fftfreq(size)[:, None] ** 2 + torch.fft.rfftfreq(size) ** 2
    spectrum = torch.fft.rfft2(noise) * torch.exp(-2 * (math.pi * sigma) ** 2 * squared)
    smoothed: Tensor = torch.fft.irfft2(spectrum, s=(size, size))
    return alpha * smoothed


def _spline(
    count: int, size: int, config: AugmentationConfig, generator: torch.Generator
) -> Tensor | None:
    """Random displacements at 3 x 3 knots, joined by cubic interpolation, as in U-Net's paper."""
    if config.spline_sigma == 0:
        return None
    coarse = config.spline_sigma * torch.randn(count, 2, 3, 3, generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=True)


LINEAR: dict[str, Callable[[int, AugmentationConfig, torch.Generator], Tensor]] = {
    "flip": _flip,
    "rotation": _rotation,
    "scale": _scale,
    "shear": _shear,
}
FIELDS: dict[str, Callable[[int, int, AugmentationConfig, torch.Generator], Tensor | None]] = {
    "elastic": _elastic,
    "smooth": _smooth,
    "spline": _spline,
}
"""Each gives None where it is off, and then draws nothing from the generator."""


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
    fields = [draw(count, size, config, generator) for draw in FIELDS.values()]
    drawn = [field for field in fields if field is not None]
    return torch.stack(drawn).sum(dim=0) if drawn else None
