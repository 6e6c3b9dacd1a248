from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.data import array_stack


@pytest.mark.parametrize(
    ("shape", "axes", "length", "frame"),
    [
        ((20, 30), "TYX", 1, (20, 30)),
        ((20, 30, 3), "TYXC", 1, (20, 30, 3)),
        ((7, 20, 30), "TYX", 7, (20, 30)),
        ((7, 20, 30, 4), "TYXC", 7, (20, 30, 4)),
        ((7, 5, 20, 30), "TZYX", 7, (5, 20, 30)),
    ],
)
def test_axes_are_guessed(shape, axes, length, frame):
    array = np.arange(np.prod(shape)).reshape(shape)
    stack = array_stack(array, name="layer")
    assert (stack.axes, len(stack), stack.shape) == (axes, length, frame)
    assert len(stack.scale) == len(stack.units) == len(axes.replace("C", ""))
    last = array if length == 1 else array[-1]
    assert np.array_equal(stack.frame(stack.frame_numbers[-1]), last)


def test_axes_may_be_given():
    assert array_stack(np.zeros((3, 4, 5)), axes="zyx").axes == "ZYX"


def test_frames_are_read_one_by_one():
    class Lazy:
        shape = (1000000, 4, 4)
        dtype = np.dtype("uint8")

        def __getitem__(self, index):
            return np.full((4, 4), index, np.uint8)

    assert (array_stack(Lazy()).frame(255) == 255).all()


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((5,), None, "two to four dimensions"),
        ((2, 2, 2, 2, 2), None, "two to four dimensions"),
        ((4, 4), "TYX", "do not fit"),
        ((4, 4, 4), "XYT", "do not fit"),
        ((0, 4, 4), None, "at least one pixel"),
    ],
)
def test_bad_arrays(shape, axes, words):
    with pytest.raises(ValueError, match=words):
        array_stack(np.zeros(shape), axes=axes)
