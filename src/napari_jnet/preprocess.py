"""The input of a network from a frame: standardisation and the resolution pyramid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor
from torch.nn import functional as F

from napari_jnet.files import scratch_array

Convert = Callable[[NDArray[Any]], NDArray[np.float32]]
Parts = Callable[[], Iterator[NDArray[np.float32]]]  # strips of a plane, or the whole

_SMALLEST_DEVIATION = 1e-6
_BLOCK = 8  # side in pixels of the blocks whose medians limit the values of a frame
# How far beyond these limits a value may lie: as a fraction of the range between them, or as a multiple
# of the median difference between neighbouring pixels, if that is more.
_ROOM = 0.5
_NOISE_ROOM = 8.0
_STRIP = 1 << 21  # pixels of the strips that a large frame is read in
_UNLIKE = 0.05  # padding lies farther than this fraction outside the range of the image


def resampling(size: int, scale: float, count: int) -> csr_array:
    """Return the matrix (count, size) that takes values of so many pixels to pixels of another size.

    ``scale`` is the number of new pixels for each old one.  New pixel ``i`` lies at ``(i + 0.5) / scale -
    0.5``; it is interpolated linearly, and averaged over as many old pixels as it covers.  New pixels beyond
    the last old one repeat it.
    """
    reach = max(1.0, 1 / scale)
    centres = ((np.arange(count) + 0.5) / scale - 0.5).clip(0, size - 1)
    near = np.floor(centres)[:, None] + np.arange(-math.ceil(reach), math.ceil(reach) + 2)
    weights = np.clip(1 - np.abs(near - centres[:, None]) / reach, 0, None)
    weights *= (near >= 0) & (near < size)
    weights /= weights.sum(axis=1, keepdims=True)
    row, column = np.nonzero(weights)
    values = weights[row, column].astype(np.float32)
    return csr_array((values, (row, near[row, column].astype(np.intp))), (count, size))


def rescaled_size(size: Sequence[int], scale: float) -> tuple[int, int]:
    """Return the height and width of a frame of this size once it is rescaled: rounded down."""
    height, width = (max(int(side * scale + 1e-6), 1) for side in size)
    return height, width


def rescale_plane(
    plane: NDArray[Any], scale: float, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Resample a plane (H, W) of any real type to `rescaled_size`, strip by strip, into ``out`` if given.

    Values that float32 could not distinguish are moved and scaled first.
    """
    size = rescaled_size(plane.shape, scale)
    rows, columns = (resampling(plane.shape[axis], scale, size[axis]) for axis in (0, 1))
    made = np.empty(size, np.float32) if out is None else out
    convert, step = _plain_values(plane), max(_STRIP // size[1], 1)
    for begin in range(0, size[0], step):
        strip = rows[begin : begin + step]
        first, last = int(strip.indices.min()), int(strip.indices.max()) + 1
        values = convert(plane[first:last])
        made[begin : begin + step] = (columns @ (strip[:, first:last] @ values).T).T
    return made


def rescaled_region(
    region: tuple[slice, slice], scale: float, size: Sequence[int]
) -> tuple[slice, slice]:
    """Return the part of a rescaled frame that `restore` needs for a region of the frame of this size."""
    sides = []
    for side, length, count in zip(region, size, rescaled_size(size, scale), strict=True):
        used = resampling(count, 1 / scale, length)[side].indices
        sides.append(slice(int(used.min()), int(used.max()) + 1))
    return sides[0], sides[1]


def restore(maps: Tensor, region: tuple[slice, slice], scale: float, size: Sequence[int]) -> Tensor:
    """Bring maps (C, h, w) of the `rescaled_region` of a region back to that region of the full frame."""
    within = rescaled_region(region, scale, size)
    rows, columns = (
        resampling(count, 1 / scale, length)[side, part]
        for side, part, length, count in zip(
            region, within, size, rescaled_size(size, scale), strict=True
        )
    )
    planes = [(columns @ (rows @ plane).T).T for plane in maps.numpy()]
    return torch.from_numpy(np.ascontiguousarray(np.stack(planes)))


_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue


def fit_channels(image: NDArray[Any], gray: bool) -> NDArray[Any]:
    """Return an image (..., C) as one channel (...) where a network asks for that: `NetworkConfig.gray`.

    The luminance of three or four channels (red, green, blue), the mean of others.
    """
    if not gray:
        return image
    if image.shape[-1] in (3, 4):
        luminance: NDArray[np.float32] = image[..., :3].astype(np.float32) @ _LUMINANCE
        return luminance
    mean: NDArray[np.float32] = image.mean(axis=-1, dtype=np.float32)
    return mean


def frame_tensor(
    image: NDArray[Any],
    name: str,
    channels: int | None = None,
    *,
    standardization: str = "robust",
    scale: float = 1.0,
) -> Tensor:
    """Turn a stored image, (H, W) or (H, W, C) of any real type, into float32 (C, H, W).

    With another ``scale`` than 1 it is resampled first, to `rescaled_size`.
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
    planes: Iterable[NDArray[Any]] = _checked_planes(image, name, channels)
    if scale != 1:
        planes = [rescale_plane(plane, scale) for plane in planes]
    convert = _plain if standardization == "plain" else _robust
    return torch.from_numpy(np.stack([convert(plane) for plane in planes]))


def _checked_planes(image: NDArray[Any], name: str, channels: int | None) -> NDArray[Any]:
    """Return an image as (C, H, W), without a copy; raises as `frame_tensor`."""
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
    bad = 0
    if image.dtype.kind == "f":
        bad = sum(int(np.count_nonzero(~np.isfinite(part))) for part in _strips(image, _BLOCK))
    if bad:
        raise ValueError(
            f"{name} has {bad} pixel(s) that are NaN or infinite; every pixel needs a value. "
            "Replace them (for example by the median of the frame)."
        )
    return planes


def _strips(plane: NDArray[Any], step: int) -> Iterator[NDArray[Any]]:
    """Yield strips of rows, a multiple of `step` in each but the last, which has at least so many."""
    rows = max(_STRIP // math.prod(plane.shape[1:]) // step, 1) * step
    begin = 0
    while begin < len(plane):
        end = begin + rows if len(plane) - begin >= rows + step else len(plane)
        yield plane[begin:end]
        begin = end


def _plain(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return the values as they are; moved and scaled where float32 could not distinguish them."""
    return _plain_values(plane)(plane)


def _plain_values(plane: NDArray[Any]) -> Convert:
    """Return what `_plain` does to any part of a plane."""
    lowest, highest = plane.min(), plane.max()
    ends = np.array([lowest, highest])
    size = float(np.abs(ends.astype(np.float64)).max())
    spread = _above(ends, lowest, size).max() if lowest < highest else 0.0
    if size < 2**24 and size < 1e4 * spread and spread > 1e-2:
        return lambda part: np.ascontiguousarray(part, dtype=np.float32)
    if not spread:
        level = np.float32(lowest) if size < 1e30 else np.float32(0)
        return lambda part: np.full(part.shape, level, dtype=np.float32)
    return lambda part: (_above(part, lowest, size) / spread).astype(np.float32)


def _robust(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Move, scale and clip the values as `frame_tensor` describes."""
    values = _scaled_values(plane)(plane)

    def parts() -> Iterator[NDArray[np.float32]]:
        return iter([values])

    return _within_limits(*_block_limits(parts, _padding(parts)))(values)


def _scaled_values(plane: NDArray[Any]) -> Convert:
    """Return what maps any part of a plane to 0 to 1 by the extremes of the plane."""
    ends = np.array([plane.min(), plane.max()])
    size = float(np.abs(ends.astype(np.float64)).max())
    highest = _above(ends, ends[0], size).max()
    if not highest:
        return lambda part: np.zeros(part.shape, np.float32)
    return lambda part: (_above(part, ends[0], size) / highest).astype(np.float32)


def _within_limits(low: float, high: float, noise: float) -> Convert:
    """Return what clips, moves and scales values, in place, by the limits of `_block_limits`."""
    room = max(_ROOM * (high - low), _NOISE_ROOM * noise)

    def convert(values: NDArray[np.float32]) -> NDArray[np.float32]:
        if high > low:
            np.clip(values, low - room, high + room, out=values)
            values -= low
            values /= high - low
        return values

    return convert


def _above(plane: NDArray[Any], lowest: Any, largest: float) -> NDArray[np.float64]:
    """Return ``plane - lowest`` at the full precision of the plane's type; `largest` is a size."""
    if plane.dtype.kind == "f":
        values: NDArray[np.float64] = plane.astype(np.float64)
        if largest > 1e300:  # the difference would overflow
            values /= largest
            lowest = float(lowest) / largest
        values -= float(lowest)
        return values
    wide = np.dtype(np.int64 if plane.dtype.kind == "i" else np.uint64)
    whole = plane.astype(wide).view(np.uint64)  # differences are right modulo 2**64
    above: NDArray[np.float64] = (whole - wide.type(lowest).view(np.uint64)).astype(np.float64)
    return above


def _padding(source: Parts) -> NDArray[np.bool_] | None:
    """Mark padding around an image (H, W): one value, from a corner on, outside the range of the image.

    A corner whose value lies within the range of the image, such as a background of 0, is image; so is all
    of a plane that would have one value elsewhere.  Return None without padding.
    """
    ends = [(part.min(), part.max(), part[0, [0, -1]], part[-1, [0, -1]]) for part in source()]
    extremes = {float(min(low for low, *_ in ends)), float(max(high for _, high, *_ in ends))}
    found = None
    for value in {*map(float, [*ends[0][2], *ends[-1][3]])} & extremes:
        padded = _from_corners(_open(np.concatenate([part == value for part in source()])))
        if padded is None:
            continue
        low, high, _ = _block_limits(source, padded)
        room = _UNLIKE * (high - low)
        if low < high and not low - room <= value <= high + room:
            found = padded if found is None else found | padded
    return found


def _open(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove from a mask, in place, where no block fits; strip by strip."""
    reach, end, before = 2 * _BLOCK, 0, mask[:0]
    for strip in _strips(mask, reach):
        begin, end = end, end + len(strip)
        part = np.concatenate([before, mask[begin : end + reach]])
        before = mask[end - reach : end].copy() if end > reach else mask[:end].copy()
        beyond = (0 if begin else _BLOCK, 0 if end < len(mask) else _BLOCK)
        wide = ndimage.binary_opening(
            np.pad(part, (beyond, (_BLOCK, _BLOCK)), mode="edge"), np.ones((_BLOCK, _BLOCK), bool)
        )
        top = reach if begin else _BLOCK
        strip[:] = wide[top : top + len(strip), _BLOCK:-_BLOCK]
    return mask


def _from_corners(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Keep, in place, the connected parts of a mask with a corner; None for no pixel, or all."""
    count, links, above, corners = 0, [np.zeros((2, 0), np.intp)], None, set()
    for strip in _strips(mask, _BLOCK):
        parts, number = ndimage.label(strip)
        parts = np.where(strip, parts + count, 0)
        if above is None:
            corners |= {int(parts[0, 0]), int(parts[0, -1])}
        else:
            links.append(np.stack([above, parts[0]])[:, (above > 0) & (parts[0] > 0)])
        above, count = parts[-1], count + number
    assert above is not None
    corners = (corners | {int(above[0]), int(above[-1])}) - {0}
    if not corners:
        return None
    rows, columns = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), (count + 1, count + 1))
    _, group = connected_components(graph, directed=False)
    kept = np.isin(group, group[[*corners]])
    kept[0], count = False, 0
    for strip in _strips(mask, _BLOCK):
        parts, number = ndimage.label(strip)
        strip[:] = kept[np.where(strip, parts + count, 0)]
        count += number
    return None if mask.all() else mask


def _block_limits(source: Parts, padded: NDArray[np.bool_] | None) -> tuple[float, float, float]:
    """Return the lowest and the highest block median, and the median difference of neighbours."""

    def parts() -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_] | None]]:
        end = 0
        for part in source():
            begin, end = end, end + len(part)
            yield part, None if padded is None else padded[begin:end]

    def noise() -> Iterator[NDArray[np.float32]]:
        for part, beside in parts():
            steps = np.abs(np.diff(part, axis=1))
            yield steps if beside is None else steps[~beside[:, 1:] & ~beside[:, :-1]]

    fill = 0.0
    if padded is not None:
        fill = _median(lambda: (part[~beside] for part, beside in parts() if beside is not None))
    lows, highs = [], []
    for part, beside in parts():
        values = part if beside is None else np.where(beside, np.float32(fill), part)
        side = min(_BLOCK, *values.shape)
        beyond = [(0, -length % side) for length in values.shape]
        whole = np.pad(values, beyond, mode="symmetric") if np.any(beyond) else values
        height, width = whole.shape[0] // side, whole.shape[1] // side
        blocks = whole.reshape(height, side, width, side).swapaxes(1, 2).reshape(-1, side * side)
        # Nearly half a block may be wrong on either side.
        lower, upper = (side * side - 1) // 2, side * side // 2
        ordered = np.sort(blocks, axis=1)  # faster than `partition` with two ranks
        lows.append(float(ordered[:, upper].min()))
        highs.append(float(ordered[:, lower].max()))
    return min(lows), max(highs), _median(noise)


