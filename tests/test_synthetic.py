from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from napari_jnet.io.ctc import markers
from napari_jnet.project.open import open_stack
from napari_jnet.synthetic import (
    LOOKS,
    touching_cells,
    varied_cells,
    write_cells_sequence,
)


@pytest.fixture(scope="module")
def cells():
    return touching_cells(4, (160, 160), cells=8, diameter=32, seed=3)


def test_cells_keep_their_numbers_and_stay_in_one_piece(cells):
    _, labels = cells
    for frame in labels:
        assert np.unique(frame).tolist() == list(range(9))
        for cell in range(1, 9):
            assert ndimage.label(frame == cell)[1] == 1
            assert 300 < (frame == cell).sum() < 1500


def test_cells_touch_so_that_components_merge_them(cells):
    _, labels = cells
    for frame in labels:
        assert ndimage.label(frame > 0)[1] <= 3


def test_cells_move_a_little(cells):
    _, labels = cells
    for before, after in itertools.pairwise(labels):
        kept = (before == after)[before > 0].mean()
        assert 0.6 < kept < 1


def test_cells_are_visible_and_so_are_their_seams(cells):
    images, labels = cells
    assert images.dtype == np.uint8
    smooth = ndimage.gaussian_filter(images[0].astype(float), 1)
    inner = ndimage.minimum_filter(labels[0], 9) == ndimage.maximum_filter(labels[0], 9)
    seam = (labels[0] > 0) & (ndimage.minimum_filter(labels[0], 3) > 0)
    seam &= ndimage.minimum_filter(labels[0], 3) != ndimage.maximum_filter(labels[0], 3)
    background = smooth[labels[0] == 0].mean()
    assert smooth[inner & (labels[0] > 0)].mean() > 1.8 * background
    assert background * 1.2 < smooth[seam].mean() < 0.9 * smooth[inner & (labels[0] > 0)].mean()


def test_seed_decides():
    options = {"frames": 1, "shape": (96, 96), "cells": 4, "diameter": 24}
    first, again = touching_cells(seed=1, **options), touching_cells(seed=1, **options)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], touching_cells(seed=2, **options)[0])


def test_too_many_cells_are_refused():
    with pytest.raises(ValueError, match="400 cells of 32 pixels do not fit"):
        touching_cells(1, (256, 256), cells=400, diameter=32)


def test_written_sequence_is_a_ctc_dataset(tmp_path):
    root = write_cells_sequence(
        tmp_path / "CELLS", frames=(3, 2), shape=(96, 96), cells=4, diameter=24
    )
    for sequence, count in (("01", 3), ("02", 2)):
        stack = open_stack(root, sequence=sequence)
        assert stack.frame_numbers == stack.annotation("gold").frame_numbers == tuple(range(count))
        assert stack.annotation("gold").partial == frozenset()
        dots, gold = markers(stack).frame(0), stack.annotation("gold").frame(0)
        assert np.array_equal(dots[dots > 0], gold[dots > 0])
        assert np.unique(dots).tolist() == np.unique(gold).tolist()
        lines = (root / f"{sequence}_GT/TRA/man_track.txt").read_text().splitlines()
        assert lines == [f"{cell} 0 {count - 1} 0" for cell in range(1, 5)]
    assert not np.array_equal(open_stack(root, sequence="02").frame(0), open_stack(root).frame(0))


@pytest.mark.parametrize("look", LOOKS)
def test_varied_cells_have_the_size_that_was_asked_for_and_touch(look: str) -> None:
    image, labels = varied_cells((200, 260), diameter=22.0, look=look, seed=3)
    assert image.shape == labels.shape == (200, 260) and image.dtype == labels.dtype == np.uint16
    sizes = np.bincount(labels.ravel())[1:]
    assert (sizes > 0).all()  # numbers without gaps
    diameters = np.sqrt(4 * sizes / np.pi)
    assert 16 < np.median(diameters) < 28 and diameters.max() > 1.5 * diameters.min()
    beside = (labels[:, 1:] != labels[:, :-1]) & (labels[:, 1:] > 0) & (labels[:, :-1] > 0)
    assert beside.any()
    inside, outside = image[labels > 0].mean(), image[labels == 0].mean()
    assert (inside < outside) == (look == "halo") or look == "relief"


def test_varied_cells_are_seeded_and_know_their_looks() -> None:
    first, again = (varied_cells((64, 64), diameter=12.0, seed=5) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0], varied_cells((64, 64), diameter=12.0, seed=6)[0])
    with pytest.raises(ValueError, match="look is 'flat'; it is one of nuclei, membrane"):
        varied_cells((64, 64), look="flat")
