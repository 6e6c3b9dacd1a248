"""Corrections of planes of labels: what they change, and what they must leave alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.draw import disk, ellipse

from napari_jnet.editing import delete, fill, merge, next_label, smooth, split, under

SHAPE = (64, 64)


def plane(*discs: tuple[int, int, int, int]) -> np.ndarray:
    """Return a plane with discs (label, row, column, radius)."""
    labels = np.zeros(SHAPE, np.int32)
    for label, row, column, radius in discs:
        labels[disk((row, column), radius, shape=SHAPE)] = label
    return labels


def parts(mask: np.ndarray) -> int:
    return ndimage.label(mask, np.ones((3, 3)))[1]


TWO = plane((3, 20, 20, 10), (8, 44, 44, 10))


def test_delete_takes_one_cell() -> None:
    new = delete(TWO, 3)
    assert not (new == 3).any()
    np.testing.assert_array_equal(new == 8, TWO == 8)


@pytest.mark.parametrize("change", [delete, fill, smooth])
@pytest.mark.parametrize("label", [0, -1, 5])
def test_cells_that_are_not_there_are_named(change, label) -> None:
    with pytest.raises(ValueError, match=f"no cell {label} in this frame; point at a cell"):
        change(TWO, label)


def test_nothing_changes_what_it_is_given() -> None:
    given = TWO.copy()
    given.setflags(write=False)
    delete(given, 3)
    merge(given, [3, 8])
    split(given, [(20, 0), (20, 40)])
    fill(given, 3)
    smooth(given, 3)


def test_numbers_of_new_cells() -> None:
    assert next_label(TWO) == 9
    assert next_label(np.zeros((4, 4), np.int32)) == 1
    assert next_label(np.full((4, 4), -1)) == 1


# merge


def test_merge_keeps_the_first_number_and_bridges_a_narrow_gap() -> None:
    labels = plane((1, 32, 16, 10), (2, 32, 38, 10))
    gap = (labels == 0)[32, 16:38].sum()
    assert 0 < gap <= 4
    new = merge(labels, [2, 1])
    assert set(np.unique(new)) == {0, 2}
    assert parts(new == 2) == 1
    grown = (new == 2) & (labels == 0)
    assert 0 < grown.sum() < 40  # the neck alone; bays of one cell are left alone


def test_merge_of_distant_cells_only_renumbers() -> None:
    new = merge(TWO, [3, 8])
    np.testing.assert_array_equal(new, np.where(TWO > 0, 3, 0))


def test_merge_steals_nothing_between_the_two() -> None:
    labels = plane((1, 32, 16, 10), (2, 32, 38, 10))
    labels[28:37, 27] = 7
    new = merge(labels, [1, 2])
    np.testing.assert_array_equal(new == 7, labels == 7)


def test_merge_bridges_unknown_pixels_too() -> None:
    labels = plane((1, 32, 16, 10), (2, 32, 38, 10))
    labels[labels == 0] = -1
    new = merge(labels, [1, 2])
    assert parts(new == 1) == 1
    assert (new == 0).sum() == 0


@pytest.mark.parametrize("labels", [[], [3], [3, 3]])
def test_merge_takes_two(labels) -> None:
    with pytest.raises(ValueError, match="takes two or more"):
        merge(TWO, labels)


def test_merge_names_a_missing_cell() -> None:
    with pytest.raises(ValueError, match="no cell 99"):
        merge(TWO, [3, 99])


# split


@pytest.mark.parametrize(
    "stroke",
    [
        [(5, 32), (60, 32)],
        [(60, 10), (5, 55)],
        [(5, 20), (20, 30), (40, 28), (60, 45)],
        [(-20, 33), (90, 33)],
    ],
)
def test_split_cuts_a_cell_in_two_and_loses_no_pixel(stroke) -> None:
    labels = plane((4, 32, 32, 20), (1, 4, 4, 3))
    new = split(labels, stroke)
    assert set(np.unique(new)) == {0, 1, 4, 5}
    np.testing.assert_array_equal(new > 0, labels > 0)
    np.testing.assert_array_equal(new == 1, labels == 1)
    assert parts(new == 4) == parts(new == 5) == 1
    assert (new == 4).sum() >= (new == 5).sum() > 100


def test_the_sides_lie_on_their_sides() -> None:
    new = split(plane((1, 32, 32, 20)), [(0, 24), (63, 24)])
    assert (new[:, :23] != 1).all()
    assert (new[:, 26:] != 2).all()


def test_split_of_several_cells_cuts_those_that_are_crossed() -> None:
    labels = plane((1, 16, 32, 12), (2, 48, 32, 12))
    new = split(labels, [(0, 32), (40, 32)])  # ends within cell 2
    assert set(np.unique(new)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(new == 2, labels == 2)
    both = split(labels, [(0, 32), (63, 32)])
    assert set(np.unique(both)) == {0, 1, 2, 3, 4}


def test_a_stroke_to_and_fro_cuts_in_three() -> None:
    new = split(plane((1, 32, 32, 20)), [(5, 26), (60, 26), (60, 40), (5, 40)])
    assert set(np.unique(new)) == {0, 1, 2, 3}


def test_slivers_are_no_cells() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[10:50, 10:50] = 1
    with pytest.raises(ValueError, match="does not separate cell 1; begin and end it outside"):
        split(labels, [(5, 10), (20, 10), (60, 10)])


def test_a_cell_in_pieces_is_cut_where_it_is_crossed() -> None:
    labels = plane((1, 14, 32, 10), (1, 48, 32, 10))
    new = split(labels, [(0, 32), (28, 32)])
    assert set(np.unique(new)) == {0, 1, 2}
    np.testing.assert_array_equal(new[30:], labels[30:])


@pytest.mark.parametrize(
    ("stroke", "words"),
    [
        ([(32, 32)], "single point"),
        ([(0, 0), (0, 9)], "crosses no cell"),
        ([(0, 32), (32, 32)], "does not separate cell 1"),
        ([(100, 100), (120, 120)], "crosses no cell"),
    ],
)
def test_strokes_that_do_not_separate_say_so(stroke, words) -> None:
    with pytest.raises(ValueError, match=words):
        split(plane((1, 32, 32, 20)), stroke)


# fill


def test_fill_takes_background_and_unknown_in_holes_only() -> None:
    labels = plane((1, 32, 32, 20))
    labels[30:36, 30:36] = 0
    labels[20:23, 32:35] = -1
    labels[40:43, 30:33] = 6
    labels[39:44, 33] = 0
    new = fill(labels, 1)
    filled = plane((1, 32, 32, 20))
    filled[labels == 6] = 6
    np.testing.assert_array_equal(new, filled)


def test_an_open_bay_and_the_border_of_the_frame_are_no_holes() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[:20, 10:30] = 1
    labels[:10, 15:25] = 0
    labels[40:60, 20:40] = 1
    labels[50:, 28:32] = 0
    np.testing.assert_array_equal(fill(labels, 1), labels)


# smooth


def ragged() -> np.ndarray:
    random = np.random.default_rng(1)
    noise = ndimage.gaussian_filter(random.normal(size=SHAPE), 1.5)
    rows, columns = np.mgrid[:64, :64]
    found, _ = ndimage.label(np.hypot(rows - 32, columns - 32) + 15 * noise < 18)
    return ndimage.binary_fill_holes(found == found[32, 32]).astype(np.int32)


def outline(mask: np.ndarray) -> int:
    return int((mask ^ ndimage.binary_erosion(mask)).sum())


def test_smooth_shortens_a_ragged_outline_and_keeps_the_size() -> None:
    labels = ragged()
    new = smooth(labels, 1)
    assert outline(new == 1) < 0.8 * outline(labels == 1)
    assert abs(int(new.sum()) - int(labels.sum())) < 0.1 * labels.sum()


def test_smooth_never_touches_neighbours_nor_the_shared_border() -> None:
    labels = ragged()
    labels[:, 32:][labels[:, 32:] == 1] = 2
    new = smooth(labels, 1)
    np.testing.assert_array_equal(new == 2, labels == 2)
    shared = ndimage.binary_dilation(labels == 2) & (labels == 1)
    shared &= ndimage.binary_erosion(labels > 0, iterations=4)
    assert shared.any()
    assert (new[shared] == 1).all()


@pytest.mark.parametrize("background", [0, -1])
def test_lost_pixels_become_what_is_around(background) -> None:
    labels = ragged()
    labels[labels == 0] = background
    new = smooth(labels, 1)
    assert (new != 1)[labels == 1].any()
    assert set(np.unique(new)) == {background, 1}


@pytest.mark.parametrize("size", [(1, 1), (1, 20), (2, 2), (20, 2)])
def test_small_and_thin_cells_do_not_vanish(size) -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[20 : 20 + size[0], 20 : 20 + size[1]] = 5
    new = smooth(labels, 5, radius=6)
    assert (new == 5).sum() >= 1
    assert parts(new == 5) == 1


def test_a_thin_neck_is_not_broken() -> None:
    labels = plane((1, 32, 14, 12), (1, 32, 50, 12))
    labels[31:33, 14:50] = 1
    assert parts(smooth(labels, 1, radius=5) == 1) == 1


def test_the_border_of_the_frame_does_not_round_a_cell() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[:20, :] = 1
    np.testing.assert_array_equal(smooth(labels, 1), labels)


# strokes and parts


def test_cells_under_a_stroke_in_its_order() -> None:
    assert under(TWO, [(50, 44), (44, 44), (20, 20), (-5, 20)]) == [8, 3]
    assert under(TWO, [(0, 0)]) == []
    assert under(TWO, [(20, 20)]) == [3]


def test_an_ellipse_is_cut_across() -> None:
    labels = np.zeros(SHAPE, np.int32)
    labels[ellipse(32, 32, 8, 28)] = 1
    new = split(labels, [(20, 34), (45, 30)])
    left, right = (new == 2), (new == 1)
    assert abs(int(left.sum()) - int(right.sum())) < 0.1 * labels.sum()


def test_whatever_the_stroke_no_pixel_is_lost_and_no_side_falls_apart() -> None:
    random = np.random.default_rng(0)
    labels = ragged()
    cuts = 0
    for _ in range(40):
        stroke = [tuple(point) for point in random.uniform(0, 64, (6, 2))]
        try:
            new = split(labels, stroke)
        except ValueError:
            continue
        cuts += 1
        np.testing.assert_array_equal(new > 0, labels > 0)
        assert all(parts(new == label) == 1 for label in np.unique(new)[1:])
    assert cuts > 20
