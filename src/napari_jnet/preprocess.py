"""The input of a network from a frame: standardisation and the resolution pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

_SMALLEST_DEVIATION = 1e-6
_BLOCK = 8  # side in pixels of the blocks whose medians limit the values of a frame
# How far beyond these limits a value may lie: as a fraction of the range between them, or as a multiple
# of the median difference between neighbouring pixels, if that is more.
_ROOM = 0.5
_NOISE_ROOM = 8.0
_UNLIKE = 0.05  # padding lies farther than this fraction outside the range of the image


def frame_tensor(
    image: NDArray[Any], name: str, channels: int | None = None, *, standardization: str = "robust"
) -> Tensor:
    """Turn a stored image, (H, W) or (H, W, C) of any real type, into float32 (C, H, W).

    ``plain`` standardization keeps the values, or moves and scales them where float32 could not distinguish
    them.  ``robust`` moves and scales each channel so that 0 and 1 are its lowest and highest block medians,
    and clips it not far beyond these; a constant channel is 0.

    Raise `ValueError`, with the ``name`` of the image, if it has other ``channels`` than the network (None:
    any), another number of axes, no pixels, or values that are complex or not finite.

    Notes
    -----
    A hot pixel, a few hot or dead rows and columns, and a border of one value that was padded around
    the image do not change the rest: the limits are medians of blocks of 8 x 8, without the padding.  A
    small bright object stays above the noise, because values are clipped and not replaced.
    """
    if image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(
            f"{name} has shape {image.shape}; an image is (height, width) or (height, width, channels) "
            "and not empty."
        )
    if image.dtype.kind not in "biuf":
        raise ValueError(
            f"{name} holds values of type {image.dtype}; an image holds real numbers. "
            "Convert it (for example to its magnitude)."
        )
    planes = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
    if channels is not None and len(planes) != channels:
        raise ValueError(
            f"{name} has {len(planes)} channel(s), the network takes {channels}. "
            "Choose a model trained on such images, or convert the image."
        )
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        raise ValueError(
            f"{name} has {bad} pixel(s) that are NaN or infinite; every pixel needs a value. "
            "Replace them (for example by the median of the frame)."
        )
    convert = _plain if standardization == "plain" else _robust
    return torch.from_numpy(np.stack([convert(plane) for plane in planes]))


def _plain(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values as they are; moved and scaled where float32 could not distinguish them."""
    lowest, highest = plane.min(), plane.max()
    size = max(abs(float(lowest)), abs(float(highest)))
    spread = _above(plane, lowest).max() if lowest < highest else 0.0
    if size < 2**24 and size < 1e4 * spread and spread > 1e-2:
        return np.ascontiguousarray(plane, dtype=np.float32)
    if not spread:
        return np.full(plane.shape, np.float32(lowest) if size < 1e30 else 0, dtype=np.float32)
    return (_above(plane, lowest) / spread).astype(np.float32)


