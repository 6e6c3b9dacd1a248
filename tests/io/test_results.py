"""Results on disk: what other tools read, and what is left when writing fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_jnet.events import FramePrediction
from napari_jnet.files import OutputError
from napari_jnet.io.results import FramePages, OverlapTracks, ResultWriter
from napari_jnet.io.stack import Stack
from napari_jnet.project.open import open_stack


def make_stack(frames: int = 3, shape=(20, 24), axes: str = "TYX", sequence: str = "01", digits=3):
    return Stack(
        name="cells",
        format="ctc" if sequence else "tiff",
        path=None,
        axes=axes,
        frame_numbers=tuple(range(frames)),
        shape=shape,
        dtype=np.dtype(np.uint8),
        read=lambda number: np.zeros(shape, np.uint8),
        sequence=sequence,
        digits=digits,
    )


def make_predictions(stack: Stack, labels=None):
    """Two squares that move by a pixel a frame, numbered the other way round in odd frames."""
    for position, number in enumerate(stack.frame_numbers):
        instances = np.zeros(stack.shape, np.int32)
        first, second = (1, 2) if number % 2 == 0 else (2, 1)
        instances[..., 2 + number : 8 + number, 2:9] = first
        instances[..., 2 + number : 8 + number, 12:20] = second
        if labels is not None:
            instances = labels(number, instances)
        yield FramePrediction(
            position=position,
            number=number,
            count=len(stack),
            segmentation=(instances > 0).astype(np.float32) * 0.25,
            distance=np.full(stack.shape, number, np.float32),
            instances=instances,
        )


def write_all(folder: Path, stack: Stack, **more) -> None:
    with ResultWriter(folder, stack) as writer:
        for prediction in make_predictions(stack, **more):
            writer.write(prediction)


def validate(folder: Path, capsys) -> int:
    ctc_metrics = pytest.importorskip("ctc_metrics")
    valid = ctc_metrics.validate_sequence(str(folder), threads=1)["Valid"]
    capsys.readouterr()
    return valid


def test_ctc_result_is_valid_and_keeps_numbers(tmp_path, capsys):
    stack = make_stack()
    write_all(tmp_path, stack)
    folder = tmp_path / "01_RES"
    assert sorted(os.listdir(folder)) == [
        "mask000.tif",
        "mask001.tif",
        "mask002.tif",
        "res_track.txt",
    ]
    assert (folder / "res_track.txt").read_text() == "1 0 2 0\n2 0 2 0\n"
    masks = [tifffile.imread(folder / f"mask{n:03d}.tif") for n in range(3)]
    assert {mask.dtype for mask in masks} == {np.dtype(np.uint16)}
    assert [int(mask[6, 4]) for mask in masks] == [1, 1, 1]
    assert [int(mask[6, 15]) for mask in masks] == [2, 2, 2]
    assert validate(folder, capsys) == 1


def write_confident(folder: Path, stack: Stack) -> None:
    sure = np.array([0.25, np.nan, 0.9875], np.float32)
    with ResultWriter(folder, stack) as writer:
        for prediction in make_predictions(stack):
            writer.write(replace(prediction, confidence=sure if prediction.number else sure[:1]))


def test_the_confidence_of_each_cell_is_a_table(tmp_path):
    table, stack = tmp_path / "confidence.csv", make_stack(frames=2)
    for _ in range(2):  # the second replaces the first
        write_confident(tmp_path, stack)
        lines = ["frame,cell,confidence", "0,1,0.2500", "1,1,0.2500", "1,3,0.9875"]
        assert table.read_text().splitlines() == lines
    write_all(tmp_path, stack)  # where it is unknown there is no table of a former result
    assert not table.exists()


def test_a_table_of_somebody_else_is_not_overwritten(tmp_path):
    table = tmp_path / "confidence.csv"
    table.write_text("mine")
    with pytest.raises(OutputError, match=r"confidence\.csv is there already .*another output"):
        write_confident(tmp_path, make_stack())
    assert table.read_text() == "mine" and os.listdir(tmp_path) == ["confidence.csv"]


def test_any_stack_gets_three_files_that_tifffile_reads(tmp_path):
    stack = make_stack(sequence="", axes="ZYX")
    write_all(tmp_path, stack)
    assert sorted(os.listdir(tmp_path)) == ["distance.tif", "instances.tif", "probability.tif"]
    expected = list(make_predictions(stack))
    for name, dtype in (
        ("probability", np.float32),
        ("distance", np.float32),
        ("instances", np.uint32),
    ):
        with tifffile.TiffFile(tmp_path / f"{name}.tif") as tiff:
            assert (tiff.series[0].shape, tiff.series[0].axes) == ((3, 20, 24), "ZYX")
            array = tiff.asarray()
        field = "segmentation" if name == "probability" else name
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, [getattr(frame, field) for frame in expected])


def test_volumes_keep_their_axes(tmp_path, capsys):
    stack = make_stack(shape=(4, 20, 24), axes="TZYX")
    write_all(tmp_path, stack)
    with tifffile.TiffFile(tmp_path / "instances.tif") as tiff:
        assert (tiff.series[0].shape, tiff.series[0].axes) == ((3, 4, 20, 24), "TZYX")
    with closing(FramePages(tmp_path / "instances.tif")) as pages:
        assert pages.read(1).shape == (4, 20, 24)
    assert tifffile.imread(tmp_path / "01_RES" / "mask001.tif").shape == (4, 20, 24)
    assert validate(tmp_path / "01_RES", capsys) == 1


@pytest.mark.parametrize(
    ("axes", "shape", "scale", "units"),
    [
        ("TYX", (20, 24), (30.0, 0.19, 0.19), ("second", "micrometer", "micrometer")),
        ("ZYX", (20, 24), (50.0, 4.0, 4.0), ("nanometer",) * 3),
        ("TZYX", (4, 20, 24), (2.0, 1.5, 0.2, 0.2), ("min", "um", "um", "um")),
        ("TYX", (20, 24), (1.0, 0.002, 0.002), ("pixel", "mm", "mm")),
        ("TYX", (20, 24), (1.0, 1.0, 1.0), ("pixel",) * 3),
    ],
)
def test_pixel_size_and_interval_reach_every_output(tmp_path, axes, shape, scale, units):
    stack = replace(make_stack(frames=4, shape=shape, axes=axes), scale=scale, units=units)
    write_all(tmp_path, stack)
    names = {"min": "second", "um": "micrometer", "mm": "micrometer", "nanometer": "micrometer"}
    expected = tuple(names.get(unit, unit) for unit in units)
    factors = {"min": 60, "mm": 1e3, "nanometer": 1e-3}
    size = tuple(s * factors.get(unit, 1) for s, unit in zip(scale, units, strict=True))
    for name in ("probability", "distance", "instances"):
        found = open_stack(tmp_path / f"{name}.tif")
        assert (found.axes, found.units) == (axes, expected)
        assert found.scale == pytest.approx(size)
    for path in [tmp_path / "instances.tif", tmp_path / "01_RES" / "mask001.tif"]:
        with tifffile.TiffFile(path) as tiff:
            assert tiff.is_ome
            page = tiff.pages[-1]
            if units[-1] == "pixel":
                assert page.resolutionunit in (1, 2) and page.resolution[0] in (1, 1.0)
                continue
            assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
            assert 1e4 / page.resolution[0] == pytest.approx(size[-1])
    masks = open_stack(tmp_path / "01_RES" / "mask001.tif")
    assert masks.scale[-len(shape) :] == pytest.approx(size[1:])
    assert masks.units[-len(shape) :] == expected[1:]


def test_the_interval_of_chosen_frames_is_theirs(tmp_path):
    stack = replace(make_stack(frames=6, sequence=""), scale=(5.0, 1, 1), units=("s",) * 3)
    for frames, seconds in (([0, 2, 4], 10.0), ([0, 1, 4], None), ([3], 5.0)):
        with ResultWriter(tmp_path / str(frames), stack, frames=frames) as writer:
            for prediction in make_predictions(stack):
                if prediction.number in frames:
                    writer.write(prediction)
        found = open_stack(tmp_path / str(frames) / "instances.tif")
        step = (found.scale[0], found.units[0])
        assert step == ((1.0, "pixel") if seconds is None else (seconds, "second"))


def test_frames_are_found_by_number(tmp_path):
    stack = make_stack(frames=6, digits=4)
    chosen = [2, 5]
    with ResultWriter(tmp_path, stack, frames=chosen) as writer:
        for prediction in make_predictions(stack):
            if prediction.number in chosen:
                writer.write(prediction)
    masks = tmp_path / "01_RES"
    assert sorted(path.name for path in masks.glob("*.tif")) == ["mask0002.tif", "mask0005.tif"]
    assert (masks / "res_track.txt").read_text() == "1 2 2 0\n2 2 2 0\n3 5 5 0\n4 5 5 0\n"
    with closing(FramePages(tmp_path / "distance.tif")) as pages:
        assert pages.frame_numbers == (2, 5)
        assert pages.read(5)[0, 0] == 5
        with pytest.raises(ValueError, match="no frame 3"):
            pages.read(3)


def test_stopping_midway_keeps_what_was_written(tmp_path, capsys):
    stack = make_stack()
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, stack) as writer:
        for prediction in make_predictions(stack):
            if prediction.number == 2:
                raise KeyboardInterrupt
            writer.write(prediction)
    assert tifffile.imread(tmp_path / "instances.tif").shape == (2, 20, 24)
    assert validate(tmp_path / "01_RES", capsys) == 1
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]


def test_any_number_of_an_object_is_held(tmp_path):
    stack = make_stack(sequence="")

    def more(number, instances):
        return instances + 70000 if number == 1 else instances

    write_all(tmp_path, stack, labels=more)
    instances = tifffile.imread(tmp_path / "instances.tif")
    assert instances.dtype == np.uint32
    assert instances[1].min() == 70000
    assert instances[0].max() == instances[2].max() == 2


def test_more_tracks_than_ctc_masks_hold(tmp_path):
    stack = make_stack(shape=(300, 300))

    def alone(number, instances):
        if number == 1:  # each pixel is an object, none in the place of one before
            return np.arange(1, 90001, dtype=np.int32).reshape(300, 300)
        return instances

    with ResultWriter(tmp_path, stack) as writer:
        for prediction in make_predictions(stack, labels=alone):
            writer.write(prediction)
    assert "01_RES has more than 65535 tracks" in writer.message
    masks = [tifffile.imread(tmp_path / "01_RES" / f"mask00{number}.tif") for number in range(3)]
    assert masks[0].dtype == np.uint16 and masks[1].dtype == np.uint32
    instances = tifffile.imread(tmp_path / "instances.tif")
    np.testing.assert_array_equal(masks[2] > 0, instances[2] > 0)
    tracks = np.loadtxt(tmp_path / "01_RES" / "res_track.txt", int)
    np.testing.assert_array_equal(tracks[:, 0], np.arange(1, tracks[-1, 0] + 1))
    for number, mask in enumerate(masks):
        there = tracks[(tracks[:, 1] <= number) & (tracks[:, 2] >= number), 0]
        np.testing.assert_array_equal(np.unique(mask[mask > 0]), there)


def test_frames_of_different_sizes(tmp_path):
    with ResultWriter(tmp_path, make_stack(frames=3, sequence="")) as writer:
        for number, shape in enumerate([(4, 5), (7, 3)]):
            maps = np.ones(shape, np.float32), np.ones(shape, np.float32), np.ones(shape, np.int32)
            writer.write(FramePrediction(number, number, 3, *maps))
    with closing(FramePages(tmp_path / "distance.tif")) as pages:
        assert pages.frame_numbers == (0, 1) and pages.mark.count == 3
        assert pages.read(0).shape == (4, 5)
        assert pages.read(1).shape == (7, 3)


def test_an_image_of_a_folder_that_cannot_be_read_does_not_keep_the_others_from_being_written(
    tmp_path,
):
    (tmp_path / "images").mkdir()
    for name in "abc":
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", np.ones((8, 8), np.uint8))
    stack = open_stack(tmp_path / "images")
    (tmp_path / "images" / "b.tif").write_bytes(b"II*\0")
    maps = np.ones((8, 8), np.float32), np.ones((8, 8), np.float32), np.ones((8, 8), np.int32)
    with ResultWriter(tmp_path / "out", stack) as writer:
        writer.write(FramePrediction(0, 0, 3, *maps))
    assert tifffile.imread(tmp_path / "out" / "distance.tif").shape == (8, 8)


@pytest.mark.parametrize("side", [40, 10])
def test_a_file_may_grow_beyond_4_gb_where_a_later_image_of_a_folder_is_large(
    tmp_path, monkeypatch, side
):
    monkeypatch.setattr("napari_jnet.io.results._LARGE", 4 * 3 * 20 * 20)
    (tmp_path / "images").mkdir()
    for name, sides in (("a", 4), ("b", 5), ("c", side)):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", np.ones((sides, sides), np.uint8))
    stack = open_stack(tmp_path / "images")
    with ResultWriter(tmp_path / "out", stack) as writer:
        for number in range(3):
            image = stack.frame(number)
            maps = (image.astype(t) for t in (np.float32, np.float32, np.int32))
            writer.write(FramePrediction(number, number, 3, *maps))
    with tifffile.TiffFile(tmp_path / "out" / "distance.tif") as file:
        assert file.is_bigtiff == (side == 40) and len(file.pages) == 3


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match=r"out cannot be written.*Choose another"):
        ResultWriter(tmp_path / "out", make_stack())
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="no permission to write"):
            ResultWriter(tmp_path / "out", make_stack())
    finally:
        tmp_path.chmod(0o755)


def test_leftover_masks_are_not_mixed_with_new_ones(tmp_path):
    write_all(tmp_path, make_stack())
    with pytest.raises(OutputError, match=r"holds 2 masks.*mask000\.tif.*another output folder"):
        ResultWriter(tmp_path, make_stack(), frames=[1])
    write_all(tmp_path, make_stack())
    assert len(list((tmp_path / "01_RES").glob("mask*.tif"))) == 3


def test_full_disk_at_a_mask(tmp_path, monkeypatch):
    real = tifffile.imwrite

    def full(path, *args, **kwargs):
        if "mask001" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(OutputError, match=r"mask001\.tif.*disk is full.*Free some"):
        write_all(tmp_path, make_stack())
    assert (tmp_path / "01_RES" / "res_track.txt").read_text() == "1 0 0 0\n2 0 0 0\n"
    assert sorted(os.listdir(tmp_path / "01_RES")) == ["mask000.tif", "res_track.txt"]
    assert tifffile.imread(tmp_path / "probability.tif").shape == (20, 24)


LIMITED = """
import resource, sys
import numpy as np
from napari_jnet.files import OutputError
from napari_jnet.events import FramePrediction
from napari_jnet.io.axes import array_stack
from napari_jnet.io.results import ResultWriter

