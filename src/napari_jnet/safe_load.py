"""Read files of torch as plain data, checked first and never run as code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from napari_jnet.files import FileError, check_memory, reading


def read_plain(path: Path, what: str, remedy: str, error_type: type[FileError] = FileError) -> Any:
    """Read numbers, texts and tensors from a file of torch, without running code from it.

    Parameters and errors are those of `napari_jnet.files.reading`.

    Notes
    -----
    Archives hold a checksum of each member, which torch does not compare; here it is.  They are never
    compressed, so that a small file cannot fill the memory.  Files in the format that torch wrote before
    version 1.6, as those of the original J-Net, have no checksums.
    """
    with reading(path, what, remedy, error_type):
        check_memory(path, path.stat().st_size)
        with path.open("rb") as file:
            archive = file.read(4) == b"PK\x03\x04"
        if archive:
            _check_archive(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of pickles that are not checkpoints
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # torch then names the GLOBAL that the file refers to; other errors mean a damaged file.
            if "GLOBAL" not in str(error):
                raise error_type(f"{path} cannot be read as {what}; {remedy}") from error
            raise error_type(
                f"{path} holds more than numbers and tensors, so opening it could run code; it is "
                "refused. Ask its author for a file of plain weights."
            ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("it is compressed, as torch never does")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its listed parts are larger than the file")
        if len({member.filename for member in members}) < len(members):
            raise ValueError("it holds two parts of one name")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"its part {damaged} does not have its checksum")
