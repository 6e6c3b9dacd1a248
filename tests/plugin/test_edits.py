"""One undo step for each change of a plane."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.layers import Labels

from napari_jnet.plugin.correct.edits import read_plane, replace_plane


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


@pytest.mark.parametrize(
    ("shape", "dtype", "index", "plane", "words"),
    [
        ((8, 8), np.uint8, (), np.full((8, 8), 300), "0 to 255 .*not 300.*convert"),
        ((8, 8), np.uint8, (), np.full((8, 8), -1), "not -1.*convert"),
        ((2, 8, 8), np.int32, (), np.zeros((8, 8), int), "one index for each axis"),
        ((2, 8, 8), np.int32, (1,), np.zeros((8, 9), int), r"\(8, 9\).*does not fit"),
    ],
)
def test_what_does_not_fit_is_refused(shape, dtype, index, plane, words) -> None:
    layer = Labels(np.zeros(shape, dtype))
    with pytest.raises(ValueError, match=words):
        replace_plane(layer, index, plane)
    assert not layer.data.any()


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
