"""Augmentation: one sampling grid for all geometric changes, then changes of intensity."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from napari_jnet.config import AugmentationConfig, OriginalAugmentation
from napari_jnet.device import send


def sample_grid(
    centres: Tensor, matrix: Tensor, field: Tensor | None, size: int, sizes: Tensor
) -> Tensor:
    """Return the positions in the frame of every pixel of a batch of patches: (N, size, size, 2), (y, x).

    ``centres`` of the patches (N, 2) and displacements ``field`` (N, 2, size, size) are in pixels,
    ``matrix`` (N, 2, 2) leads from offsets in the patch to offsets in the frame; ``sizes`` (N, 2) are those
    of the frames.  Positions beyond the frame are reflected back into it.
    """
    offsets = torch.arange(size, dtype=torch.float32, device=centres.device) - (size - 1) / 2
    patch = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"))  # (2, size, size)
    grid = torch.einsum("nij,jhw->nihw", matrix, patch).add_(centres[:, :, None, None])
    if field is not None:
        grid += field
    period = 2 * sizes[:, :, None, None]
    folded = grid.add_(0.5).remainder_(period)  # mirrored at the outer edges, repeatedly
    return torch.minimum(folded, period - folded).sub_(0.5).permute(0, 2, 3, 1)


def sample_images(frames: Tensor, grid: Tensor) -> Tensor:
    """Sample (N, C, H, W) bilinearly at a grid of pixel positions; float32, (N, C, size, size)."""
    height, width = frames.shape[-2:]
    scale = grid.new_empty(2)
    scale[0], scale[1] = 2 / width, 2 / height  # without a copy that waits for the device
    positions = grid.flip(-1).add_(0.5).mul_(scale).sub_(1)  # x first, -1 to 1
    return F.grid_sample(frames, positions, padding_mode="border", align_corners=False)


def sample_labels(labels: Tensor, grid: Tensor) -> Tensor:
    """Return the values of the nearest pixels of (N, H, W), never interpolated: (N, size, size).

    The grid, (N, size, size, 2), has pixel positions in those labels.
    """
    height, width = labels.shape[-2:]
    rows = grid[..., 0].round().clamp_(0, height - 1).long()
    columns = grid[..., 1].round().clamp_(0, width - 1).long()
    places = rows.mul_(width).add_(columns)
    return labels.flatten(1).gather(1, places.flatten(1)).view(places.shape)


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _flip(count: int, config: AugmentationConfig, generator: Generator) -> Tensor:
    signs = torch.randint(0, 2, (count, 2), generator=generator) * 2 - 1
    return torch.diag_embed((signs if config.flip else torch.ones_like(signs)).float())


def _rotation(count: int, config: AugmentationConfig, generator: Generator) -> Tensor:
    angle = torch.deg2rad(_uniform(count, -config.rotation, config.rotation, generator))
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)


def _scale(count: int, config: AugmentationConfig, generator: Generator) -> Tensor:
    low, high = (math.log(value) for value in config.scale)
    factor = torch.exp(_uniform(count, low, high, generator))
    # A patch of objects twice as large covers half of the frame.
    return torch.eye(2) / factor[:, None, None]


def _shear(count: int, config: AugmentationConfig, generator: Generator) -> Tensor:
    matrix = torch.eye(2).repeat(count, 1, 1)
    if config.shear:
        matrix[:, 1, 0] = _uniform(count, -config.shear, config.shear, generator)
    return matrix


def _joined(knots: Tensor, size: int) -> Tensor:
    """Join the values at knots (N, C, k, k) by cubic interpolation: (N, C, size, size).

    The weights of the knots are what each alone is interpolated to: two products of matrices with them
    take a fifth of the time of interpolating all pixels.
    """
    side = knots.shape[-1]
    alone = torch.eye(side)[None, None]
    weights = F.interpolate(alone, (size, side), mode="bicubic", align_corners=True)[0, 0]
    return weights @ knots @ weights.T


def _elastic(
    count: int, size: int, config: AugmentationConfig, generator: Generator
) -> Tensor | None:
    """Random displacements at knots one sigma apart, joined by cubic interpolation."""
    if config.elastic_alpha == 0:
        return None
    knots = max(4, round(size / config.elastic_sigma) + 1)
    coarse = torch.rand(count, 2, knots, knots, generator=generator) * 2 - 1
    coarse *= config.elastic_alpha * torch.rand(count, 1, 1, 1, generator=generator)
    return _joined(coarse, size)


def _smooth(
    count: int, size: int, config: AugmentationConfig, generator: Generator
) -> Tensor | None:
    """Noise from -1 to 1 smoothed by a Gaussian, times alpha (Simard, Steinkraus, Platt, 2003).

    The Gaussian is applied to the spectrum, as if the patch were periodic: its cost does not depend on
    sigma, and the field is as strong at the edges as in the middle.
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
    count: int, size: int, config: AugmentationConfig, generator: Generator
) -> Tensor | None:
    """Random displacements at 3 x 3 knots, joined by cubic interpolation, as in U-Net's paper."""
    if config.spline_sigma == 0:
        return None
    coarse = config.spline_sigma * torch.randn(count, 2, 3, 3, generator=generator)
    return _joined(coarse, size)


