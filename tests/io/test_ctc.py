from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet.io.ctc import markers
from napari_jnet.io.stack import annotated_frames
from napari_jnet.labels import UNKNOWN
from napari_jnet.project.open import open_stack, sequences


def cells(shape=(24, 32), count=6):
    labels = np.zeros(shape, np.uint16)
    for k in range(count):
        y, x = divmod(k, 3)
        labels[..., 2 + 10 * y : 10 + 10 * y, 1 + 10 * x : 9 + 10 * x] = k + 1
    return labels


def write(path: Path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, **options)
    return path


@pytest.fixture
def dataset(tmp_path):
    """Two sequences of 3 frames; gold of 01 has frames 0 and 2, silver all, markers all."""
    root = tmp_path / "CELLS"
    for sequence in ("01", "02"):
        for n in range(3):
            image = np.full((24, 32), n, np.uint8)
            write(root / sequence / f"t{n:03d}.tif", image, compression="lzw")
            write(root / f"{sequence}_GT/TRA/man_track{n:03d}.tif", cells())
    for n in (0, 2):
        write(root / f"01_GT/SEG/man_seg{n:03d}.tif", cells())
    for n in range(3):
        write(root / f"01_ST/SEG/man_seg{n:03d}.tif", cells())
    return root


@pytest.mark.parametrize("part", ["", "01", "01_GT", "01_GT/SEG", "01_ST", "01_ST/SEG"])
def test_opens_root_sequence_and_truth_folders(dataset, part):
    stack = open_stack(dataset / part)
    assert (stack.format, stack.sequence, stack.axes) == ("ctc", "01", "TYX")
    assert stack.name == "CELLS 01"
    assert stack.path == dataset
    assert stack.frame_numbers == (0, 1, 2)
    assert list(stack.annotations) == ["gold", "silver"]
    assert stack.annotation().frame_numbers == (0, 2)
    assert stack.shape == (24, 32)
    assert stack.dtype == np.uint8
    assert (stack.frame(2) == 2).all()


def test_chooses_the_first_sequence_with_gold_truth(dataset):
    for n in (0, 2):
        target = dataset / f"02_GT/SEG/man_seg{n:03d}.tif"
        write(target, cells())
        (dataset / f"01_GT/SEG/man_seg{n:03d}.tif").unlink()
    (dataset / "01_GT/SEG").rmdir()
    assert open_stack(dataset).sequence == "02"
    assert open_stack(dataset, sequence="01").sequence == "01"
    assert sequences(dataset) == sequences(dataset / "02") == ("01", "02")


def test_unknown_sequence_is_named(dataset):
    with pytest.raises(ValueError, match=r"no sequence '07'; its sequences are 01, 02"):
        open_stack(dataset, sequence="07")


def test_frame_numbers_and_digits_come_from_the_names(tmp_path):
    for n in (7, 1003):
        write(tmp_path / f"D/01/t{n:04d}.tif", np.zeros((4, 5), np.uint16))
    stack = open_stack(tmp_path / "D")
    assert stack.frame_numbers == (7, 1003)
    assert stack.digits == 4


def test_opening_reads_no_pixels(dataset):
    """Every file but the header of the first frame may be rubbish until it is asked for."""
    for path in dataset.rglob("*.tif"):
        if path.name != "t000.tif":
            path.write_bytes(b"not a tiff")
    stack = open_stack(dataset)
    assert stack.frame(0).shape == (24, 32)
    with pytest.raises(ValueError, match=r"t001\.tif cannot be read as a TIFF image"):
        stack.frame(1)


def test_truncated_frame_is_named(dataset):
    path = dataset / "01/t001.tif"
    write(path, np.random.default_rng(0).integers(0, 255, (24, 32), np.uint8))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"t001\.tif cannot be read .*truncated or damaged"):
        open_stack(dataset).frame(1)


