"""What grows with frames and objects grows in proportion: work is counted, not timed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from napari_jnet import array_stack
from napari_jnet.evaluation import errors
from napari_jnet.io.results import OverlapTracks


class Number(int):
    """A frame number that counts how often it is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Number.compared += 1
        return int(self) == other

    def __lt__(self, other: int) -> bool:
        Number.compared += 1
        return int(self) < other


class Counted(np.ndarray):
    """An array that counts the elements that numpy's functions read of it."""

    read = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(part) if isinstance(part, Counted) else part for part in inputs]
        Counted.read += sum(np.size(part) for part in plain)
        options = {name: value for name, value in options.items() if name != "out"}
        found = getattr(ufunc, method)(*plain, **options)
        return found.view(Counted) if isinstance(found, np.ndarray) else found


def growth(work: Callable[[int], int], size: int) -> float:
    """Return how many times as much work four times the size is."""
    return work(4 * size) / work(size)


def test_reading_all_frames_of_a_long_film():
    def work(frames: int) -> int:
        stack = replace(
            array_stack(np.zeros((frames, 1, 1), np.uint8)),
            frame_numbers=tuple(map(Number, range(frames))),
        )
        Number.compared = 0
        for number in range(frames):
            stack.frame(number)
        return Number.compared

    assert growth(work, 500) < 6


def test_tracks_of_a_long_film():
    cells = np.arange(1, 101, dtype=np.int32)[None]

    def work(frames: int) -> int:
        tracks = OverlapTracks()
        for number in range(frames):
            tracks.add(2 * number, cells)  # a gap: all tracks are new
        tracemalloc.start()
        tracks.add(2 * frames, cells)
        tracks.undo()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert growth(work, 20) < 2  # a frame is added, however many there were


def split_and_merged(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Make cells of two rows; every other one is split in the result, and the next two are merged."""
    reference = np.repeat(np.arange(1, 3 * cells + 1), 4)[None].repeat(2, axis=0)
    result = reference.copy()
    result[:, 2::12] += 3 * cells  # the second half of each third cell
    result[:, 3::12] += 3 * cells
    for start in (8, 9, 10, 11):
        result[:, start::12] -= 1
    return reference, result


def test_errors_of_many_cells(monkeypatch):
    def pairs(table):
        found = object_pairs(table)
        counted = {name: value.view(Counted) for name, value in vars(found).items()}
        return replace(found, **counted)

    def work(cells: int) -> int:
        reference, result = split_and_merged(cells)
        Counted.read = 0
        _, found = errors.error_map(reference, result)
        kinds = [error.kind for error in found]
        assert kinds.count(errors.ErrorKind.SPLIT) == kinds.count(errors.ErrorKind.MERGED) == cells
        return Counted.read

    object_pairs = errors.object_pairs
    monkeypatch.setattr(errors, "object_pairs", pairs)
    assert growth(work, 50) < 6
