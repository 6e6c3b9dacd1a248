"""Files that are damaged, huge or something else: one sentence that names the file, whoever reads it."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_jnet.files import FileError, read_json, reading
from napari_jnet.io.folder import image_header, read_image, read_mask
from napari_jnet.io.tiff import read_header, read_tiff


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("bad data"), IndexError(), KeyError("x"), ZeroDivisionError("0"), TypeError("None"),
        RecursionError("deep"), SyntaxError("broken PNG"), OSError("cannot identify"), AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_reader_raises_is_said_of_the_file(tmp_path: Path, error: Exception) -> None:
    file = tmp_path / "a.dat"
    file.touch()
    said = r"a\.dat cannot be read as a map .*Draw it again\."
    with pytest.raises(FileError, match=said), reading(file, "a map", "it is none. Draw it again."):
        raise error


def test_no_memory_is_said_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    file.touch()
    with (
        pytest.raises(FileError, match=r"content of .*a\.dat needs more memory"),
        reading(file, "a map"),
    ):
        raise MemoryError


def test_an_error_of_the_system_keeps_its_type(tmp_path: Path) -> None:
    file = tmp_path / "a.dat"
    file.touch()
    said = r"a\.dat cannot be read: Permission denied"
    with pytest.raises(PermissionError, match=said), reading(file, "a map"):
        raise PermissionError(13, "Permission denied", str(file))
    with pytest.raises(OSError, match=r"n{300}"), reading(tmp_path / ("n" * 300), "a map"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="there are no such files on Windows")
@pytest.mark.parametrize("reader", [read_tiff, read_image, read_json, read_mask])
def test_pipes_loops_and_folders_are_no_files(tmp_path: Path, reader) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("b.png")
    (tmp_path / "c.png").mkdir()
    (tmp_path / "d.png").symlink_to("/dev/zero")
    for name in ("a", "b", "c", "d"):
        with pytest.raises((FileError, FileNotFoundError), match=rf"{name}\.png"):
            reader(tmp_path / f"{name}.png")


def declare(file: Path, tag: int, value: int) -> None:
    """Change what a TIFF file says of itself."""
    with tifffile.TiffFile(file) as tiff:
        place = tiff.pages.first.tags[tag].offset
    data = bytearray(file.read_bytes())
    data[place + 2 : place + 12] = struct.pack("<HII", 4, 1, value)
    file.write_bytes(data)


@pytest.mark.parametrize("size", [0, 70_000_000, 2**31, 2**32 - 1])
@pytest.mark.parametrize("tag", [256, 257])
def test_a_tiff_that_says_it_is_huge(tmp_path: Path, tag: int, size: int) -> None:
    for name, options in (("a.tif", {}), ("b.tif", {"compression": "zlib"})):
        file = tmp_path / name
        tifffile.imwrite(file, np.ones((9, 70_000), np.uint16), metadata=None, **options)
        declare(file, tag, size)
        with pytest.raises(ValueError, match=rf"{name}"):
            read_tiff(file)


def test_a_tiff_larger_than_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.ones((40, 50), np.uint16))
    monkeypatch.setattr("napari_jnet.files.available_bytes", lambda: 3999)
    with pytest.raises(FileError, match=r"content of .*a\.tif needs 0 MB"):
        read_tiff(file)
    assert read_header(file).shape == (40, 50)
    Image.fromarray(np.ones((40, 50), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FileError, match=r"a\.png"):
        monkeypatch.setattr("napari_jnet.files.available_bytes", lambda: 1999)
        read_image(tmp_path / "a.png")


def test_a_picture_of_any_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scan.png"
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert image_header(file)[0] == (40, 50)
    assert (read_image(file) == 7).all()
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": ', "", "\x00", '{"a": ' + "1" * 9000 + "}"])
def test_json_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(FileError, match=r"a\.json cannot be read as a JSON file"):
        read_json(tmp_path / "a.json")


def test_json_of_other_letters(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'"\xff\xfe"')
    with pytest.raises(FileError, match=r"a\.json cannot be read as a JSON file"):
        read_json(tmp_path / "a.json")
