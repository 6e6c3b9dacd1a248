"""SEG, DET and AP against brute force, py-ctcmetrics, recorded constants and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from napari_jnet.evaluation import objects
from napari_jnet.evaluation.objects import THRESHOLDS
from napari_jnet.labels import contingency


def seg_frame(reference, result):
    return objects.seg_frame(contingency(reference, result))


def det_frame(reference, result):
    return objects.det_frame(contingency(reference, result))


def seg(pairs):
    return np.concatenate([seg_frame(*pair) for pair in pairs]).mean()


def det(pairs):
    return objects.det_score(sum((det_frame(*pair) for pair in pairs), np.zeros(4, int)))


def ap_frame(reference, result):
    table = contingency(np.maximum(reference, 0), result)
    return objects.ap_frame(table, objects.unknown_share(reference, result, table))


def ap(*frames, at=0.5):
    """Return AP at a threshold."""
    counts = sum(ap_frame(*frame) for frame in frames)
    return objects.average_precision(counts)[THRESHOLDS.index(at)]


def blobs(rng: np.random.Generator, shape: tuple[int, ...] = (24, 31), objects: int = 6):
    labels = np.zeros(shape, dtype=np.uint16)
    for label in rng.choice(np.arange(1, 400), objects, replace=False):
        corner = [rng.integers(0, n - 4) for n in shape]
        size = [rng.integers(2, 9) for _ in shape]
        labels[tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))] = label
    return labels


def brute_force_seg(reference, result):
    scores = []
    for r in np.unique(reference[reference > 0]):
        known = reference >= 0
        mine = reference == r
        score = 0.0
        for s in np.unique(result[result > 0]):
            other = (result == s) & known
            if (mine & other).sum() > 0.5 * mine.sum():
                score = (mine & other).sum() / (mine | other).sum()
        scores.append(score)
    return np.array(scores)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("shape", [(24, 31), (7, 12, 13)])
def test_seg_frame_equals_brute_force(seed, shape):
    rng = np.random.default_rng(seed)
    reference, result = blobs(rng, shape).astype(np.int32), blobs(rng, shape)
    result = np.where(rng.random(shape) < 0.7, reference, result).astype(np.int32)
    reference[rng.random(shape) < 0.1] = -1
    np.testing.assert_allclose(
        seg_frame(reference, result), brute_force_seg(reference, result), rtol=1e-12
    )


def test_exactly_half_is_no_match():
    reference = np.zeros((4, 4), np.int32)
    reference[:2] = 5
    result = np.zeros_like(reference)
    result[0] = 9
    assert seg_frame(reference, result).tolist() == [0.0]
    result[1, 0] = 9
    assert seg_frame(reference, result).tolist() == [5 / 8]


def test_seg_counts_objects_not_frames():
    one = np.array([[1, 0]])
    three = np.array([[1, 2, 3, 0]])
    pairs = [(one, np.zeros_like(one)), (three, three)]
    assert seg(pairs) == 0.75


def test_labels_too_large_for_a_table():
    reference = np.array([[1 << 40, 0, 3]])
    result = np.array([[(1 << 41) + 1, 0, 0]])
    assert seg_frame(reference, result).tolist() == [0.0, 1.0]


def test_unknown_pixels_count_nowhere():
    reference = np.array([[1, 1, -1, -1, 0]])
    result = np.array([[4, 4, 4, 7, 0]])
    assert seg_frame(reference, result).tolist() == [1.0]
    assert det_frame(reference, result).tolist() == [0, 0, 0, 1]


def test_frame_without_objects_or_pixels():
    empty = np.zeros((3, 3), np.int32)
    assert seg_frame(empty, empty).size == 0
    assert seg_frame(empty - 1, empty).size == 0


def test_detection_errors_are_split_missed_and_false():
    markers = np.array([[1, 2, 3, 0, 0]])
    result = np.array([[9, 9, 0, 4, 0]])
    errors = det_frame(markers, result)
    assert errors.tolist() == [1, 1, 1, 3]
    assert objects.det_score(errors) == pytest.approx(1 - 16 / 30)


def test_det_is_clipped_at_zero():
    markers = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    assert det([(markers, np.arange(13)[None][:, ::-1])]) >= 0
    assert det([(markers, np.array([[0, *range(1, 13)]]))]) == 0


def test_bad_input_is_named():
    labels = np.ones((3, 4), np.int32)
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        seg_frame(labels, labels.T)
    with pytest.raises(ValueError, match="label -1"):
        det_frame(labels, -labels)
    assert np.isnan(det([]))


def write_sequence(folder, masks, name, tracks):
    import tifffile

    folder.mkdir(parents=True)
    present: dict[int, list[int]] = {}
    for number, mask in enumerate(masks):
        tifffile.imwrite(folder / f"{name}{number:03d}.tif", mask.astype(np.uint16))
        for label in np.unique(mask[mask > 0]):
            present.setdefault(int(label), []).append(number)
    if tracks:
        lines = [f"{label} {min(on)} {max(on)} 0" for label, on in sorted(present.items())]
        (folder / tracks).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("seed", range(4))
def test_equals_py_ctcmetrics(tmp_path, seed, capsys):
    ctc_metrics = pytest.importorskip("ctc_metrics")
    rng = np.random.default_rng(seed)
    reference, result = [], []
    for number in range(3):
        frame = blobs(rng)
        other = np.where(rng.random(frame.shape) < 0.75, np.roll(frame, 1, 0), blobs(rng))
        frame[-1, -1], other[-1, -1] = 500, 600
        # The same number never comes back after a gap, as CTC tracks demand.
        reference.append(np.where(frame > 0, frame + 1000 * number, 0))
        result.append(np.where(other > 0, other + 1000 * number, 0))
    write_sequence(tmp_path / "GT" / "SEG", reference, "man_seg", "")
    write_sequence(tmp_path / "GT" / "TRA", reference, "man_track", "man_track.txt")
    write_sequence(tmp_path / "RES", result, "mask", "res_track.txt")
    theirs = ctc_metrics.evaluate_sequence(
        str(tmp_path / "RES"), str(tmp_path / "GT"), metrics=["Valid", "SEG", "DET"], threads=1
    )
    capsys.readouterr()
    pairs = list(zip(reference, result, strict=True))
    assert theirs["Valid"] == 1
    assert 0 < theirs["SEG"] < 1
    assert seg(pairs) == pytest.approx(theirs["SEG"], abs=1e-12)
    assert det(pairs) == pytest.approx(theirs["DET"], abs=1e-12)


def test_recorded_constants_of_the_example(shared_data):
    import tifffile

    folder = shared_data / "ctc-metrics-example"
    if not folder.is_dir():
        pytest.skip("ctc-metrics-example is not there")

    def frames(path, name):
        return [tifffile.imread(path / f"{name}{number:03d}.tif") for number in range(6)]

    result = frames(folder / "res", "mask")
    markers = frames(folder / "GT" / "TRA", "man_track")
    truth = frames(folder / "GT" / "SEG", "man_seg")
    assert seg(zip(truth, result, strict=True)) == 1
    assert det(zip(markers, result, strict=True)) == 1
    result[3][result[3] == 240] = 0
    assert det(zip(markers, result, strict=True)) == pytest.approx(0.944444, abs=1e-6)


def brute_force_ap(reference, result, threshold):
    """The best one-to-one pairing, as StarDist and Cellpose compute it."""
    rows = [reference == r for r in np.unique(reference[reference > 0])]
    columns = [result == c for c in np.unique(result[result > 0])]
    iou = np.array([[(a & b).sum() / (a | b).sum() for b in columns] for a in rows])
    above = iou > threshold
    found = above[linear_sum_assignment(-(above + iou / 1000))].sum()
    return found, len(columns) - found, len(rows) - found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(24, 31), (7, 12, 13)])
def test_ap_equals_the_best_assignment(seed, shape):
    rng = np.random.default_rng(seed)
    reference = blobs(rng, shape).astype(np.int32)
    noise = blobs(rng, shape).astype(np.int32)
    other = np.where(rng.random(shape) < 0.8, reference + (reference > 0) * 3, noise)
    for ours, threshold in zip(ap_frame(reference, other).T, THRESHOLDS, strict=True):
        assert tuple(ours) == brute_force_ap(reference, other, threshold)


def squares() -> np.ndarray:
    labels = np.zeros((20, 40), np.int32)
    for number in range(4):
        labels[5:15, 10 * number : 10 * number + 8] = number + 1
    return labels


def test_known_values():
    reference, result = squares(), squares()
    result[result == 1] = 0  # one missed
    result[0:3, 0:3] = 9  # one added
    result[5:9, 10:18] = 0  # 60 % of cell 2 is left
    precision = objects.average_precision(ap_frame(reference, result))
    assert precision.tolist() == [3 / 5] * 2 + [2 / 6] * 8


def test_exactly_the_threshold_is_no_match():
    reference, result = np.array([[1, 1, 1, 1]]), np.array([[1, 1, 0, 0]])
    assert ap((reference, result)) == 0
    result[0, 2] = 1
    assert ap((reference, result)) == 1
    assert ap((reference, result), at=0.75) == 0


def test_nobody_knows_what_lies_on_unknown_pixels():
    reference, result = squares(), squares()
    reference[:, 20:] = -1
    assert ap_frame(reference, result).tolist() == [[2] * 10, [0] * 10, [0] * 10]
    result[5:15, 0:8] = 0
    result[0:4, 10:30] = 7  # as much on known as on unknown pixels
    assert ap((reference, result)) == 1 / 3
    result[0:4, 30] = 7
    assert ap((reference, result)) == 1 / 2


def test_an_annotated_cell_is_annotated_whole():
    """What reaches onto unknown pixels is too large."""
    reference = np.full((4, 10), -1, np.int32)
    reference[:, :4] = 3
    result = np.zeros((4, 10), np.int32)
    result[:, :8] = 1
    assert ap((reference, result)) == 0
    result[:, 5:] = 0
    assert ap((reference, result), at=0.75) == 1


def test_frames_add_up_by_objects():
    full, empty = squares(), np.zeros((20, 40), np.int32)
    assert ap((full, full), (full, empty)) == 0.5


def test_no_object_is_no_score():
    empty = np.zeros((4, 4), np.int32)
    assert np.isnan(ap((empty, empty)))
    assert ap((empty, empty + 1)) == 0
