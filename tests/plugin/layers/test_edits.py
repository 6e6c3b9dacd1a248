"""One undo step for each change of a plane."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Labels

from napari_jnet.plugin.layers.edit import read_plane, replace_plane


def test_only_what_differs_is_written_and_one_undo_takes_it_back() -> None:
    layer = Labels(np.zeros((3, 8, 8), np.int32))
    layer.paint((1, 2, 2), 7)
    before = layer.data.copy()
    strokes = []
    layer.events.paint.connect(lambda event: strokes.append(event.value))
    new = read_plane(layer, (1,))
    new[5, :4] = (1, 2, 3, -1)

    assert replace_plane(layer, (1,), new) == 4
    np.testing.assert_array_equal(layer.data[1], new)
    assert not layer.data[[0, 2]].any()
    assert sum(len(indices[0]) for stroke in strokes for indices, *_ in stroke) == 4
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    layer.redo()
    np.testing.assert_array_equal(layer.data[1], new)


def test_nothing_differs_nothing_is_done() -> None:
    layer = Labels(np.ones((8, 8), np.int32))
    strokes = []
    layer.events.paint.connect(strokes.append)
    assert replace_plane(layer, (), np.ones((8, 8), np.int32)) == 0
    assert strokes == []


def test_planes_of_volumes() -> None:
    layer = Labels(np.zeros((2, 3, 8, 8), np.uint16))
    assert replace_plane(layer, (1, 2), np.full((8, 8), 4)) == 64
    assert layer.data.sum() == 4 * 64
    assert read_plane(layer, (1, 2)).dtype == np.int32


def test_pyramids_are_refused() -> None:
    layer = Labels([np.zeros((16, 16), np.int32), np.zeros((8, 8), np.int32)], multiscale=True)
    with pytest.raises(ValueError, match="pyramid"):
        replace_plane(layer, (), np.zeros((16, 16), np.int32))


def test_labels_that_can_only_be_read_are_refused() -> None:
    fixed = np.zeros((16, 16), np.int32)
    fixed.setflags(write=False)
    lazy = pytest.importorskip("dask.array").zeros((16, 16), dtype=np.int32)
    for data in (fixed, lazy):
        with pytest.raises(ValueError, match=r"can only be read.*new annotation"):
            replace_plane(Labels(data), (), np.ones((16, 16), np.int32))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("visible", [True, False])
def test_a_type_that_is_too_small_becomes_int32_and_undo_stays(dtype, visible) -> None:
    data = np.zeros((2, 8, 8), dtype)
    data[0, :2] = np.iinfo(np.int8).max
    layer, before = Labels(data, visible=visible), data.copy()
    layer.data_setitem((np.array([1]), np.array([4]), np.array([4])), 5)
    new = read_plane(layer, (0,))
    new[7] = -1, -1, -1, -1, 40_000, 70_000, 128, 256

    assert replace_plane(layer, (0,), new) == 8
    assert layer.dtype == np.int32
    np.testing.assert_array_equal(layer.data[0], new)
    assert layer.visible is visible
    layer.undo()
    layer.undo()
    np.testing.assert_array_equal(layer.data, before)
    layer.redo()
    layer.redo()
    np.testing.assert_array_equal(layer.data[0], new)


def test_a_type_that_is_large_enough_stays() -> None:
    for dtype, label in ((np.int64, -1), (np.int16, -1), (np.uint16, 256), (np.uint8, 255)):
        layer = Labels(np.zeros((8, 8), dtype))
        replace_plane(layer, (), np.full((8, 8), label))
        assert layer.dtype == dtype


@pytest.mark.parametrize(
    ("dtype", "label"), [(np.uint32, 2**31), (np.int64, 2**40), (np.int64, -(2**31) - 1)]
)
def test_numbers_that_no_cell_can_have_are_never_turned_into_others(dtype, label) -> None:
    layer = Labels(np.full((8, 8), label, dtype))
    with pytest.raises(ValueError, match=rf"hold the number {label}; .*lower numbers"):
        read_plane(layer, ())


def test_labels_that_cannot_become_int32_say_so(tmp_path) -> None:
    file = np.memmap(tmp_path / "labels", np.uint8, "w+", shape=(8, 8))
    large = np.zeros((2, 8, 8), np.uint32)
    large[1] = 2**32 - 1
    for layer, index, words in (
        (Labels(file), (), "hold 0 to 255 .*not -1.*not in memory.*New annotation"),
        (Labels(large), (0,), "not -1.*up to 4294967295.*lower numbers"),
    ):
        before = np.array(layer.data)
        with pytest.raises(ValueError, match=words):
            replace_plane(layer, index, np.full((8, 8), -1))
        np.testing.assert_array_equal(layer.data, before)
