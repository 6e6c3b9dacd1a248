"""SEG and DET against brute force, py-ctcmetrics and recorded constants."""

from __future__ import annotations

import numpy as np
import pytest

from napari_jnet.evaluation import ctc


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
        ctc.seg_frame(reference, result), brute_force_seg(reference, result), rtol=1e-12
    )


def test_exactly_half_is_no_match():
    reference = np.zeros((4, 4), np.int32)
    reference[:2] = 5
    result = np.zeros_like(reference)
    result[0] = 9
    assert ctc.seg_frame(reference, result).tolist() == [0.0]
    result[1, 0] = 9
    assert ctc.seg_frame(reference, result).tolist() == [5 / 8]


def test_seg_counts_objects_not_frames():
    one = np.array([[1, 0]])
    three = np.array([[1, 2, 3, 0]])
    pairs = [(one, np.zeros_like(one)), (three, three)]
    assert ctc.seg(pairs) == 0.75


def test_labels_too_large_for_a_table():
    reference = np.array([[1 << 40, 0, 3]])
    result = np.array([[(1 << 41) + 1, 0, 0]])
    assert ctc.seg_frame(reference, result).tolist() == [0.0, 1.0]


def test_unknown_pixels_count_nowhere():
    reference = np.array([[1, 1, -1, -1, 0]])
    result = np.array([[4, 4, 4, 7, 0]])
    assert ctc.seg_frame(reference, result).tolist() == [1.0]
    assert ctc.det_frame(reference, result) == ctc.DetectionErrors(objects=1)


def test_frame_without_objects_or_pixels():
    empty = np.zeros((3, 3), np.int32)
    assert ctc.seg_frame(empty, empty).size == 0
    assert ctc.seg_frame(empty - 1, empty).size == 0


def test_detection_errors_are_split_missed_and_added():
    markers = np.array([[1, 2, 3, 0, 0]])
    result = np.array([[9, 9, 0, 4, 0]])
    errors = ctc.det_frame(markers, result)
    assert errors == ctc.DetectionErrors(splits=1, missed=1, added=1, objects=3)
    assert ctc.det_score(errors) == pytest.approx(1 - 16 / 30)


def test_det_is_clipped_at_zero():
    markers = np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
    assert ctc.det([(markers, np.arange(13)[None][:, ::-1])]) >= 0
    assert ctc.det([(markers, np.array([[0, *range(1, 13)]]))]) == 0


def test_bad_input_is_named():
    labels = np.ones((3, 4), np.int32)
    with pytest.raises(ValueError, match=r"\(3, 4\).*\(4, 3\)"):
        ctc.seg_frame(labels, labels.T)
    with pytest.raises(ValueError, match="label -1"):
        ctc.det_frame(labels, -labels)
    with pytest.raises(ValueError, match="no object"):
        ctc.seg([(labels * 0, labels)])
    with pytest.raises(ValueError, match="no marker"):
        ctc.det([])


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
    assert ctc.seg(pairs) == pytest.approx(theirs["SEG"], abs=1e-12)
    assert ctc.det(pairs) == pytest.approx(theirs["DET"], abs=1e-12)


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
    assert ctc.seg(zip(truth, result, strict=True)) == 1
    assert ctc.det(zip(markers, result, strict=True)) == 1
    result[3][result[3] == 240] = 0
    assert ctc.det(zip(markers, result, strict=True)) == pytest.approx(0.944444, abs=1e-6)
