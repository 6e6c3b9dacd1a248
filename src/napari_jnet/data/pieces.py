"""Cells in pieces: one number on parts of a frame that do not touch, as where two cells got one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected

__all__ = ["cells_in_pieces", "number_apart", "numbered_pieces"]

_INT32 = np.iinfo(np.int32).max
_SPECK = 0.02
"""Part of the largest piece of a cell; what is smaller is a slip of the brush and no piece."""


def numbered_pieces(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Return the connected pieces of all cells, numbered from 1.

    Parameters
    ----------
    labels
        (H, W) or (Z, H, W), integers: each cell its own number from 1; what is not above 0 is no
        cell.

    Returns
    -------
    ndarray of int32
        Of the same shape; 0 where there is no cell, or a speck of less than 2 % of the largest piece
        of its cell.

    Notes
    -----
    Pixels that meet at a corner are connected.
    """
    return _pieces(labels)[0]


def cells_in_pieces(labels: NDArray[Any]) -> dict[int, int]:
    """Return the cells that are in two or more pieces: number of the cell -> count of its pieces.

    Parameters
    ----------
    labels
        As for `numbered_pieces`.
    """
    _, owners = _pieces(labels)
    cells, counts = np.unique(owners[owners > 0], return_counts=True)
    return {int(c): int(n) for c, n in zip(cells, counts, strict=True) if n > 1}


def number_apart(labels: NDArray[Any], first: int) -> NDArray[np.signedinteger[Any]]:
    """Give each piece of a cell a number of its own; the largest keeps that of the cell.

    Parameters
    ----------
    labels
        As for `numbered_pieces`.
    first
        The lowest new number; numbers from here on must be free.

    Returns
    -------
    ndarray of int32, or int64 where the numbers need it
        Of the same shape; specks keep the number of their cell.
    """
    pieces, owners = _pieces(labels)
    areas = np.bincount(pieces.reshape(-1), minlength=owners.size)
    largest: dict[int, int] = {}
    for piece, cell in enumerate(owners.tolist()):
        if cell and (cell not in largest or areas[piece] > areas[largest[cell]]):
            largest[cell] = piece
    apart = [p for p, cell in enumerate(owners.tolist()) if cell and largest[cell] != p]
    numbers = owners.copy()
    numbers[apart] = np.arange(first, first + len(apart))
    apart_labels = np.where(pieces > 0, numbers[pieces], labels)
    wide = max(int(apart_labels.max(initial=0)), -int(apart_labels.min(initial=0))) > _INT32
    return apart_labels.astype(np.int64 if wide else np.int32)


def _pieces(labels: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the numbered pieces, and the cell of each number; 0 for background and specks."""
    cells = np.where(labels > 0, labels, 0)
    pieces = connected(cells, background=0, connectivity=cells.ndim).astype(np.int32)  # type: ignore[no-untyped-call]
    areas = np.bincount(pieces.reshape(-1))
    owners = np.zeros(areas.size, np.int64)
    owners[pieces.reshape(-1)] = cells.reshape(-1)
    areas[0] = 0
    _, kinds = np.unique(owners, return_inverse=True)
    largest = np.zeros(kinds.max(initial=0) + 1, areas.dtype)
    np.maximum.at(largest, kinds, areas)
    specks = areas < _SPECK * largest[kinds]
    owners[specks] = 0
    pieces[specks[pieces]] = 0
    return pieces, owners
