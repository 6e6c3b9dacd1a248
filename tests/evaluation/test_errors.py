"""The map of errors: every kind alone, mixtures, specks and unknown pixels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.evaluation.errors import ErrorKind, error_map, pixel_error_map

MISSED, FALSE, SPLIT, MERGED = 1, 2, 3, 4


def two_cells() -> np.ndarray:
    labels = np.zeros((20, 50), np.int32)
    labels[5:15, 4:20] = 3
    labels[5:15, 24:40] = 8
    return labels


def kinds(errors):
    return sorted((int(e.kind), e.reference, e.result) for e in errors)


def test_right_is_nothing():
    cells = two_cells()
    plane, errors = error_map(cells, np.where(cells == 3, 77, cells))
    assert not plane.any() and plane.dtype == np.uint8 and errors == []


def test_missed():
    cells = two_cells()
    plane, errors = error_map(cells, np.where(cells == 3, 0, cells))
    assert kinds(errors) == [(MISSED, (3,), ())]
    assert ((plane == MISSED) == (cells == 3)).all()
    assert errors[0].centroid == (9.5, 11.5)
    assert errors[0].pixels == 160


def test_false():
    cells = two_cells()
    result = cells.copy()
    result[16:20, 44:50] = 5
    plane, errors = error_map(cells, result)
    assert kinds(errors) == [(FALSE, (), (5,))]
    assert ((plane == FALSE) == (result == 5)).all()
    assert errors[0].centroid == (17.5, 46.5)


def test_badly_outlined_is_missed_and_false():
    cells = two_cells()
    result = np.where(cells == 8, 8, 0)
    result[0:15, 4:8] = 3
    assert kinds(error_map(cells, result)[1]) == [(MISSED, (3,), ()), (FALSE, (), (3,))]


@pytest.mark.parametrize("column", [8, 12, 15])
def test_split(column):
    cells = two_cells()
    result = cells.copy()
    result[:, column:20][result[:, column:20] == 3] = 9
    plane, errors = error_map(cells, result)
    assert kinds(errors) == [(SPLIT, (3,), (3, 9))]
    assert ((plane == SPLIT) == (cells == 3)).all()


def test_split_into_many_small_parts():
    cells = two_cells()
    rows, columns = np.indices(cells.shape)
    result = np.where(cells == 3, 100 + rows // 2 * 50 + columns // 2, cells)
    _, errors = error_map(cells, result)
    assert [(e.kind, e.reference) for e in errors] == [(SPLIT, (3,))]
    assert len(errors[0].result) == len(np.unique(result[cells == 3]))


def test_merged():
    cells = two_cells()
    result = np.zeros_like(cells)
    result[5:15, 4:40] = 2
    plane, errors = error_map(cells, result)
    assert kinds(errors) == [(MERGED, (3, 8), (2,))]
    assert ((plane == MERGED) == (result == 2)).all()
    assert errors[0].centroid == (9.5, 21.5)


def test_a_mixture():
    cells = two_cells()
    cells[0:4, 0:10] = 11
    cells[16:20, 0:10] = 12
    result = np.zeros_like(cells)
    result[5:15, 4:40] = 2  # merges 3 and 8
    result[0:4, 0:5] = 4  # 11 is split
    result[0:4, 5:10] = 5
    result[16:20, 40:50] = 6  # false, and 12 is missed
    plane, errors = error_map(cells, result)
    assert kinds(errors) == [
        (MISSED, (12,), ()),
        (FALSE, (), (6,)),
        (SPLIT, (11,), (4, 5)),
        (MERGED, (3, 8), (2,)),
    ]
    assert set(np.unique(plane)) == {0, 1, 2, 3, 4}
    assert [e.pixels for e in errors] == sorted((e.pixels for e in errors), reverse=True)


def test_a_speck_is_a_false_cell_and_no_split():
    cells = two_cells()
    result = cells.copy()
    result[5:7, 4:6] = 9
    assert kinds(error_map(cells, result)[1]) == [(FALSE, (), (9,))]


def test_specks_in_a_missed_cell_are_no_split():
    cells = two_cells()
    result = np.where(cells == 8, 8, 0)
    result[6:8, 6:8] = 1
    result[10:12, 10:12] = 2
    assert kinds(error_map(cells, result)[1]) == [
        (MISSED, (3,), ()),
        (FALSE, (), (1,)),
        (FALSE, (), (2,)),
    ]


def test_nothing_is_false_where_nobody_knows():
    cells = two_cells()
    cells[:, 21:] = -1
    result = two_cells()
    plane, errors = error_map(cells, result)
    assert not plane.any() and errors == []
    result[result == 3] = 0
    assert kinds(error_map(cells, result)[1]) == [(MISSED, (3,), ())]


def test_volumes_and_large_numbers():
    reference = np.zeros((3, 8, 9), np.int32)
    reference[:, 2:6, 2:6] = 2_000_000
    result = np.zeros_like(reference)
    result[:, 2:6, 2:4], result[:, 2:6, 4:6] = 3_000_000, 7
    plane, errors = error_map(reference, result)
    assert kinds(errors) == [(SPLIT, (2_000_000,), (7, 3_000_000))]
    assert errors[0].centroid == (1.0, 3.5, 3.5)
    assert (plane > 0).sum() == 48


def test_pixels_of_classes():
    reference = np.array([[0, 1, 2, -1, 1, 0]])
    result = np.array([[0, 0, 1, 5, 1, 2]])
    expected = [0, ErrorKind.MISSED, ErrorKind.WRONG_CLASS, 0, 0, ErrorKind.FALSE]
    assert pixel_error_map(reference, result).tolist() == [expected]


def test_shapes_differ():
    for function in (error_map, pixel_error_map):
        with pytest.raises(ValueError, match="same frame"):
            function(np.zeros((3, 4), int), np.zeros((4, 3), int))
