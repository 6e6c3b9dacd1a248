"""Scores of results on disk, against py-ctcmetrics and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from napari_jnet.evaluation.evaluate import FrameLabels, evaluate, evaluate_labels
from napari_jnet.events import FramePrediction, FrameScore, Message, Scores
from napari_jnet.io.results import ResultWriter
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.labels import LabelKind, known_labels
from napari_jnet.project.open import open_stack


def scores_of(result, stack, **more) -> tuple[list[FrameScore], Scores]:
    *frames, scores = evaluate(result, stack, **more)
    assert scores.frames == tuple(frames)
    return frames, scores


def cells(number: int, shift: int = 0) -> np.ndarray:
    labels = np.zeros((30, 40), np.uint16)
    labels[3 + shift : 12 + shift, 4:14] = 7
    labels[3:12, 14 + number : 30] = 8
    labels[20:28, 10:20] = 9
    return labels


@pytest.fixture
def dataset(tmp_path):
    """A CTC dataset with markers on four frames and gold truth on two."""
    root = tmp_path / "cells"
    for folder in ("01", "01_GT/SEG", "01_GT/TRA"):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        tifffile.imwrite(root / "01" / f"t{number:03d}.tif", cells(number).astype(np.uint8))
        tifffile.imwrite(root / "01_GT" / "TRA" / f"man_track{number:03d}.tif", cells(number))
    for number in (1, 3):
        tifffile.imwrite(root / "01_GT" / "SEG" / f"man_seg{number:03d}.tif", cells(number))
    (root / "01_GT" / "TRA" / "man_track.txt").write_text("7 0 3 0\n8 0 3 0\n9 0 3 0\n")
    return root


def predictions(stack: Stack, objects, probability=None):
    for position, number in enumerate(stack.frame_numbers):
        found = np.asarray(objects(number)).astype(np.int32)
        inside = (found > 0) * 0.8 if probability is None else probability(number)
        yield FramePrediction(
            position, number, len(stack), inside.astype(np.float32), np.zeros_like(inside), found
        )


def write(folder, stack, objects, frames=None, probability=None):
    with ResultWriter(folder, stack, frames) as writer:
        for prediction in predictions(stack, objects, probability):
            if frames is None or prediction.number in frames:
                writer.write(prediction)
    return folder


def imperfect(number: int) -> np.ndarray:
    found = cells(number, shift=2)
    found[found == 9] = 0 if number == 3 else 9
    found[25:29, 30:39] = 3
    return found


def test_equals_py_ctcmetrics(dataset, tmp_path, capsys):
    ctc_metrics = pytest.importorskip("ctc_metrics")
    stack = open_stack(dataset, sequence="01")
    result = write(tmp_path / "out", stack, imperfect)
    frames, scores = scores_of(result, stack)
    theirs = ctc_metrics.evaluate_sequence(
        str(result / "01_RES"), str(dataset / "01_GT"), metrics=["Valid", "SEG", "DET"], threads=1
    )
    capsys.readouterr()
    assert theirs["Valid"] == 1
    assert scores.seg == pytest.approx(theirs["SEG"], abs=1e-12)
    assert scores.det == pytest.approx(theirs["DET"], abs=1e-12)
    assert 0 < scores.seg < 1 and 0 < scores.det < 1
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.seg is None for frame in frames] == [True, False, True, False]
    assert (scores.objects, scores.missed) == (6, 1)


def test_partial_frame_equals_py_ctcmetrics(dataset, tmp_path, capsys):
    """What sticks out of an annotated object is too much; objects beside it are not."""
    ctc_metrics = pytest.importorskip("ctc_metrics")
    partial = np.where(cells(3) == 7, 7, 0).astype(np.uint16)
    tifffile.imwrite(dataset / "01_GT" / "SEG" / "man_seg003.tif", partial)
    stack = open_stack(dataset, sequence="01")
    assert (stack.annotation("gold").frame(3) == -1).any()
    result = write(tmp_path / "out", stack, imperfect)
    frames, scores = scores_of(result, stack)
    theirs = ctc_metrics.evaluate_sequence(
        str(result / "01_RES"), str(dataset / "01_GT"), metrics=["SEG"], threads=1
    )
    capsys.readouterr()
    assert scores.seg == pytest.approx(theirs["SEG"], abs=1e-12)
    assert scores.objects == 4
    # Only the annotated cell is known: 70 of its 90 pixels are found, nothing else counts.
    assert frames[3].iou == frames[3].pixel_accuracy == pytest.approx(70 / 90)


def test_every_way_to_name_a_result(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    out = write(tmp_path / "out", stack, imperfect)
    found = [
        scores_of(path, stack)[1] for path in (out, out / "01_RES", out / "instances.tif", str(out))
    ]
    assert len({replace(scores, result="").seg for scores in found}) == 1
    assert found[0].result.endswith("01_RES")
    assert found[0].truth == "cells 01, gold"


def test_some_frames_have_no_det(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    out = write(tmp_path / "out", stack, cells, frames=[1, 3])
    frames, scores = scores_of(out, stack)
    assert scores.det is None
    assert scores.seg == scores.iou == scores.mean_iou == 1
    assert [frame.number for frame in frames] == [1, 3]


def test_chosen_frames_only(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    out = write(tmp_path / "out", stack, imperfect, frames=[2, 3])
    frames, scores = scores_of(out, stack, frames=[3])
    assert [frame.number for frame in frames] == [3]
    assert (scores.objects, scores.missed) == (3, 1)
    assert scores.det == frames[0].det == pytest.approx(1 - 11 / 30)
    with pytest.raises(ValueError, match=r"Frame 2 is not annotated in 'gold'"):
        list(evaluate(out, stack, frames=[2]))
    with pytest.raises(FileNotFoundError, match="no result for frames 1,"):
        list(evaluate(out, stack, frames=[1, 3]))


def test_cells_in_an_empty_frame_are_false(dataset, tmp_path):
    """Gold and markers of frame 3 are empty, and so is nobody's result."""
    for name in ("SEG/man_seg003.tif", "TRA/man_track003.tif"):
        tifffile.imwrite(dataset / "01_GT" / name, np.zeros((30, 40), np.uint16))
    stack = open_stack(dataset)
    write(tmp_path / "out", stack, cells)
    frames, scores = scores_of(tmp_path / "out", stack)
    last = next(frame for frame in frames if frame.number == 3)
    assert (last.ap50, last.iou) == (0.0, 0.0)
    assert scores.ap50 == 0.5, "3 of 6 found objects are there"
    assert scores.iou is not None and scores.iou < 0.7


