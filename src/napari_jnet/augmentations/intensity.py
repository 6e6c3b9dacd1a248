"""Changes of brightness, contrast and noise, on standardised patches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from napari_jnet.config import AugmentationConfig

__all__ = ["INTENSITY", "change_intensity"]

_UNIT = 1 / 3
"""One standard deviation of a frame: standardised frames are divided by three of them."""


def _signed(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1


def _contrast(patches: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    gain = 1 + config.contrast * _signed(len(patches), generator)
    return patches * gain.to(patches.device)


def _brightness(patches: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    offset = config.brightness * _UNIT * _signed(len(patches), generator)
    return patches + offset.to(patches.device)


def _noise(patches: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Tensor:
    if config.noise == 0:
        return patches
    strength = config.noise * _UNIT * torch.rand(len(patches), 1, 1, 1, generator=generator)
    noise = torch.randn(patches.shape, generator=generator)
    return patches + (strength * noise).to(patches.device)


INTENSITY: dict[str, Callable[[Tensor, AugmentationConfig, torch.Generator], Tensor]] = {
    "contrast": _contrast,
    "brightness": _brightness,
    "noise": _noise,
}


def change_intensity(
    patches: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> Tensor:
    """Apply every intensity change to (N, C, H, W) standardised patches."""
    for change in INTENSITY.values():
        patches = change(patches, config, generator)
    return patches
