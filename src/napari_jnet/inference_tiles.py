"""How a frame is cut for the network: exact tiles with a halo, or windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

__all__ = [
    "Part",
    "around",
    "at_level",
    "checked_region",
    "common",
    "sides",
    "tiles",
    "windows",
    "within",
]

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