def _robust(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Move, scale and clip the values as `frame_tensor` describes."""
    exact = _above(plane, plane.min())
    highest = exact.max()
    if not highest:
        return np.zeros(plane.shape, np.float32)
    values: NDArray[np.float32] = (exact / highest).astype(np.float32)
    padded = _padding(values)
    low, high, noise = _block_limits(values, padded)
    if high > low:
        room = max(_ROOM * (high - low), _NOISE_ROOM * noise)
        np.clip(values, low - room, high + room, out=values)
        values -= low
        values /= high - low
    return values


def _above(plane: NDArray[Any], lowest: Any) -> NDArray[np.float64]:
    """Return ``plane - lowest`` at the full precision of the plane's type."""
    if plane.dtype.kind == "f":
        values: NDArray[np.float64] = plane.astype(np.float64)
        largest = np.abs(values).max()
        if largest > 1e300:  # the difference would overflow
            values /= largest
            lowest = float(lowest) / largest
        values -= float(lowest)
        return values
    wide = np.dtype(np.int64 if plane.dtype.kind == "i" else np.uint64)
    whole = plane.astype(wide).view(np.uint64)  # differences are right modulo 2**64
    above: NDArray[np.float64] = (whole - wide.type(lowest).view(np.uint64)).astype(np.float64)
    return above


def _padding(plane: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Mark padding around an image (H, W): one value, from a corner on, outside the range of the image.

    A corner whose value lies within the range of the image, such as a background of 0, is image; so is all
    of a plane that would have one value elsewhere.  Return None without padding.
    """
    found = None
    for value in {float(plane[row, column]) for row in (0, -1) for column in (0, -1)}:
        if value not in (plane.min(), plane.max()):
            continue
        same = np.pad(plane == value, _BLOCK, mode="edge")
        wide = ndimage.binary_opening(same, np.ones((_BLOCK, _BLOCK), bool))
        wide = wide[_BLOCK:-_BLOCK, _BLOCK:-_BLOCK]
        parts, _ = ndimage.label(wide)
        corners = {int(parts[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
        padded = np.isin(parts, [*corners])
        if not corners or padded.all():
            continue
        low, high, _ = _block_limits(plane, padded)
        room = _UNLIKE * (high - low)
        if low < high and not low - room <= value <= high + room:
            found = padded if found is None else found | padded
    return found


def _block_limits(
    plane: NDArray[np.float32], padded: NDArray[np.bool_] | None
) -> tuple[float, float, float]:
    """Return the lowest and the highest block median, and the median difference of neighbours."""
    values = plane
    noise = np.abs(np.diff(plane, axis=1))
    if padded is not None:
        values = np.where(padded, np.median(plane[~padded]), plane)
        noise = noise[~padded[:, 1:] & ~padded[:, :-1]]
    side = min(_BLOCK, *plane.shape)
    beyond = [(0, -length % side) for length in plane.shape]
    whole = np.pad(values, beyond, mode="symmetric") if np.any(beyond) else values
    height, width = whole.shape[0] // side, whole.shape[1] // side
    blocks = whole.reshape(height, side, width, side).swapaxes(1, 2).reshape(-1, side * side)
    # Nearly half a block may be wrong on either side.
    lower, upper = (side * side - 1) // 2, side * side // 2
    ordered = np.partition(blocks, (lower, upper), axis=1)
    return (
        float(ordered[:, upper].min()),
        float(ordered[:, lower].max()),
        float(np.median(noise)) if noise.size else 0.0,
    )


def is_constant(frame: Tensor) -> bool:
    """Whether all pixels of a frame have the same value."""
    return bool((frame == frame.flatten()[0]).all())


def level_statistics(
    frame: Tensor, levels: Sequence[int], *, standardization: str = "robust"
) -> tuple[Tensor, Tensor]:
    """Return means and unbiased standard deviations of a frame (C, H, W) pooled to levels: (levels, C).

    ``robust`` excludes padding around the image; ``plain`` takes all pixels.
    """
    padding = [None if standardization == "plain" else _padding(p.cpu().numpy()) for p in frame]
    means, deviations = [], []
    for level in levels:
        chosen = []
        for plane, padded in zip(pool(frame[None], level)[0], padding, strict=True):
            values = plane.flatten()
            if padded is not None:
                image = torch.from_numpy(~padded).to(frame.device)
                whole = pool(image[None, None].float(), level)[0, 0] == 1
                values = plane[whole] if int(whole.sum()) > 1 else values
            chosen.append(values)
        means.append(torch.stack([values.mean() for values in chosen]))
        deviations.append(torch.stack([values.std() for values in chosen]))
    return torch.stack(means), torch.stack(deviations).clamp(min=_SMALLEST_DEVIATION)


def standardized_pyramid(
    frames: Tensor, levels: Sequence[int], *, standardization: str = "robust"
) -> list[Tensor]:
    """Pool whole frames (N, C, H, W) to each level and standardise each level on its own.

    That is ``(x - mean) / (3 * std)`` after pooling, as the original J-Net does.
    """
    height, width = frames.shape[-2:]
    smallest = min(height, width) // 2 ** -min(levels)
    if smallest < 2:
        raise ValueError(
            f"A frame of {height} x {width} pixels has {smallest} pixels left at level {min(levels)}; "
            "at least 2 are needed. Use fewer resolution levels or larger frames."
        )
    statistics = [level_statistics(f, levels, standardization=standardization) for f in frames]
    means = torch.stack([mean for mean, _ in statistics])[..., None, None]
    deviations = torch.stack([deviation for _, deviation in statistics])[..., None, None]
    return [
        (pool(frames, level) - means[:, index]) / (3 * deviations[:, index])
        for index, level in enumerate(levels)
    ]


def pool(frames: Tensor, level: int) -> Tensor:
    """Average-pool ``(N, C, H, W)`` by ``2**-level``; rows and columns left over are dropped."""
    return frames if level == 0 else F.avg_pool2d(frames, 2**-level)


def expand(maps: Tensor, level: int, size: tuple[int, int]) -> Tensor:
    """Bring ``(N, C, h, w)`` at a level back to the full frame, bilinearly.

    Rows and columns that pooling dropped repeat the nearest ones.
    """
    if level == 0:
        return maps
    factor = 2**-level
    full = F.interpolate(maps, scale_factor=float(factor), mode="bilinear", align_corners=False)
    below, right = size[0] - full.shape[-2], size[1] - full.shape[-1]
    return F.pad(full, (0, right, 0, below), mode="replicate") if below or right else full
