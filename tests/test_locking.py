"""One writer a folder, over threads and processes."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from napari_jnet.files import LOCK_FILE, FolderInUse, FolderLock

HOLDING = """
import sys
from pathlib import Path
from napari_jnet.files import FolderLock

with FolderLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_the_second_is_told_who_has_it_and_a_killed_holder_has_nothing(tmp_path: Path) -> None:
    link = tmp_path / "link"
    folder = tmp_path / "run"
    folder.mkdir()
    link.symlink_to(folder)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        assert FolderLock(folder).holder == f"process {child.pid} on {platform.node()}"
        with pytest.raises(FolderInUse, match=rf"process {child.pid} on .* is writing.*Wait until"):
            FolderLock(link).acquire(0)
        child.kill()
    assert (folder / LOCK_FILE).exists()
    assert FolderLock(folder).holder == ""
    with FolderLock(folder) as lock:
        assert FolderLock(folder).holder == "this program"
        with pytest.raises(FolderInUse, match="this program is writing"):
            FolderLock(folder).acquire(0)
        lock.release()
        assert list(folder.iterdir()) == []
        FolderLock(folder).acquire(0).release()


def test_a_link_under_the_name_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError):
        FolderLock(tmp_path).acquire(0)
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOLCK, "file system without locks.*another disk"),
        (errno.EROFS, "no permission to write"),
    ],
)
def test_a_disk_that_knows_no_locks_and_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("napari_jnet.files.FileLock.acquire", refuse)
    with pytest.raises(OSError, match=words):
        FolderLock(tmp_path).acquire()
