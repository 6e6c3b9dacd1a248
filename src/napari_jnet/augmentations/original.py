"""The original J-Net's augmentations, one after the other, in its order.

Image, segmentation and distance are warped together: the distance is that of the frame before the warp.
Elsewhere in this package labels are warped and the distance is computed after it; this is for parity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.config.original import OriginalAugmentation

__all__ = ["ORIGINAL", "SYMMETRIES", "Planes", "augment_original", "choose_entries", "crop"]

SYMMETRIES = (
    (0, False),
    (1, False),
    (2, False),
    (3, False),
    (0, True),
    (2, True),
    (1, True),
    (3, True),
)
"""Quarter turns, and whether rows are mirrored first; the original knows the first six."""


@dataclass(frozen=True, eq=False)
class Planes:
    """Images and maps of a batch that are warped together.

    Attributes
    ----------
    values
        (N, channels + maps, H, W) float32; the first map is the segmentation.
    channels
        How many of the first are the image.
    """

    values: Tensor
    channels: int


def augment_original(
    planes: Planes, flags: OriginalAugmentation, generator: torch.Generator
) -> Planes:
    """Change a batch by every augmentation that is on, after `crop`.

    Parameters
    ----------
    planes
        Images with their own intensities, not standardised.
    flags
        Which, and how much.
    generator
        On the CPU, so that every device draws the same.
    """
    for change in ORIGINAL.values():
        planes = change(planes, flags, generator)
    return planes


def choose_entries(
    entries: Sequence[Sequence[float]], count: int, generator: torch.Generator
) -> list[Sequence[float] | None]:
    """Draw an entry for each of ``count`` by the weights; None for no change."""
    if not entries:
        return [None] * count
    weights = torch.tensor([float(entry[-1]) for entry in entries])
    drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    return [None if entries[n][0] == -1 else entries[n] for n in drawn.tolist()]


def crop(values: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Cut a random part of ``(C, H, W)``; an image smaller than ``size`` stays as it is there."""
    corner = []
    for side, wanted in zip(values.shape[-2:], size, strict=True):
        corner.append(int(torch.randint(max(side - wanted, 0) + 1, (), generator=generator)))
    top, left = corner
    return values[..., top : top + size[0], left : left + size[1]]


def _sample(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Take ``(N, C, H, W)`` bilinearly at pixel positions (N, H, W), mirrored at the borders."""
    height, width = values.shape[-2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(values, grid, padding_mode="reflection", align_corners=False)


def _positions(values: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of every pixel, each (1, H, W)."""
    sides = [
        torch.arange(side, device=values.device, dtype=values.dtype) for side in values.shape[-2:]
    ]
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    return rows[None], columns[None]


def _rotation(planes: Planes, flags: OriginalAugmentation, generator: torch.Generator) -> Planes:
    """Roll around the borders, then rotate about the centre."""
    if not flags.aug_rotation:
        return planes
    values = planes.values
    count, _, height, width = values.shape
    if flags.aug_rolling:
        shifts = (torch.rand(count, 2, generator=generator) * torch.tensor([height, width])).long()
        values = torch.stack(
            [
                image.roll(shift, (-2, -1))
                for image, shift in zip(values, shifts.tolist(), strict=True)
            ]
        )
    angle = (torch.rand(count, 1, 1, generator=generator) * 2 * math.pi).to(values.device)
    rows, columns = _positions(values)
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    turned_rows = angle.cos() * down - angle.sin() * right + (height - 1) / 2
    turned_columns = angle.sin() * down + angle.cos() * right + (width - 1) / 2
    return Planes(_sample(values, turned_rows, turned_columns), planes.channels)


def _intensity(planes: Planes, flags: OriginalAugmentation, generator: torch.Generator) -> Planes:
    """Change the intensity i of the foreground to i + m*i + s*(mean of the foreground)."""
    values, channels = planes.values, planes.channels
    chosen = choose_entries(flags.aug_intensity_params, len(values), generator)
    if not any(chosen):
        return planes
    limits = torch.tensor([[0.0, 0.0] if entry is None else [*entry[:2]] for entry in chosen])
    signed = torch.rand(len(values), 2, generator=generator) * 2 - 1
    gain, offset = (limits * signed).to(values.device)[:, :, None, None, None].unbind(1)
    image, foreground = values[:, :channels], values[:, channels : channels + 1] > 0.5
    pixels = foreground.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = (image * foreground).sum(dim=(2, 3), keepdim=True) / pixels
    changed = image + foreground * (gain * image + offset * mean)
    return Planes(torch.cat([changed, values[:, channels:]], dim=1), channels)


def _elastic(planes: Planes, flags: OriginalAugmentation, generator: torch.Generator) -> Planes:
    """Displace every pixel by smoothed noise."""
    values = planes.values
    chosen = choose_entries(flags.aug_elastic_params, len(values), generator)
    if not any(chosen):
        return planes
    shift = torch.zeros(len(values), 2, *values.shape[-2:], device=values.device)
    for index, entry in enumerate(chosen):
        if entry is not None and entry[0] > 0:
            noise = torch.rand(2, 1, *values.shape[-2:], generator=generator) * 2 - 1
            shift[index] = entry[0] * _smooth(noise.to(values.device), entry[1])[:, 0]
    rows, columns = _positions(values)
    return Planes(_sample(values, rows + shift[:, 0], columns + shift[:, 1]), planes.channels)


def _smooth(noise: Tensor, sigma: float) -> Tensor:
    """Smooth ``(N, 1, H, W)`` with a Gaussian, cut at four sigma, mirrored at the borders."""
    for dim in (-2, -1):
        radius = min(math.ceil(4 * sigma), noise.shape[dim] - 1)
        steps = torch.arange(-radius, radius + 1, dtype=noise.dtype, device=noise.device)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        kernel = (kernel / kernel.sum()).view((1, 1, -1, 1) if dim == -2 else (1, 1, 1, -1))
        border = (0, 0, radius, radius) if dim == -2 else (radius, radius, 0, 0)
        noise = F.conv2d(F.pad(noise, border, mode="reflect"), kernel)
    return noise


def _symmetry(planes: Planes, flags: OriginalAugmentation, generator: torch.Generator) -> Planes:
    """Mirror and turn by quarters; images that are not square keep their shape."""
    if not flags.aug_rotation_flip:
        return planes
    values = planes.values
    known = SYMMETRIES[: flags.aug_symmetries]
    if values.shape[-2] != values.shape[-1]:
        known = tuple(symmetry for symmetry in known if symmetry[0] % 2 == 0)
    drawn = torch.randint(len(known), (len(values),), generator=generator).tolist()
    changed = []
    for image, number in zip(values, drawn, strict=True):
        turns, mirrored = known[number]
        changed.append(torch.rot90(image.flip(-2) if mirrored else image, turns, (-2, -1)))
    return Planes(torch.stack(changed), planes.channels)


ORIGINAL: dict[str, Callable[[Planes, OriginalAugmentation, torch.Generator], Planes]] = {
    "rotation": _rotation,
    "intensity": _intensity,
    "elastic": _elastic,
    "rotation_flip": _symmetry,
}
"""In the order of the original; its crop comes before, since it decides the size of the batch."""