def test_frames_of_different_shapes_are_refused(dataset):
    write(dataset / "01/t001.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"t001\.tif has shape \(9, 9\), t000\.tif has \(24, 32\)"):
        open_stack(dataset).frame(1)


def test_truth_of_another_size_is_refused(dataset):
    write(dataset / "01_GT/SEG/man_seg002.tif", np.zeros((9, 9), np.uint16))
    with pytest.raises(
        ValueError, match=r"man_seg002\.tif: the labels have shape \(9, 9\), the image has \(24"
    ):
        open_stack(dataset).annotation("gold").frame(2)


@pytest.mark.parametrize("folder", ["01_GT/SEG", "01_ST/SEG"])
def test_truth_without_a_frame_is_named(dataset, folder):
    write(dataset / folder / "man_seg099.tif", cells())
    expected = rf"{folder} has man_seg099\.tif but 01 has no frame 99"
    stack = open_stack(dataset)
    assert stack.frame(0).shape == (24, 32), "truth is no reason not to segment the frames"
    with pytest.raises(ValueError, match=expected):
        annotated_frames(stack, "silver" if "ST" in folder else "gold")


def test_two_files_for_one_frame_are_refused(dataset):
    write(dataset / "01/t01.tif", np.zeros((24, 32), np.uint8))
    with pytest.raises(ValueError, match=r"t001\.tif and t01\.tif for the same frame 1"):
        open_stack(dataset)


def test_frame_without_truth_is_named_with_those_that_have_it(dataset):
    stack = open_stack(dataset)
    with pytest.raises(ValueError, match=r"Frame 1 is not annotated .*; annotated frames are 0, 2"):
        annotated_frames(stack, "gold", [1])


def test_markers_are_apart_from_the_annotations(dataset):
    found = markers(open_stack(dataset))
    assert found is not None
    assert found.frame_numbers == (0, 1, 2)
    assert np.array_equal(found.frame(1), cells())
    for path in (dataset / "02_GT/TRA").iterdir():
        path.unlink()
    assert markers(open_stack(dataset, sequence="02")) is None


def test_noisy_truth(dataset):
    for n in range(3):
        write(dataset / f"01_ERR_SEG/mask{n:03d}.tif", cells())
    assert list(open_stack(dataset).annotations) == ["gold", "silver", "noisy"]


def thin_out(dataset, *, tra: bool, silver: bool):
    """Gold of frame 2 has 2 of 6 cells; what else tells of the cells may be missing."""
    few = cells()
    few[few > 2] = 0
    write(dataset / "01_GT/SEG/man_seg002.tif", few)
    if not tra:
        for path in (dataset / "01_GT/TRA").iterdir():
            path.unlink()
    if not silver:
        for path in (dataset / "01_ST/SEG").iterdir():
            path.unlink()


@pytest.mark.parametrize(("tra", "silver"), [(True, False), (False, True), (False, False)])
def test_partial_frames_have_unknown_background(dataset, tra, silver):
    thin_out(dataset, tra=tra, silver=silver)
    write(dataset / "01_GT/SEG/man_seg001.tif", cells())
    gold = open_stack(dataset).annotation("gold")
    assert gold.partial == {2}
    assert np.unique(gold.frame(2)).tolist() == [UNKNOWN, 1, 2]
    assert np.unique(gold.frame(0)).tolist() == [0, 1, 2, 3, 4, 5, 6]


class TestEmptyTruth:
    """Gold truth without cells: complete where something says so, else not annotated."""

    @pytest.fixture
    def empty(self, dataset):
        """Gold of frame 2 is empty, and nothing else tells of its cells."""
        nothing = np.zeros((24, 32), np.uint16)
        write(dataset / "01_GT/SEG/man_seg002.tif", nothing)
        for folder in ("01_GT/TRA/man_track002.tif", "01_ST/SEG/man_seg002.tif"):
            (dataset / folder).unlink()
        return dataset

    @pytest.mark.parametrize("name", ["01_GT/TRA/man_track002.tif", "01_ST/SEG/man_seg002.tif"])
    def test_a_reference_without_cells_says_so(self, empty, name):
        write(empty / name, np.zeros((24, 32), np.uint16))
        gold = open_stack(empty).annotation("gold")
        assert (gold.frame_numbers, gold.empty, gold.partial) == ((0, 2), {2}, frozenset())
        frames = annotated_frames(open_stack(empty))
        assert [f.name for f in frames] == ["01/t000", "01/t002"]
        assert not frames[1].labels.any()

    def test_markers_without_cells_do_not_outweigh_silver_with_some(self, empty):
        write(empty / "01_GT/TRA/man_track002.tif", np.zeros((24, 32), np.uint16))
        write(empty / "01_ST/SEG/man_seg002.tif", cells())
        assert open_stack(empty).annotation("gold").ignored == (2,)

    def test_without_a_reference_it_is_not_annotated_and_that_is_said(self, empty):
        gold = open_stack(empty).annotation("gold")
        assert (gold.frame_numbers, gold.ignored) == ((0,), (2,))
        assert "not used, as nothing is labelled: 1 (2)" in gold.summary()
        assert "1 (2)" in annotated_frames(open_stack(empty))[0].origin

    def test_somebody_may_say_so(self, empty):
        gold = open_stack(empty, unlabelled="background").annotation("gold")
        assert (gold.frame_numbers, gold.empty, gold.ignored) == ((0, 2), {2}, ())
        assert open_stack(empty, unlabelled="unknown").annotation("gold").partial == {0}


def test_chosen_frames_read_no_others(dataset):
    (dataset / "01_ST/SEG/man_seg002.tif").write_bytes(b"rubbish")
    frames = annotated_frames(open_stack(dataset), "silver", [0, 1])
    assert [frame.name for frame in frames] == ["01/t000", "01/t001"]
    assert "silver" not in frames[0].origin and "2 (0, 1)" in frames[0].origin


def test_minus_one_in_gold_is_refused(dataset):
    labels = cells().astype(np.int32)
    path = write(dataset / "01_GT/SEG/man_seg000.tif", np.where(labels == 0, -1, labels))
    with pytest.raises(ValueError, match=r"man_seg000\.tif holds -1; .* --truth FOLDER"):
        annotated_frames(open_stack(dataset))
    truth = open_stack(dataset, truth=path.parent, unlabelled="unknown")
    assert np.array_equal(truth.annotation().frame(0), np.where(labels == 0, -1, labels))


def test_the_truth_of_a_dataset_is_instances(dataset):
    with pytest.raises(
        ValueError, match="SEG was given the kind classes, but ground truth of a Cell Track"
    ):
        open_stack(dataset, kind="classes")
    assert open_stack(dataset, kind="instances").annotation().frame_numbers == (0, 2)


def test_a_link_to_itself_closes_no_dataset(dataset):
    (dataset / "03").symlink_to(dataset / "03")
    assert sequences(dataset) == ("01", "02")


def test_silver_truth_is_never_partial(dataset):
    thin_out(dataset, tra=True, silver=True)
    assert open_stack(dataset).annotation("silver").partial == frozenset()


@pytest.fixture
def volumes(tmp_path):
    root = tmp_path / "VOLUMES"
    for n in range(2):
        write(root / f"01/t{n:03d}.tif", np.full((5, 24, 32), n, np.uint16))
    write(root / "01_GT/SEG/man_seg000.tif", np.broadcast_to(cells(), (5, 24, 32)))
    write(root / "01_GT/SEG/man_seg_001_003.tif", cells())
    return root


def test_volumes_become_planes(volumes):
    stack = open_stack(volumes)
    assert (stack.axes, stack.shape) == ("TZYX", (5, 24, 32))
    frames = annotated_frames(stack)
    assert [f.name for f in frames] == [*(f"01/t000 z{z:02d}" for z in range(5)), "01/t001 z03"]
    assert frames[-1].image.shape == (24, 32)
    assert np.array_equal(frames[-1].labels, cells())


def test_planes_without_a_slice_are_unknown(volumes):
    labels = open_stack(volumes).annotation().frame(1)
    assert (labels[[0, 1, 2, 4]] == UNKNOWN).all()
    assert (labels[3] == cells()).all()


def test_slice_out_of_range_is_named(volumes):
    write(volumes / "01_GT/SEG/man_seg_001_009.tif", cells())
    with pytest.raises(
        ValueError, match=r"man_seg_001_009\.tif annotates plane 9, but frames have 5"
    ):
        annotated_frames(open_stack(volumes))


def test_two_slices_of_one_plane_are_refused(volumes):
    write(volumes / "01_GT/SEG/man_seg_01_03.tif", cells())
    with pytest.raises(ValueError, match=r"for the same plane 3 of frame 1; keep one"):
        annotated_frames(open_stack(volumes))


def test_slice_without_a_frame_is_named(volumes):
    write(volumes / "01_GT/SEG/man_seg_007_001.tif", cells())
    with pytest.raises(ValueError, match=r"man_seg_007_001\.tif but 01 has no frame 7"):
        annotated_frames(open_stack(volumes))


def test_pixel_size_from_the_tags(tmp_path):
    options = {"resolution": (1e4 / 0.19, 1e4 / 0.19), "resolutionunit": "CENTIMETER"}
    write(tmp_path / "S/01/t000.tif", np.zeros((4, 5), np.uint8), **options)
    stack = open_stack(tmp_path / "S")
    assert stack.scale == (1.0, 0.19, 0.19)
    assert stack.units == ("pixel", "micrometer", "micrometer")


def test_screen_resolutions_are_no_pixel_size(tmp_path):
    options = {"resolution": (72, 72), "resolutionunit": "INCH"}
    write(tmp_path / "S/01/t000.tif", np.zeros((4, 5), np.uint8), **options)
    assert open_stack(tmp_path / "S").scale == (1.0, 1.0, 1.0)


def test_colour_frames_are_refused(tmp_path):
    write(tmp_path / "S/01/t000.tif", np.zeros((24, 25, 3), np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="frames of a sequence are grey"):
        open_stack(tmp_path / "S")


def test_something_else_and_nothing_at_all(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match="is not a stack that can be opened"):
        open_stack(tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        open_stack(tmp_path / "nowhere")


def test_hela_frame_67_is_partial(shared_data):
    stack = open_stack(shared_data / "DIC-C2DH-HeLa")
    gold = stack.annotation("gold")
    assert gold.partial == {67}
    assert gold.frame_numbers == (2, 5, 21, 31, 33, 34, 39, 54, 67)
    assert np.unique(gold.frame(67)).min() == UNKNOWN
    assert not (gold.frame(67) == 0).any()