def _median_of(values: NDArray[np.float32]) -> float:
    """Return the median of numbers: numpy's, in a tenth of the time, as it looks for three ranks at once."""
    middle = values.size // 2
    ordered = np.partition(values, middle)
    upper = ordered[middle]
    return float(upper if values.size % 2 else (ordered[:middle].max() + upper) / 2)


def _median(source: Parts) -> float:
    """Return the median of all values, 0 of none; of several parts by two rounds of counting."""
    first = list(islice(source(), 2))
    if len(first) == 1:
        return _median_of(first[0].ravel()) if first[0].size else 0.0

    def keys() -> Iterator[NDArray[np.uint32]]:  # in the order of the values
        for part in source():
            bits = np.ascontiguousarray(part).ravel().view(np.uint32)
            yield np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))

    coarse = sum(np.bincount(part >> 16, minlength=1 << 16) for part in keys())
    count = int(np.sum(coarse))
    if not count:
        return 0.0
    middle = []
    for rank in ((count - 1) // 2, count // 2):
        upper = int(np.searchsorted(np.cumsum(coarse), rank, side="right"))
        fine = sum(
            np.bincount(part[part >> 16 == upper] & 0xFFFF, minlength=1 << 16) for part in keys()
        )
        rank -= int(np.sum(coarse[:upper]))  # type: ignore[index]
        key = (upper << 16) + int(np.searchsorted(np.cumsum(fine), rank, side="right"))
        bits = key ^ (1 << 31) if key >> 31 else key ^ 0xFFFFFFFF
        middle.append(np.array(bits, np.uint32).view(np.float32))
    return float(np.mean(middle))


def is_constant(frame: Tensor) -> bool:
    """Whether all pixels of a frame have the same value."""
    return bool((frame == frame.flatten()[0]).all())


def level_statistics(
    frame: Tensor, levels: Sequence[int], *, standardization: str = "robust"
) -> tuple[Tensor, Tensor]:
    """Return means and unbiased standard deviations of a frame (C, H, W) pooled to levels: (levels, C).

    ``robust`` excludes padding around the image; ``plain`` takes all pixels.
    """
    padding = [
        None if standardization == "plain" else _padding(lambda p=p: iter([p.cpu().numpy()]))  # type: ignore[misc]
        for p in frame
    ]
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


class LargeFrame:
    """A stored image that the network sees a region at a time, of which nothing is made as a whole.

    Values and statistics are those of `frame_tensor` and `standardized_pyramid` but for the rounding of sums,
    which are in float64 here.  Arguments and errors are those of `frame_tensor`.
    """

    def __init__(
        self,
        image: NDArray[Any],
        name: str,
        channels: int | None,
        levels: Sequence[int],
        standardization: str,
        scale: float = 1.0,
    ) -> None:
        self._planes, self._levels = _checked_planes(image, name, channels), levels
        if scale != 1:
            size = rescaled_size(self._planes.shape[1:], scale)
            planes = scratch_array((len(self._planes), *size), np.float32)
            for plane, out in zip(self._planes, planes, strict=True):
                rescale_plane(plane, scale, out)
            self._planes = planes
        self.size = (self._planes.shape[1], self._planes.shape[2])
        self._step = max(_BLOCK, 2 ** -min(levels))
        self._statistics: dict[tuple[int, int, int], Tensor] = {}
        plain = standardization == "plain"
        self._converts = [_plain_values(p) if plain else self._robust(p) for p in self._planes]
        self._padding = [
            None if plain else _padding(self._parts(c)) for c in range(len(self._planes))
        ]

    def _robust(self, plane: NDArray[Any]) -> Convert:
        scaled = _scaled_values(plane)

        def parts() -> Iterator[NDArray[np.float32]]:
            return map(scaled, _strips(plane, self._step))

        within = _within_limits(*_block_limits(parts, _padding(parts)))
        return lambda part: within(scaled(part))

    def _parts(self, channel: int) -> Parts:
        return lambda: map(self._converts[channel], _strips(self._planes[channel], self._step))

    @property
    def is_constant(self) -> bool:
        """Whether all pixels have the same value."""
        ends = [_plain(np.array([plane.min(), plane.max()])[None]) for plane in self._planes]
        return bool((np.array(ends) == ends[0][0, 0]).all())

    def read(self, region: tuple[slice, slice]) -> Tensor:
        """Return a region as `frame_tensor` does the whole, (1, C, h, w)."""
        pairs = zip(self._converts, self._planes, strict=True)
        planes = [convert(plane[region]) for convert, plane in pairs]
        return torch.from_numpy(np.stack(planes)[None])

    def statistics(self, level: int, top: int, left: int) -> Tensor:
        """Return means and deviations at a level that is pooled from this pixel on: (2, 1, C, 1, 1)."""
        key = (level, top, left)
        if key not in self._statistics:
            found = [self._moments(channel, *key) for channel in range(len(self._planes))]
            self._statistics[key] = torch.tensor(found, dtype=torch.float32).T[
                :, None, :, None, None
            ]
        return self._statistics[key]

    def _moments(self, channel: int, level: int, top: int, left: int) -> tuple[float, float]:
        padded, plane = self._padding[channel], self._planes[channel][top:, left:]
        sums = np.zeros((2, 3))  # of all pixels, and of those of the image: number, sum, squares
        end = 0
        for strip in _strips(plane, self._step):
            begin, end = end, end + len(strip)
            values = torch.from_numpy(self._converts[channel](strip))[None, None]
            pooled = pool(values, level)[0, 0].double().numpy()
            chosen = [pooled]
            if padded is not None:
                image = torch.from_numpy(~padded[top:, left:][begin:end]).float()[None, None]
                chosen.append(pooled[(pool(image, level)[0, 0] == 1).numpy()])
            for row, pixels in zip(sums, chosen, strict=False):
                row += pixels.size, pixels.sum(), np.square(pixels).sum()
        count, total, squares = sums[1] if sums[1, 0] > 1 else sums[0]
        variance = max(squares - total**2 / count, 0.0) / (count - 1)
        return total / count, max(math.sqrt(variance), _SMALLEST_DEVIATION)


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
