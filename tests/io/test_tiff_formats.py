"""TIFF files as tifffile writes them: the same pixels, whatever type, axes, layout and compression."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_jnet.project.open import open_stack

AXES = ("YX", "TYX", "ZYX", "TZYX", "YXS", "TYXS")
TYPES = "bBhHiIlLfd?"
LAYOUTS = ("plain", "ome", "imagej")


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_what_tifffile_writes_opens_to_the_same_pixels(tmp_path, data):
    axes, dtype = data.draw(st.sampled_from(AXES)), np.dtype(data.draw(st.sampled_from(TYPES)))
    layout = data.draw(st.sampled_from(LAYOUTS))
    sizes = {"T": 2, "Z": 3, "S": 3} | {a: data.draw(st.integers(5, 40)) for a in "YX"}
    shape = tuple(sizes[axis] for axis in axes)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    pixels = rng.integers(0, 100, shape).astype(dtype)
    options = {
        "compression": data.draw(st.sampled_from([None, "zlib", "lzw", "packbits"])),
        "bigtiff": data.draw(st.booleans()),
        "byteorder": data.draw(st.sampled_from("<>")),
        "tile": data.draw(st.sampled_from([None, (16, 16)])),
        "photometric": "rgb" if "S" in axes else "minisblack",
        "metadata": {"axes": axes},
    }
    if layout == "imagej":  # knows few types, and neither tiles nor compression
        pixels = pixels.astype(np.uint8 if "S" in axes else data.draw(st.sampled_from("BHf")))
        options |= {"imagej": True, "compression": None, "bigtiff": False, "tile": None}
    elif layout == "ome":
        options["ome"] = True
        if dtype.char in "?lL":  # OME has no such types
            pixels = pixels.astype(np.uint8)
    elif dtype.kind == "b":
        options["compression"] = options["tile"] = None
    path = tmp_path / f"stack.{'ome.tif' if layout == 'ome' else 'tif'}"
    tifffile.imwrite(path, pixels, **options)

    given_axes = axes.replace("S", "C")
    stack = open_stack(path, axes=given_axes if layout == "plain" else None)
    frames = np.stack([stack.frame(n) for n in range(len(stack))])
    wanted = pixels
    if not {"T", "Z"} & set(axes):  # sections of a single volume are its frames
        wanted = wanted[None]
    assert frames.shape == wanted.shape, (stack.axes, layout)
    np.testing.assert_array_equal(frames, wanted)


def pages(path, seed=0, count=5):
    """Write compressed pages, and return them."""
    stack = np.random.default_rng(seed).integers(0, 255, (count, 32, 40)).astype(np.uint8)
    tifffile.imwrite(path, stack, compression="lzw", photometric="minisblack")
    return stack


def test_a_file_is_parsed_once_for_all_its_pages(tmp_path, monkeypatch):
    expected, parsed, parse = pages(tmp_path / "a.tif"), [], tifffile.TiffFile
    monkeypatch.setattr(tifffile, "TiffFile", lambda *a, **b: parsed.append(a) or parse(*a, **b))
    stack = open_stack(tmp_path / "a.tif")
    for number in (3, 0, 4):
        assert np.array_equal(stack.frame(number), expected[number])
    assert len(parsed) == 1


def test_a_file_that_changed_is_parsed_again(tmp_path):
    path = tmp_path / "a.tif"
    pages(path)
    stack = open_stack(path)
    stack.frame(2)
    other = tmp_path / "other.tif"
    expected = np.repeat(pages(other, seed=1), 2, axis=0)
    tifffile.imwrite(other, expected, compression="zlib", photometric="minisblack")
    other.replace(path)
    assert np.array_equal(stack.frame(2), expected[2])


def test_a_file_that_changed_and_kept_its_time_and_size_is_parsed_again(tmp_path):
    path, image = tmp_path / "a.tif", np.arange(600, dtype=np.uint16).reshape(20, 30)
    tifffile.imwrite(path, image)
    assert open_stack(path).shape == image.shape
    before = path.stat()
    tifffile.imwrite(path, image.T)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as cp -p and rsync do
    assert path.stat().st_size == before.st_size
    assert np.array_equal(open_stack(path).frame(0), image.T)


def test_no_file_stays_open_and_threads_may_read_it(tmp_path):
    stacks = []
    for n in range(12):
        expected = pages(tmp_path / f"{n}.tif", seed=n)
        stacks.append((open_stack(tmp_path / f"{n}.tif"), expected))
    wanted = [(stack, expected, number) for number in range(5) for stack, expected in stacks]
    with ThreadPoolExecutor(8) as threads:
        assert all(
            threads.map(lambda one: np.array_equal(one[0].frame(one[2]), one[1][one[2]]), wanted)
        )
    assert not [
        file for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))
    ]


def test_a_damaged_page_does_not_spoil_the_others(tmp_path):
    path = tmp_path / "a.tif"
    expected = pages(path, count=3)
    with tifffile.TiffFile(path) as file:
        offset, size = file.pages[1].dataoffsets[0], file.pages[1].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)
    stack = open_stack(path)
    with pytest.raises(ValueError, match=r"a\.tif"):
        stack.frame(1)
    assert np.array_equal(stack.frame(2), expected[2])