def test_two_masks_for_one_frame_are_refused(dataset, tmp_path):
    stack = open_stack(dataset)
    write(tmp_path / "out", stack, cells)
    tifffile.imwrite(tmp_path / "out/01_RES/mask0003.tif", cells(1))
    with pytest.raises(ValueError, match=r"mask0003\.tif and mask003\.tif for the same frame 3"):
        scores_of(tmp_path / "out", stack)


def test_missing_frames_are_named(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    out = write(tmp_path / "out", stack, cells, frames=[0, 1])
    with pytest.raises(FileNotFoundError, match="no result for frames 3, which 'gold'"):
        list(evaluate(out, stack))


def test_no_result_and_no_truth(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list(evaluate(tmp_path / "nowhere", stack))
    with pytest.raises(FileNotFoundError, match=r"neither masks nor instances\.tif"):
        list(evaluate(dataset, stack))
    with pytest.raises(ValueError, match="no annotation 'silver'; it has gold"):
        list(evaluate(dataset, stack, annotation="silver"))


def test_result_of_another_size(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    write(tmp_path / "out", stack, lambda number: cells(number)[:, :-1])
    with pytest.raises(ValueError, match=r"Frame 0.*\(30, 40\).*\(30, 39\)"):
        list(evaluate(tmp_path / "out", stack))


def test_damaged_and_unfit_files(dataset, tmp_path):
    stack = open_stack(dataset, sequence="01")
    out = write(tmp_path / "out", stack, cells)
    mask = out / "01_RES" / "mask001.tif"
    mask.write_bytes(mask.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"mask001\.tif cannot be read as a TIFF image"):
        list(evaluate(out, stack))
    with pytest.raises(ValueError, match="of type float32; objects are integers"):
        list(evaluate(out / "probability.tif", stack))


def volume(labels: np.ndarray, kind: LabelKind) -> Stack:
    known = known_labels(labels, kind)
    annotation = Annotation("labels", kind, tuple(range(len(labels))), lambda n: known[n])
    return Stack(
        name="membranes",
        format="volume",
        path=None,
        axes="ZYX",
        frame_numbers=tuple(range(len(labels))),
        shape=labels.shape[1:],
        dtype=np.dtype(np.uint8),
        read=lambda n: labels[n],
        annotations={"labels": annotation},
    )


def membranes() -> np.ndarray:
    labels = np.ones((3, 24, 25), np.uint8)
    labels[:, :, 11:14] = 0
    labels[:, 10:12] = 0
    return labels


def test_membranes_have_v_rand_and_v_info(tmp_path):
    labels = membranes()
    stack = volume(labels, LabelKind.CLASSES)
    thin = labels.astype(float)
    thin[:, :, 11] = thin[:, :, 13] = 0.9
    write(tmp_path / "out", stack, lambda n: thin[n] > 0.5, probability=lambda n: thin[n])
    _, scores = scores_of(tmp_path / "out", stack)
    assert scores.seg is None and scores.det is None
    assert scores.v_rand == scores.v_info == pytest.approx(1)
    assert scores.pixel_accuracy == pytest.approx(((thin > 0.5) == labels).mean())
    cell, rest = thin > 0.5, thin <= 0.5
    ious = (labels.sum() / cell.sum(), rest.sum() / (labels == 0).sum())
    assert scores.iou == pytest.approx(ious[0])
    assert scores.mean_iou == pytest.approx(sum(ious) / 2)


def test_unknown_pixels_of_scribbles_do_not_count(tmp_path):
    scribbles = np.zeros((1, 10, 10), np.uint8)
    scribbles[0, 0, :4] = 1
    scribbles[0, 5, :4] = 2
    stack = volume(scribbles, LabelKind.SCRIBBLES)
    found = np.ones((10, 10))
    found[0, :2] = 0
    write(tmp_path / "out", stack, lambda n: found)
    _, scores = scores_of(tmp_path / "out", stack)
    assert scores.pixel_accuracy == 6 / 8
    assert scores.iou == 4 / 6


def test_several_classes_are_scored_by_class(tmp_path):
    labels = np.array([[[0, 1, 2, 2], [0, 1, 2, 2]]], np.uint8)
    stack = volume(labels, LabelKind.CLASSES)
    found = np.array([[0, 1, 1, 2], [0, 1, 2, 2]], np.uint8)
    with ResultWriter(tmp_path / "out", stack) as writer:
        for prediction in predictions(stack, lambda n: found > 0):
            writer.write(replace(prediction, classes=found))
    _, scores = scores_of(tmp_path / "out", stack)
    assert scores.iou == 1
    assert scores.pixel_accuracy == 7 / 8
    assert scores.mean_iou == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert scores.v_rand is None


def test_silver_truth_scored_against_gold(shared_data):
    """The recorded upper bar of SEG on DIC-C2DH-HeLa."""
    root = shared_data / "DIC-C2DH-HeLa"
    if not root.is_dir():
        pytest.skip("DIC-C2DH-HeLa is not there")
    stack = open_stack(root, sequence="01")
    silver, gold = stack.annotation("silver"), stack.annotation("gold")
    pairs = ((n, gold.frame(n), silver.frame(n)) for n in gold.frame_numbers)
    *_, scores = evaluate_labels(pairs)
    assert scores.seg == pytest.approx(0.965, abs=0.02)


class TestFieldOfInterest:
    """Objects wholly in the border do not count, in the reference and in the result alike."""

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        truth = np.zeros((40, 50), np.int32)
        truth[10:20, 10:20] = 1  # inside
        truth[2:8, 20:45] = 2  # reaches in by one column and row below border 5
        truth[0:4, 5:15] = 3  # wholly in the border of 5
        truth[30:40, 46:50] = 4  # wholly in the border
        found = np.where(truth == 4, 0, truth)  # 4 is missed
        found[36:40, 10:20] = 7  # added, wholly in the border
        return truth, found

    @pytest.mark.parametrize(("border", "kept"), [(0, {1, 2, 3, 4}), (5, {1, 2}), (8, {1})])
    def test_seg_is_that_of_what_is_left(self, border, kept):
        truth, found = self.images()
        *frames, scores = evaluate_labels([(0, truth, found)], border=border)
        assert scores.objects == len(kept) and scores.border == border
        missed = len(kept & {4})
        assert scores.missed == missed and scores.seg == pytest.approx(1 - missed / len(kept))
        added = 1 if border == 0 else 0
        expected = (len(kept) - missed) / (len(kept) + added)
        assert scores.ap50 == pytest.approx(expected) and frames[0].ap50 == pytest.approx(expected)
        assert scores.det == pytest.approx(1 - (10 * missed + added) / (10 * len(kept)))

    def test_it_is_that_of_images_without_these_objects(self):
        """By hand: take away each object none of whose pixels lies in the field."""
        random = np.random.default_rng(0)
        truth, found = (random.integers(0, 9, (2, 6, 6)).repeat(5, 1).repeat(5, 2)).astype(np.int32)
        border = 7

        def cut(labels):
            left = labels.copy()
            for label in range(1, 9):
                rows, columns = np.nonzero(labels == label)
                inside = (rows >= border) & (rows < 30 - border) & (columns >= border)
                if not (inside & (columns < 30 - border)).any():
                    left[labels == label] = 0
            return left

        assert not np.array_equal(cut(truth), truth), "test invalid"
        *_, by_border = evaluate_labels([(0, truth, found)], border=border)
        *_, by_hand = evaluate_labels([(0, cut(truth), cut(found))])
        for name in ("seg", "det", "ap50", "ap", "objects", "missed"):
            assert getattr(by_border, name) == getattr(by_hand, name)

    def test_of_a_volume_only_rows_and_columns_have_a_border(self):
        volume = np.zeros((3, 30, 30), np.int32)
        volume[0, 12:18, 12:18] = 1
        volume[1, 0:4, 12:18] = 2
        *_, scores = evaluate_labels([(0, volume, volume)], axes="TZYX", border=5)
        assert scores.objects == 1

    def test_classes_of_pixels_have_none(self):
        classes = np.zeros((20, 20), np.int32)
        classes[:3] = 1
        *_, scores = evaluate_labels(
            [FrameLabels(0, classes, classes)], kind=LabelKind.CLASSES, border=5
        )
        assert scores.iou == 1.0 and scores.border == 0

    def test_a_border_that_leaves_nothing_is_refused(self):
        truth, found = self.images()
        with pytest.raises(ValueError, match=r"border of 20 pixels .* leaves nothing of 40 x 50"):
            list(evaluate_labels([(0, truth, found)], border=20))


def test_planar_truth_of_a_volume_is_scored_file_by_file(tmp_path):
    """As the challenge's own program does; py-ctcmetrics takes the planes of a frame as one image."""
    root = tmp_path / "volumes"
    (root / "01").mkdir(parents=True)
    (root / "01_GT" / "SEG").mkdir(parents=True)
    tifffile.imwrite(
        root / "01" / "t000.tif",
        np.arange(3000, dtype=np.uint16).reshape(3, 20, 50),
        photometric="minisblack",
    )
    planes = {0: np.zeros((20, 50), np.uint16), 2: np.zeros((20, 50), np.uint16)}
    planes[0][2:12, 5:15] = 1
    planes[2][2:12, 25:35] = 1  # another object with the same number
    for plane, labels in planes.items():
        tifffile.imwrite(root / "01_GT" / "SEG" / f"man_seg_000_{plane:03d}.tif", labels)
    result = np.zeros((3, 20, 50), np.uint16)
    result[0, 2:12, 5:15] = 4
    result[2, 2:12, 27:35] = 5
    (tmp_path / "01_RES").mkdir()
    tifffile.imwrite(tmp_path / "01_RES" / "mask000.tif", result, photometric="minisblack")
    *_, scores = evaluate(tmp_path / "01_RES", open_stack(root))
    assert scores.objects == 2 and scores.seg == pytest.approx((1 + 0.8) / 2)
    assert scores.ap50 == 1.0
    *_, chosen = evaluate(tmp_path / "01_RES", open_stack(root), frames=[0])
    assert chosen.seg == scores.seg


def test_a_result_with_frames_that_the_stack_has_not_is_of_another_stack(dataset, tmp_path):
    stack = open_stack(dataset)
    tifffile.imwrite(tmp_path / "instances.tif", np.stack([cells(n % 4) for n in range(7)]))
    with pytest.raises(ValueError, match=r"7 frames, among them frame 4; .* 4 frames, from 0 to 3"):
        list(evaluate(tmp_path / "instances.tif", stack))
    folder = tmp_path / "01_RES"
    folder.mkdir()
    for number in range(6):
        tifffile.imwrite(folder / f"mask{number:03d}.tif", cells(number % 4))
    with pytest.raises(ValueError, match=r"01_RES has 6 frames, among them frame 4"):
        list(evaluate(folder, stack))


def test_a_result_is_not_scored_against_itself(tmp_path):
    found = np.stack([cells(number) for number in range(3)])
    tifffile.imwrite(tmp_path / "x.tif", found.astype(np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "found.tif", found, photometric="minisblack")
    (tmp_path / "truth.tif").hardlink_to(tmp_path / "found.tif")
    for name in ("found.tif", "truth.tif"):
        stack = open_stack(tmp_path / "x.tif", truth=tmp_path / name, kind="instances")
        with pytest.raises(ValueError, match="compared with itself it is always perfect"):
            list(evaluate(tmp_path / "found.tif", stack))


def test_a_mask_of_cell_and_background_is_said_to_be_one_object(dataset, tmp_path):
    stack = open_stack(dataset)
    for name, value in (("mask.tif", 255), ("objects.tif", None)):
        frames = [cells(n) if value is None else (cells(n) > 0) * value for n in range(4)]
        stack_of = np.stack(frames).astype(np.uint16)
        tifffile.imwrite(tmp_path / name, stack_of, photometric="minisblack")
    *_, notice, scores = evaluate(tmp_path / "mask.tif", stack)
    assert isinstance(notice, Message) and "one number a frame, in several pieces" in notice.text
    assert isinstance(scores, Scores)
    assert not any(isinstance(e, Message) for e in evaluate(tmp_path / "objects.tif", stack))
