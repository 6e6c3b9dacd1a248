"""Measured objects: by hand, in units, in volumes, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import perimeter

from napari_jnet.measure import measure_frame


def labels() -> np.ndarray:
    plane = np.zeros((20, 30), np.int32)
    plane[2:6, 3:13] = 4
    plane[10:18, 20:28] = 900
    plane[0, 0] = -1
    return plane


def test_by_hand():
    image = np.arange(600, dtype=np.float32).reshape(20, 30)
    small, large = measure_frame(labels(), image, number=7)
    assert (small.number, small.label, large.label) == (7, 4, 900)
    assert (small.area_px, large.area_px) == (40, 64)
    assert small.centroid_px == (3.5, 7.5)
    assert small.diameter_px == pytest.approx(2 * np.sqrt(40 / np.pi))
    inside = image[labels() == 4]
    assert (small.mean, small.minimum, small.maximum) == (inside.mean(), inside.min(), inside.max())
    assert small.perimeter_px == pytest.approx(perimeter(labels() == 4))


def test_confidence_is_that_of_the_number():
    sure = np.full(5, np.nan)
    sure[3] = 0.25
    small, large = measure_frame(labels(), confidence=sure)
    assert (small.label, small.confidence) == (4, 0.25)
    assert large.confidence is None
    assert measure_frame(labels())[0].confidence is None


def test_in_units():
    _, cell = measure_frame(labels(), scale=(0.5, 0.5))
    assert cell.area == 16
    assert cell.centroid == (0.5 * 13.5, 0.5 * 23.5)
    assert cell.diameter == pytest.approx(cell.diameter_px / 2)
    assert cell.perimeter == pytest.approx(cell.perimeter_px / 2)
    assert (cell.mean, cell.minimum, cell.maximum) == (None, None, None)


def test_no_length_of_outline_where_pixels_are_not_square():
    cell, _ = measure_frame(labels(), scale=(2.0, 0.5))
    assert cell.area == 40
    assert cell.perimeter is None and cell.perimeter_px is not None


def test_a_volume():
    ball = np.sum((np.indices((21, 21, 21)) - 10) ** 2, axis=0) <= 64
    (found,) = measure_frame(ball.astype(np.int32), scale=(2, 1, 1))
    assert found.area_px == ball.sum() and found.area == 2 * ball.sum()
    assert found.diameter_px == pytest.approx(16, rel=0.03)
    assert found.centroid_px == (10, 10, 10) and found.centroid == (20, 10, 10)
    assert found.perimeter_px is None and found.perimeter is None


def test_colours_are_averaged():
    image = np.zeros((20, 30, 3), np.uint8)
    image[..., 0] = 30
    assert measure_frame(labels(), image)[0].mean == 10


def test_nothing_to_measure():
    assert measure_frame(np.zeros((4, 5), np.int32), np.zeros((4, 5))) == []
    assert measure_frame(np.full((4, 5), -1, np.int32)) == []


def test_bad_input():
    with pytest.raises(ValueError, match="same pixels"):
        measure_frame(labels(), np.zeros((20, 29)))
    with pytest.raises(ValueError, match="one number an axis"):
        measure_frame(labels(), scale=(1, 1, 1))


def test_ids_of_many_digits_take_no_more_memory_than_others():
    numbers = np.array([0, 2**40, 2**62], np.uint64)
    plane = numbers[np.repeat([[1, 0, 2]], 3, axis=0)]
    assert [(cell.label, cell.area_px) for cell in measure_frame(plane)] == [(2**40, 3), (2**62, 3)]
    assert [cell.label for cell in measure_frame(plane[:, :1])] == [2**40]


@pytest.mark.parametrize(
    ("plane", "image", "scale", "words"),
    [
        (labels().astype(float), None, (), "float64"),
        (labels(), np.ones((20, 30), complex), (), "complex128"),
        (labels(), None, (0, 1), "not 0"),
        (labels(), None, (1, float("nan")), "finite"),
    ],
)
def test_what_gives_no_sizes_is_refused(plane, image, scale, words):
    with pytest.raises(ValueError, match=words):
        measure_frame(plane, image, scale=scale)