noise = np.random.default_rng(0).random((90, 90)).astype(np.float32)  # 32 kB
flat = np.zeros((90, 90), np.int32)
with ResultWriter(sys.argv[1], array_stack(np.zeros((5, 90, 90), np.uint8))) as writer:
    resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))
    for number in range(5):
        try:
            writer.write(FramePrediction(number, number, 5, noise + number, noise * 0, flat))
        except OutputError as error:
            print(number, error)
            break
"""


@pytest.mark.skipif(os.name == "nt", reason="needs a limit on file sizes")
def test_the_system_refuses_more_bytes(tmp_path):
    path = tmp_path / "probability.tif"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    number, text = int(done.stdout.split()[0]), done.stdout
    assert number >= 1
    assert "cannot be written" in text
    noise = np.random.default_rng(0).random((90, 90)).astype(np.float32)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].shape == (number, 90, 90)
        for n, page in enumerate(tiff.series[0].pages):
            np.testing.assert_array_equal(page.asarray(), noise + n)
    with closing(FramePages(path)) as pages:
        assert pages.frame_numbers == tuple(range(number))


def test_pages_that_are_no_tiff(tmp_path):
    (tmp_path / "instances.tif").write_bytes(b"II*\x00nothing")
    with pytest.raises(ValueError, match=r"instances\.tif cannot be read as a TIFF image"):
        FramePages(tmp_path / "instances.tif")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        FramePages(tmp_path / "distance.tif")


def test_pages_of_any_multipage_tiff_count_from_zero(tmp_path):
    tifffile.imwrite(
        tmp_path / "x.tif",
        np.arange(24, dtype=np.uint16).reshape(4, 3, 2),
        photometric="minisblack",
    )
    with closing(FramePages(tmp_path / "x.tif")) as pages:
        assert pages.frame_numbers == (0, 1, 2, 3)
        assert pages.read(2).tolist() == [[12, 13], [14, 15], [16, 17]]
    with closing(FramePages(tmp_path / "x.tif", frame_numbers=[1, 2, 3, 4])) as pages:
        assert pages.read(1)[0, 0] == 0
    with closing(FramePages(tmp_path / "x.tif", planes=2, frame_numbers=[1, 2, 3, 4])) as pages:
        assert pages.frame_numbers == (0, 1)
        assert pages.read(1).shape == (2, 3, 2)


def test_tracks_follow_the_best_overlap():
    tracks = OverlapTracks()
    before = np.array([[5, 5, 5, 5, 0, 7, 7, 0]])
    assert tracks.add(3, before).tolist() == [[1, 1, 1, 1, 0, 2, 2, 0]]
    halves = np.array([[1, 2, 2, 2, 0, 0, 4, 4]])
    assert tracks.add(4, halves).tolist() == [[3, 1, 1, 1, 0, 0, 2, 2]]
    assert tracks.add(6, halves).tolist() == [[4, 5, 5, 5, 0, 0, 6, 6]]
    assert tracks.lines() == "1 3 4 0\n2 3 4 0\n3 4 4 0\n4 6 6 0\n5 6 6 0\n6 6 6 0\n"


def test_a_frame_that_could_not_be_written_leaves_no_trace_in_the_tracks():
    tracks, cells = OverlapTracks(), np.array([[5, 5, 0, 7, 7]])
    tracks.add(3, cells)
    before = tracks.lines()
    assert tracks.add(
        4,
        np.array(
            [
                [
                    1,
                    1,
                    0,
                    0,
                    0,
                ]
            ]
        ),
    ).tolist() == [[1, 1, 0, 0, 0]]
    tracks.undo()
    assert tracks.lines() == before == "1 3 3 0\n2 3 3 0\n"
    tracks.add(5, cells)
    tracks.undo()
    assert (tracks.lines(), tracks.count) == (before, 2)
