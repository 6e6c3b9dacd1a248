"""Scores of labels in memory: the same as those of files, and what is said besides."""

from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.evaluation import objects
from napari_jnet.evaluation.evaluate import FrameLabels, evaluate_labels
from napari_jnet.evaluation.rand import best_scores, section_sums
from napari_jnet.labels import LabelKind, contingency


def cells(shift: int = 0) -> np.ndarray:
    labels = np.zeros((30, 40), np.int32)
    labels[3 + shift : 12 + shift, 4:14] = 7
    labels[3:12, 16:30] = 8
    labels[20:28, 10:20] = 9
    return labels


def pairs():
    found = cells(2)
    found[found == 9] = 0
    found[25:29, 30:39] = 3
    return [(4, cells(), cells()), (9, cells(), found)]


def test_equals_the_metrics():
    *frames, scores = evaluate_labels(pairs(), result="cells", truth="gold")
    tables = [contingency(reference, result) for _, reference, result in pairs()]
    assert [frame.number for frame in frames] == [4, 9]
    assert scores.frames == tuple(frames)
    assert (scores.result, scores.truth) == ("cells", "gold")
    assert scores.seg == pytest.approx(
        np.concatenate([objects.seg_frame(t) for t in tables]).mean()
    )
    assert scores.det == pytest.approx(objects.det_score(sum(map(objects.det_frame, tables))))
    counts = sum(objects.ap_frame(table, np.zeros(len(table.columns))) for table in tables)
    precision = objects.average_precision(counts)
    assert scores.ap50 == precision[0] and scores.ap75 == precision[5]
    assert scores.ap == pytest.approx(precision.mean())
    assert (frames[0].ap50, frames[0].ap75, frames[0].ap) == (1, 1, 1)
    assert frames[1].ap50 == 2 / 4
    assert (scores.objects, scores.missed) == (6, 1)


def test_det_needs_a_frame_that_is_known_whole():
    partial = np.where(cells() == 0, -1, cells())
    *frames, scores = evaluate_labels([(0, partial, cells()), (1, cells(), cells())])
    assert [frame.det for frame in frames] == [None, 1.0]
    assert scores.det == 1.0
    assert scores.ap50 == 1.0


def test_a_volume_of_one_annotated_plane():
    volume = np.full((3, 30, 40), -1, np.int32)
    volume[1] = cells()
    found = np.repeat(cells()[None], 3, axis=0)
    *_, scores = evaluate_labels([(0, volume, found)], axes="TZYX")
    assert scores.seg == scores.ap == scores.pixel_accuracy == 1.0


def test_cells_that_no_threshold_parts_count_for_v_rand():
    labels = np.ones((24, 25), np.int32)
    labels[:, 11:14] = 0
    leaking = np.where(labels == 1, 0.9, 0.1)
    leaking[4] = 0.95
    cells = np.where(np.arange(25) < 12, 1, 2) * np.ones((24, 1), int)
    frames = [FrameLabels(n, labels, cells, probability=p) for n, p in enumerate((leaking, None))]
    *_, scores = evaluate_labels(frames, kind=LabelKind.CLASSES, axes="ZYX")
    assert best_scores(section_sums(labels, leaking))[0] < 0.7
    assert scores.v_rand == scores.v_info == 1
    *_, merged = evaluate_labels(
        [frame._replace(objects=np.ones_like(cells)) for frame in frames],
        kind=LabelKind.CLASSES,
        axes="ZYX",
    )
    assert merged.v_rand < 0.7


def test_classes_and_membranes():
    labels = np.ones((24, 25), np.int32)
    labels[:, 11:14] = 0
    probability = np.where(labels == 1, 0.9, 0.1)
    probability[:, 11] = 0.6
    frame = FrameLabels(0, labels, (probability > 0.5).astype(int), probability=probability)
    *_, scores = evaluate_labels([frame], kind=LabelKind.CLASSES, axes="ZYX")
    assert scores.v_rand == pytest.approx(best_scores(section_sums(labels, probability))[0])
    assert scores.pixel_accuracy == pytest.approx(1 - 24 / labels.size)
    assert scores.seg is None and scores.ap50 is None and scores.det is None
    classes = labels * 2
    several = FrameLabels(0, classes, labels, classes=np.minimum(classes, 1))
    *_, scores = evaluate_labels([several], kind=LabelKind.CLASSES)
    assert scores.iou == 1.0 and scores.v_rand is None
    assert scores.pixel_accuracy == pytest.approx(3 / 25)


def test_frames_are_taken_one_by_one():
    taken = []

    def frames():
        for pair in pairs():
            taken.append(pair[0])
            yield pair

    job = evaluate_labels(frames())
    next(job)
    assert taken == [4]


def test_bad_input():
    with pytest.raises(ValueError, match="No frame has both gold and cells"):
        list(evaluate_labels([], result="cells", truth="gold"))
    with pytest.raises(ValueError, match=r"Frame 3: .*\(30, 40\).*\(30, 39\)"):
        list(evaluate_labels([(3, cells(), cells()[:, 1:])], result="cells"))
    with pytest.raises(ValueError, match="holds label -2"):
        list(evaluate_labels([(3, cells(), cells() - 2)]))
    with pytest.raises(ValueError, match="Frame 3 is there twice"):
        list(evaluate_labels([(3, cells(), cells()), (3, cells(), cells())]))
    with pytest.raises(ValueError, match=r"Frame 0: The result is of type float64"):
        list(evaluate_labels([(0, cells(), cells() + 0.5)]))


def test_numbers_beyond_64_bits_are_no_other_numbers():
    """They would turn negative, and the objects would be missing without a word."""
    for factor in (2**33, 2**59):
        *_, scores = evaluate_labels([(0, cells(), cells().astype(np.uint64) * np.uint64(factor))])
        assert scores.seg == scores.det == scores.ap == 1
    with pytest.raises(ValueError, match=f"holds label {9 * 2**60}.*Renumber the objects"):
        list(evaluate_labels([(0, cells(), cells().astype(np.uint64) * np.uint64(2**60))]))


def test_true_and_false_are_one_object_and_background():
    *_, scores = evaluate_labels([(0, cells() == 8, cells() == 8)])
    assert scores.seg == scores.iou == 1 and scores.objects == 1
