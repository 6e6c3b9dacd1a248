"""Cells in pieces: found, numbered apart, and measured one by one."""

from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.config import Config
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.labels import UNKNOWN, LabelKind, cells_in_pieces, number_apart, numbered_pieces
from napari_jnet.training.estimate import adapt, typical_diameter
from napari_jnet.training.setup import annotation_warnings

SIZE = 128


def discs(*found: tuple[int, int, int, int]) -> np.ndarray:
    """Return a frame with discs (number, row, column, radius)."""
    labels = np.zeros((SIZE, SIZE), np.int32)
    rows, columns = np.ogrid[:SIZE, :SIZE]
    for number, row, column, radius in found:
        labels[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return labels


APART = discs((2, 20, 20, 10), (2, 20, 60, 8), (2, 100, 100, 9), (5, 60, 60, 9))


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_a_number_on_three_pieces_is_found_and_numbered_apart(dtype) -> None:
    labels = APART.astype(dtype)
    assert cells_in_pieces(labels) == {2: 3}
    apart = number_apart(labels, 7)
    assert not cells_in_pieces(apart)
    assert set(np.unique(apart)) == {0, 2, 5, 7, 8}
    assert apart[20, 20] == 2  # the largest keeps its number
    assert ((apart > 0) == (labels > 0)).all()
    assert cells_in_pieces(labels) == {2: 3}  # what is given stays


def test_numbers_beyond_32_bits_stay() -> None:
    labels = APART.astype(np.int64) * 10**10
    apart = number_apart(labels, 10**11)
    assert set(np.unique(apart)) == {0, 2 * 10**10, 5 * 10**10, 10**11, 10**11 + 1}


def test_pixels_that_meet_at_a_corner_and_slips_of_the_brush_are_no_pieces() -> None:
    labels = np.zeros((SIZE, SIZE), np.int32)
    labels[10:30, 10:30], labels[30:50, 30:50] = 1, 1
    labels[100, 100] = 1
    assert not cells_in_pieces(labels)
    assert (number_apart(labels, 2) == labels).all()


def test_unknown_pixels_are_no_cell_and_keep_their_place() -> None:
    labels = np.where(APART == 0, UNKNOWN, APART)
    assert cells_in_pieces(labels) == {2: 3}
    assert ((number_apart(labels, 7) == UNKNOWN) == (labels == UNKNOWN)).all()


def test_pieces_of_a_volume_may_hang_together_through_another_section() -> None:
    volume = np.zeros((3, 16, 16), np.int32)
    volume[0, 4, 4], volume[0, 4, 12], volume[1, 4, 4:13] = 1, 1, 1
    assert not cells_in_pieces(volume)
    assert numbered_pieces(volume).max() == 1
    volume[1, 4, 8] = 0
    assert cells_in_pieces(volume) == {1: 2}


def test_a_frame_without_cells_has_no_pieces() -> None:
    for empty in (np.zeros((8, 8), np.int32), np.full((8, 8), UNKNOWN)):
        assert not cells_in_pieces(empty)
        assert (number_apart(empty, 1) == empty).all()


def frame(labels: np.ndarray, kind: LabelKind = LabelKind.INSTANCES) -> AnnotatedFrame:
    return AnnotatedFrame("01/t005", labels.astype(np.float32), labels, kind)


def test_sizes_are_those_of_the_pieces_whatever_their_numbers() -> None:
    mistaken, right = frame(APART), frame(number_apart(APART, 7))
    assert typical_diameter([mistaken]) == typical_diameter([right])
    assert adapt(Config(), [mistaken]) == adapt(Config(), [right])


def test_a_training_names_the_frames_where_one_number_is_on_several_pieces() -> None:
    whole = AnnotatedFrame("01/t006", np.zeros((SIZE, SIZE)), number_apart(APART, 7))
    said = [
        text for text in annotation_warnings([frame(APART)], [whole], Config()) if "pieces" in text
    ]
    assert len(said) == 1
    assert "cell 2 of 01/t005" in said[0]
    assert "01/t006" not in said[0]
    classes = frame(np.minimum(APART, 1), LabelKind.CLASSES)
    assert not [
        text for text in annotation_warnings([classes], [classes], Config()) if "pieces" in text
    ]