_UNIT = 1 / 3  # one standard deviation of a frame: standardised frames are divided by three of them


def _signed(count: int, generator: Generator) -> Tensor:
    return torch.rand(count, 1, 1, 1, generator=generator) * 2 - 1


def _blur(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Blur each patch by a Gaussian of its own, cut at three sigma, mirrored at the borders."""
    if config.blur == 0:
        return patches
    count, channels, *sides = patches.shape
    sigma = (config.blur * torch.rand(count, 1, generator=generator)).clamp(min=0.01)
    radius = min(math.ceil(3 * config.blur), min(sides) - 1)
    steps = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = send(kernel / kernel.sum(dim=1, keepdim=True), patches.device)
    kernel = kernel.repeat_interleave(channels, dim=0)[:, None]
    planes = patches.reshape(1, count * channels, *sides)
    planes = F.pad(planes, (radius, radius, radius, radius), mode="reflect")
    for shaped in (kernel[..., None], kernel[:, :, None]):
        planes = F.conv2d(planes, shaped, groups=count * channels)
    return planes.reshape(patches.shape)


def _gamma(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Raise the values between the extremes of a patch to a power; mean and deviation stay."""
    low, high = (math.log(value) for value in config.gamma)
    if low == high == 0:
        return patches
    power = torch.exp(_uniform(len(patches), low, high, generator))[:, None, None, None]
    mean, deviation = patches.mean((-2, -1), keepdim=True), patches.std((-2, -1), keepdim=True)
    lowest = patches.amin((-2, -1), keepdim=True)
    spread = (patches.amax((-2, -1), keepdim=True) - lowest).clamp(min=1e-6)
    bent = ((patches - lowest) / spread) ** send(power, patches.device)
    bent = bent - bent.mean((-2, -1), keepdim=True)
    return mean + bent * deviation / bent.std((-2, -1), keepdim=True).clamp(min=1e-6)


def _shading(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Multiply the values above the lowest of a patch by a smooth field around 1."""
    if config.shading == 0:
        return patches
    coarse = torch.rand(len(patches), 1, 3, 3, generator=generator) * 2 - 1
    coarse *= config.shading * torch.rand(len(patches), 1, 1, 1, generator=generator)
    light = F.interpolate(coarse, size=patches.shape[-2:], mode="bicubic", align_corners=True)
    lowest = patches.amin((-2, -1), keepdim=True)
    return patches + (patches - lowest) * send(light, patches.device)


def _inversion(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Turn bright and dark round; standardised values have the mean 0."""
    if config.inversion == 0:
        return patches
    turned = torch.rand(len(patches), 1, 1, 1, generator=generator) < config.inversion
    return torch.where(send(turned, patches.device), -patches, patches)


def _contrast(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    gain = 1 + config.contrast * _signed(len(patches), generator)
    return patches * send(gain, patches.device)


def _brightness(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    offset = config.brightness * _UNIT * _signed(len(patches), generator)
    return patches + send(offset, patches.device)


def _noise(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    if config.noise == 0:
        return patches
    strength = config.noise * _UNIT * torch.rand(len(patches), 1, 1, 1, generator=generator)
    noise = torch.randn(patches.shape, generator=generator)
    return patches + send(noise.mul_(strength), patches.device)


LINEAR: dict[str, Callable[[int, AugmentationConfig, Generator], Tensor]] = {
    "flip": _flip,
    "rotation": _rotation,
    "scale": _scale,
    "shear": _shear,
}
# Each returns None where it is off, and then does not use the generator.
FIELDS: dict[str, Callable[[int, int, AugmentationConfig, Generator], Tensor | None]] = {
    "elastic": _elastic,
    "smooth": _smooth,
    "spline": _spline,
}
# Each that is off leaves the generator as it is, but for contrast and brightness.
INTENSITY: dict[str, Callable[[Tensor, AugmentationConfig, Generator], Tensor]] = {
    "blur": _blur,
    "gamma": _gamma,
    "shading": _shading,
    "inversion": _inversion,
    "contrast": _contrast,
    "brightness": _brightness,
    "noise": _noise,
}


def draw_matrix(count: int, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Draw the linear part of the warp: (count, 2, 2), patch offsets (y, x) to frame offsets."""
    matrix = torch.eye(2).expand(count, 2, 2)
    for draw in LINEAR.values():
        matrix = matrix @ draw(count, config, generator)
    return matrix


def draw_field(
    count: int, size: int, config: AugmentationConfig, generator: Generator
) -> Tensor | None:
    """Draw the displacements of every pixel: (count, 2, size, size), (y, x); None where all are 0."""
    fields = [draw(count, size, config, generator) for draw in FIELDS.values()]
    drawn = [field for field in fields if field is not None]
    return torch.stack(drawn).sum(dim=0) if drawn else None


def leave_unwarped(
    centres: Tensor,
    matrix: Tensor,
    field: Tensor | None,
    size: int,
    config: AugmentationConfig,
    generator: Generator,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Leave a share of ``1 - config.warped`` of the patches as the frame has them.

    They are flipped and turned by 90° at most (where ``rotation`` allows it), and lie on whole pixels, so
    that no value is interpolated: as sharp, and as noisy, as what is predicted later.  Parameters as in
    `sample_grid`; those of the other patches are returned as they are.
    """
    if config.warped == 1:
        return centres, matrix, field
    count = len(centres)
    kept = torch.rand(count, 1, 1, generator=generator) >= config.warped
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    turned = torch.rand(count, 1, 1, generator=generator) < (0.5 if config.rotation >= 90 else 0)
    symmetry = torch.where(turned, quarter, torch.eye(2)) @ _flip(count, config, generator)
    half = (size - 1) / 2
    return (
        torch.where(kept[:, 0], (centres - half).round() + half, centres),
        torch.where(kept, symmetry, matrix),
        None if field is None else field * ~kept[..., None],
    )


def change_intensity(patches: Tensor, config: AugmentationConfig, generator: Generator) -> Tensor:
    """Apply every intensity change to (N, C, H, W) standardised patches."""
    for change in INTENSITY.values():
        patches = change(patches, config, generator)
    return patches


def choose_entries(
    entries: Sequence[Sequence[float]], count: int, generator: Generator
) -> list[Sequence[float] | None]:
    """Draw an entry for each of ``count`` by the weights; None for no change."""
    if not entries:
        return [None] * count
    weights = torch.tensor([float(entry[-1]) for entry in entries])
    drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    return [None if entries[n][0] == -1 else entries[n] for n in drawn.tolist()]


def crop(values: Tensor, size: tuple[int, int], generator: Generator) -> Tensor:
    """Crop ``(C, H, W)`` at random; a side shorter than that of ``size`` stays as it is."""
    top, left = (
        int(torch.randint(max(side - part, 0) + 1, (), generator=generator))
        for side, part in zip(values.shape[-2:], size, strict=True)
    )
    return values[..., top : top + size[0], left : left + size[1]]


def _sample_mirrored(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sample ``(N, C, H, W)`` bilinearly at pixel positions (N, H, W), mirrored at the borders."""
    height, width = values.shape[-2:]
    grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], dim=-1)
    return F.grid_sample(values, grid, padding_mode="reflection", align_corners=False)


def _positions(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the row and column of every pixel, each (1, H, W)."""
    height, width = values.shape[-2:]
    rows = torch.arange(height, device=values.device, dtype=values.dtype)
    columns = torch.arange(width, device=values.device, dtype=values.dtype)
    return rows[None, :, None].expand(1, height, width), columns.expand(1, height, width)


def _original_rotation(values: Tensor, flags: OriginalAugmentation, generator: Generator) -> Tensor:
    """Roll around the borders, then rotate about the centre."""
    if not flags.aug_rotation:
        return values
    count, _, height, width = values.shape
    if flags.aug_rolling:
        shifts = (torch.rand(count, 2, generator=generator) * torch.tensor([height, width])).long()
        rolled = zip(values, shifts.tolist(), strict=True)
        values = torch.stack([image.roll(shift, (-2, -1)) for image, shift in rolled])
    angle = (torch.rand(count, 1, 1, generator=generator) * 2 * math.pi).to(values.device)
    rows, columns = _positions(values)
    down, right = rows - (height - 1) / 2, columns - (width - 1) / 2
    rotated_rows = angle.cos() * down - angle.sin() * right + (height - 1) / 2
    rotated_columns = angle.sin() * down + angle.cos() * right + (width - 1) / 2
    return _sample_mirrored(values, rotated_rows, rotated_columns)


def _original_intensity(
    values: Tensor, channels: int, flags: OriginalAugmentation, generator: Generator
) -> Tensor:
    """Change the intensity i of the foreground to i + m*i + s*(mean of the foreground)."""
    chosen = choose_entries(flags.aug_intensity_params, len(values), generator)
    if not any(chosen):
        return values
    limits = torch.tensor([[0.0, 0.0] if entry is None else [*entry[:2]] for entry in chosen])
    signed = torch.rand(len(values), 2, generator=generator) * 2 - 1
    gain, offset = (limits * signed).to(values.device)[:, :, None, None, None].unbind(1)
    image, foreground = values[:, :channels], values[:, channels : channels + 1] > 0.5
    pixels = foreground.sum(dim=(2, 3), keepdim=True).clamp(min=1)
    mean = (image * foreground).sum(dim=(2, 3), keepdim=True) / pixels
    changed = image + foreground * (gain * image + offset * mean)
    return torch.cat([changed, values[:, channels:]], dim=1)


def _original_elastic(values: Tensor, flags: OriginalAugmentation, generator: Generator) -> Tensor:
    """Displace every pixel by smoothed noise."""
    chosen = choose_entries(flags.aug_elastic_params, len(values), generator)
    if not any(chosen):
        return values
    shift = torch.zeros(len(values), 2, *values.shape[-2:], device=values.device)
    for index, entry in enumerate(chosen):
        if entry is not None and entry[0] > 0:
            noise = torch.rand(2, 1, *values.shape[-2:], generator=generator) * 2 - 1
            shift[index] = entry[0] * gaussian_filter(noise.to(values.device), entry[1])[:, 0]
    rows, columns = _positions(values)
    return _sample_mirrored(values, rows + shift[:, 0], columns + shift[:, 1])


def gaussian_filter(noise: Tensor, sigma: float) -> Tensor:
    """Smooth ``(N, 1, H, W)`` with a Gaussian, cut at four sigma, mirrored at the borders."""
    for dim in (-2, -1):
        radius = min(math.ceil(4 * sigma), noise.shape[dim] - 1)
        steps = torch.arange(-radius, radius + 1, dtype=noise.dtype, device=noise.device)
        kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
        kernel = (kernel / kernel.sum()).view((1, 1, -1, 1) if dim == -2 else (1, 1, 1, -1))
        border = (0, 0, radius, radius) if dim == -2 else (radius, radius, 0, 0)
        noise = F.conv2d(F.pad(noise, border, mode="reflect"), kernel)
    return noise


# Quarter turns, and whether rows are mirrored first; the original knows the first six.
SYMMETRIES = (
    *((turns, False) for turns in range(4)),
    *((turns, True) for turns in (0, 2, 1, 3)),
)


def _original_symmetry(values: Tensor, flags: OriginalAugmentation, generator: Generator) -> Tensor:
    """Flip and rotate by quarter turns; images that are not square keep their shape."""
    if not flags.aug_rotation_flip:
        return values
    known = SYMMETRIES[: flags.aug_symmetries]
    if values.shape[-2] != values.shape[-1]:
        known = tuple(symmetry for symmetry in known if symmetry[0] % 2 == 0)
    drawn = torch.randint(len(known), (len(values),), generator=generator).tolist()
    changed = []
    for image, number in zip(values, drawn, strict=True):
        turns, mirrored = known[number]
        changed.append(torch.rot90(image.flip(-2) if mirrored else image, turns, (-2, -1)))
    return torch.stack(changed)


def augment_original(
    values: Tensor, channels: int, flags: OriginalAugmentation, generator: Generator
) -> Tensor:
    """Change a batch by every augmentation of the original J-Net that is on, in its order, after `crop`.

    ``values`` are (N, channels + maps, H, W) float32: images with their own intensities, not
    standardised, and maps that are warped with them; the first map is the segmentation.
    """
    values = _original_rotation(values, flags, generator)
    values = _original_intensity(values, channels, flags, generator)
    values = _original_elastic(values, flags, generator)
    return _original_symmetry(values, flags, generator)
