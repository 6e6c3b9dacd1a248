"""Predicted cells become annotation, and what is painted stays."""

from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.editing import copy_cells, copy_classes
from napari_jnet.labels import LabelKind

SHAPE = (32, 32)


def boxes(*found: tuple[int, int, int, int, int]) -> np.ndarray:
    """Return a plane with boxes (label, top, bottom, left, right)."""
    labels = np.zeros(SHAPE, np.int32)
    for label, top, bottom, left, right in found:
        labels[top:bottom, left:right] = label
    return labels


PREDICTED = boxes((2, 0, 10, 0, 10), (5, 0, 10, 20, 30), (9, 20, 30, 0, 10))


def test_into_an_empty_frame_all_cells_are_copied_and_numbered_anew() -> None:
    got = copy_cells(np.zeros(SHAPE, np.int32), PREDICTED)
    assert (got.copied, got.skipped, got.unknown) == (3, 0, 0)
    np.testing.assert_array_equal(got.plane > 0, PREDICTED > 0)
    assert set(np.unique(got.plane)) == {0, 1, 2, 3}


def test_what_is_painted_is_never_changed() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        painted = np.kron(random.integers(-1, 5, (8, 8)), np.ones((4, 4), int)).astype(np.int32)
        cells = np.kron(random.integers(0, 6, (4, 4)), np.ones((8, 8), int)).astype(np.int32)
        new = copy_cells(painted, cells).plane
        np.testing.assert_array_equal(new[painted != 0], painted[painted != 0])
        assert not new[(painted == 0) & (cells == 0)].any()


def test_a_cell_that_is_painted_already_is_skipped() -> None:
    painted = boxes((7, 1, 10, 1, 9))
    got = copy_cells(painted, PREDICTED)
    assert (got.copied, got.skipped) == (2, 1)
    np.testing.assert_array_equal(got.plane[:12, :12], painted[:12, :12])
    assert set(np.unique(got.plane)) == {0, 7, 8, 9}


def test_a_small_painted_cell_is_not_ringed() -> None:
    painted = boxes((1, 4, 7, 4, 7))  # 9 of 100 pixels of the predicted cell
    assert copy_cells(painted, PREDICTED).skipped == 1


def test_a_cell_that_touches_a_little_gives_its_free_pixels() -> None:
    painted = boxes((1, 0, 20, 9, 12))  # a column of the first predicted cell
    got = copy_cells(painted, PREDICTED)
    assert got.copied == 3
    assert (got.plane[:10, :9] == 2).all()
    assert (got.plane[:20, 9:12] == 1).all()


def test_of_a_cell_cut_in_two_the_larger_part_is_taken() -> None:
    painted = boxes((1, 0, 32, 6, 7))
    got = copy_cells(painted, PREDICTED).plane
    assert (got[:10, :6] > 1).all()
    assert not got[:10, 7:10].any()


def test_unknown_pixels_stay_and_are_counted() -> None:
    painted = boxes((-1, 0, 10, 0, 10), (3, 20, 30, 0, 10))
    got = copy_cells(painted, PREDICTED)
    assert (got.copied, got.skipped, got.unknown) == (1, 2, 1)
    assert (got.plane[:10, :10] == -1).all()


def test_overwriting_copies_all_and_keeps_what_no_cell_reaches() -> None:
    painted = boxes((1, 1, 11, 1, 11), (4, 8, 32, 25, 32), (6, 20, 30, 20, 30), (-1, 12, 32, 0, 12))
    got = copy_cells(painted, PREDICTED, overwrite=True)
    assert got.copied == 3
    new = got.plane
    assert [len(np.unique(new[n == PREDICTED])) for n in (2, 5, 9)] == [1, 1, 1]
    assert len(np.unique(new[PREDICTED > 0])) == 3
    assert not (new == 1).any()  # covered by more than half: no rest of it
    free = PREDICTED == 0
    np.testing.assert_array_equal((new == 4)[free], (painted == 4)[free])
    np.testing.assert_array_equal(new == 6, painted == 6)
    np.testing.assert_array_equal((new == -1)[free], (painted == -1)[free])


def test_large_and_missing_numbers() -> None:
    painted = boxes((2_000_000_000, 12, 16, 12, 16))
    assert copy_cells(painted, PREDICTED).plane.max() == 2_000_000_003
    np.testing.assert_array_equal(copy_cells(painted, np.zeros(SHAPE, np.uint16)).plane, painted)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(32, 32\) pixels, the prediction \(8, 8\)"):
        copy_cells(PREDICTED, PREDICTED[:8, :8])
    with pytest.raises(ValueError, match="of the same frame"):
        copy_classes(PREDICTED, PREDICTED[:8, :8], LabelKind.CLASSES)


CLASSES = boxes((1, 0, 10, 0, 10), (2, 0, 10, 20, 30)).astype(np.uint8)


@pytest.mark.parametrize(("kind", "offset"), [(LabelKind.CLASSES, 0), (LabelKind.SCRIBBLES, 1)])
def test_classes_fill_what_is_not_painted(kind, offset) -> None:
    painted = boxes((3, 0, 5, 0, 5), (-1, 20, 25, 20, 25))
    new = copy_classes(painted, CLASSES, kind)
    np.testing.assert_array_equal(new[painted != 0], painted[painted != 0])
    free = painted == 0
    np.testing.assert_array_equal(new[free], CLASSES[free] + offset)
    all_new = copy_classes(painted, CLASSES, kind, overwrite=True)
    np.testing.assert_array_equal(all_new, CLASSES.astype(int) + offset)


def test_classes_do_not_go_into_numbered_cells() -> None:
    with pytest.raises(ValueError, match="number cells"):
        copy_classes(PREDICTED, CLASSES, LabelKind.INSTANCES)
