from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_jnet.io.stack import annotated_frames
from napari_jnet.labels import LabelKind
from napari_jnet.project.open import open_stack


def write(path, array, **options):
    """Write grey pages: tifffile takes 3 or 4 sections for colours if it is not told."""
    options.setdefault("photometric", "minisblack")
    tifffile.imwrite(path, array, **options)


def volume(shape=(4, 24, 32), dtype=np.uint8):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def isbi(tmp_path):
    write(tmp_path / "train-volume.tif", volume())
    labels = np.where(volume() % 3 == 0, 0, 255).astype(np.uint8)
    write(tmp_path / "train-labels.tif", labels)
    write(tmp_path / "test-volume.tif", volume((6, 24, 32)))
    return tmp_path


@pytest.mark.parametrize("part", ["", "train-volume.tif", "train-labels.tif"])
def test_isbi_volume_with_labels(isbi, part):
    stack = open_stack(isbi / part)
    assert (stack.name, stack.axes, stack.shape, len(stack)) == (
        "train-volume",
        "ZYX",
        (24, 32),
        4,
    )
    assert set(stack.units) == {"pixel"}, "the files do not state it"
    assert np.array_equal(stack.frame(2), volume()[2])
    labels = stack.annotation()
    assert labels.kind is LabelKind.CLASSES
    assert np.array_equal(labels.frame(2), (volume()[2] % 3 != 0).astype(int))
    assert [f.name for f in annotated_frames(stack, frames=[0, 3])] == [
        "train-volume/z000",
        "train-volume/z003",
    ]


def test_volume_without_labels_opens(isbi):
    stack = open_stack(isbi / "test-volume.tif")
    assert len(stack) == 6
    with pytest.raises(ValueError, match="has no annotation"):
        annotated_frames(stack)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("cells.tif", "cells_labels.tif"),
        ("cells.tif", "cells-mask.tif"),
        ("cells_raw.tif", "cells_seg.tif"),
        ("Image.tiff", "Labels.tiff"),
        ("stack2.tif", "stack2_gt.tif"),
    ],
)
def test_label_volume_beside_a_volume(tmp_path, image, labels):
    ids = np.zeros((4, 24, 32), np.uint16)
    ids[:, 2:9, 2:9], ids[:, 9:20, 9:20] = 300, 7
    write(tmp_path / image, volume())
    write(tmp_path / labels, ids)
    for path in (tmp_path, tmp_path / image, tmp_path / labels):
        stack = open_stack(path)
        assert stack.path == tmp_path / image
        assert stack.annotation().kind is LabelKind.INSTANCES
        assert np.array_equal(stack.annotation().frame(1), ids[1])


def test_other_files_are_not_taken_for_labels(tmp_path):
    write(tmp_path / "a.tif", volume())
    write(tmp_path / "b_labels.tif", volume())
    write(tmp_path / "segment.tif", volume())
    assert not open_stack(tmp_path / "a.tif").annotations
    assert not open_stack(tmp_path / "segment.tif").annotations


def test_labels_of_another_size_are_named(isbi):
    write(isbi / "train-labels.tif", volume((3, 24, 32)))
    expected = r"train-labels\.tif has shape \(3, 24, 32\), train-volume\.tif has \(4, 24, 32\)"
    stack = open_stack(isbi)
    assert len(stack) == 4, "images can be segmented whatever lies beside them"
    with pytest.raises(ValueError, match=expected):
        annotated_frames(stack)


def test_sequence_makes_no_sense(isbi):
    with pytest.raises(ValueError, match="sequence '01' was requested"):
        open_stack(isbi, sequence="01")


def test_float_labels_are_refused(tmp_path):
    write(tmp_path / "a.tif", volume())
    write(tmp_path / "a_labels.tif", np.linspace(0, 1, 4 * 24 * 32).reshape(4, 24, 32))
    with pytest.raises(ValueError, match=r"a_labels\.tif: Labels are float64 .* integers"):
        open_stack(tmp_path).annotation().frame(0)


def test_truncated_volume(isbi):
    path = isbi / "train-volume.tif"
    write(path, np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.uint8))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ValueError, match=r"train-volume\.tif"):
        open_stack(path).frame(3)


def test_imagej_axes_and_pixel_size(tmp_path):
    path = tmp_path / "movie.tif"
    array = volume((3, 5, 24, 32), np.uint16)
    write(
        path,
        array,
        imagej=True,
        resolution=(2.0, 2.0),
        metadata={"axes": "TZYX", "unit": "um", "spacing": 1.5},
    )
    stack = open_stack(path)
    assert (stack.axes, stack.shape, len(stack)) == ("TZYX", (5, 24, 32), 3)
    assert stack.scale == (1.0, 1.5, 0.5, 0.5)
    assert stack.units == ("pixel", "micrometer", "micrometer", "micrometer")
    assert np.array_equal(stack.frame(2), array[2])


def test_ome_axes_and_pixel_size(tmp_path):
    path = tmp_path / "movie.ome.tif"
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 1.0}
    write(path, volume(), ome=True, metadata=metadata, compression="lzw")
    stack = open_stack(path)
    assert (stack.axes, stack.scale) == ("ZYX", (1.0, 0.2, 0.2))
    assert np.array_equal(stack.frame(3), volume()[3])


def test_channels_go_last(tmp_path):
    array = volume((3, 2, 24, 32), np.uint16)
    path = tmp_path / "two.tif"
    write(path, array, imagej=True, metadata={"axes": "TCYX"})
    stack = open_stack(path)
    assert (stack.axes, stack.shape) == ("TYXC", (24, 32, 2))
    assert np.array_equal(stack.frame(1), np.moveaxis(array[1], 0, -1))


def test_colours_and_single_images(tmp_path):
    rgb = volume((5, 24, 32, 3))
    write(tmp_path / "rgb.tif", rgb, photometric="rgb")
    stack = open_stack(tmp_path / "rgb.tif")
    assert (stack.axes, len(stack), stack.shape) == ("TYXC", 5, (24, 32, 3))
    assert np.array_equal(stack.frame(4), rgb[4])
    write(tmp_path / "grey.tif", rgb[0, ..., 0])
    stack = open_stack(tmp_path / "grey.tif")
    assert (stack.axes, len(stack), stack.shape) == ("TYX", 1, (24, 32))
    assert np.array_equal(stack.frame(0), rgb[0, ..., 0])


def test_too_many_axes_are_refused(tmp_path):
    array = volume((2, 3, 2, 24, 32), np.uint16)
    write(tmp_path / "much.tif", array, imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(ValueError, match=r"axes TZCYX .* Save one channel"):
        open_stack(tmp_path / "much.tif")


def test_one_section_is_read_at_a_time(isbi, monkeypatch):
    stack = open_stack(isbi)

    def refuse(*arguments, **options):
        raise AssertionError("the whole volume was read")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", refuse)
    assert np.array_equal(stack.frame(1), volume()[1])


def test_compressed_pages_are_read_one_at_a_time(tmp_path, monkeypatch):
    path = tmp_path / "z.tif"
    write(path, volume(), compression="lzw")
    stack = open_stack(path)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", None)
    assert np.array_equal(stack.frame(3), volume()[3])


def test_real_volume(shared_data):
    stack = open_stack(shared_data / "isbi2012")
    assert len(stack) == 24
    assert len(stack.annotation().frame_numbers) == 24
    assert 0.7 < np.mean(stack.annotation().frame(0)) < 0.85
