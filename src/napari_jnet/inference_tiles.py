"""How a frame is cut for the network: exact tiles with a halo, or windows that overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

__all__ = ["Part", "at_level", "tiles", "windows"]

Part = tuple[slice, slice]
"""Rows and columns, in pixels of the full frame."""


def at_level(part: Part, level: int) -> Part:
    """Return where a part of the full frame lies at a resolution level."""
    factor = 2**-level
    rows, columns = (slice(side.start // factor, side.stop // factor) for side in part)
    return rows, columns


def tiles(size: Sequence[int], tile: int, stride: int, halo: int) -> Iterator[tuple[Part, Part]]:
    """Pairs of (inner part, part to read) that cover a frame; begins lie on the stride."""
    if not tile or tile >= max(size):
        whole = (slice(0, size[0]), slice(0, size[1]))
        yield whole, whole
        return
    step = max(tile // stride, 1) * stride
    for top, left in product(range(0, size[0], step), range(0, size[1], step)):
        inner = (slice(top, min(top + step, size[0])), slice(left, min(left + step, size[1])))
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
