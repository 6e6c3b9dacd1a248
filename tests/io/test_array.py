from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.io.axes import array_stack
from napari_jnet.io.stack import AmbiguousInput, annotated_frames
from napari_jnet.labels import UNKNOWN, LabelKind


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
        ((5,), None, "axes unknown and size 5;"),
        ((2, 2, 2, 2, 2), None, "Save one channel, or one time point"),
        ((4, 4), "TYX", "do not fit"),
        ((4, 4, 4), "XYT", "do not fit"),
        ((0, 4, 4), None, "at least one pixel"),
    ],
)
def test_bad_arrays(shape, axes, words):
    with pytest.raises(ValueError, match=words):
        array_stack(np.zeros(shape), axes=axes)


def labelled_movie() -> tuple[np.ndarray, np.ndarray]:
    """Return a movie in three channels, and labels: two frames labelled, one of them in part."""
    images = np.arange(4 * 20 * 30 * 3, dtype=np.float32).reshape(4, 20, 30, 3)
    labels = np.zeros((4, 20, 30), np.uint16)
    labels[1, 2:8, 2:8] = 5
    labels[3, 9:15, 9:15] = 7
    return images, labels


def test_labels_of_an_array_are_its_annotation():
    images, labels = labelled_movie()
    stack = array_stack(images, name="movie", labels=labels, kind="instances")
    assert stack.annotation().frame_numbers == (1, 3)
    first, second = annotated_frames(stack)
    assert [first.name, second.name] == ["movie/t001", "movie/t003"]
    assert np.array_equal(first.image, images[1]) and np.array_equal(first.labels, labels[1])
    assert second.kind is LabelKind.INSTANCES and "movie" not in second.origin


def test_unknown_pixels_and_unlabelled_planes_of_an_array_stay_unknown():
    labels = np.zeros((2, 3, 20, 30), np.int32)
    labels[1, 1, 2:8, 2:8] = 1
    labels[1, 1, 10:] = UNKNOWN
    stack = array_stack(labels.astype(np.float32), labels=labels, kind="instances")
    (plane,) = annotated_frames(stack)
    assert plane.name == "image/t001 z01"
    assert (plane.labels == labels[1, 1]).all()


def test_what_labels_of_an_array_mean_is_decided_or_given():
    images, labels = labelled_movie()
    with pytest.raises(AmbiguousInput, match=r"labels of 'movie'.*--kind"):
        _ = array_stack(images, name="movie", labels=labels).annotation().kind
    with pytest.raises(ValueError, match=r"kind is 'cells'; labels are instances, classes"):
        array_stack(images, labels=labels, kind="cells")
    classes = array_stack(images, labels=labels, kind=LabelKind.CLASSES)
    assert classes.annotation().kind is LabelKind.CLASSES
    assert np.unique(classes.annotation().frame(3)).tolist() == [0, 2]


def test_labels_of_another_size_or_type_are_refused():
    images, labels = labelled_movie()
    with pytest.raises(ValueError, match=r"\(4, 20, 29\).*\(4, 20, 30\)"):
        array_stack(images, labels=labels[:, :, 1:], kind="instances")
    wrong = array_stack(images, labels=labels + 0.5, kind="instances")
    with pytest.raises(ValueError, match="frame 0: Labels are float64"):
        annotated_frames(wrong)
    none = array_stack(images, labels=labels * 0, kind="instances")
    with pytest.raises(ValueError, match="no label in any frame"):
        annotated_frames(none)
