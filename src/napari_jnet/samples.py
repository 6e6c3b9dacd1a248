"""Public datasets by download: with checksum, progress and cancel."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SERVER = "http://data.celltrackingchallenge.net/training-datasets/"


_POLL_S = 0.2


_TIMEOUT_S = 20


_JOIN_S = 2.0


@dataclass(frozen=True)
class Sample:
    """One public archive: a zip file that holds a folder of the same name.

    Attributes
    ----------
    sha256
        Of the zip file.
    megabytes
        Size of the download, for people; None if not known.
    """

    name: str
    url: str
    sha256: str
    megabytes: float | None = None


SAMPLES: dict[str, Sample] = {
    sample.name: sample
    for sample in (
        Sample(
            "DIC-C2DH-HeLa",
            f"{_SERVER}DIC-C2DH-HeLa.zip",
            "832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a",
            41.5,
        ),
        Sample(
            "PhC-C2DH-U373",
            f"{_SERVER}PhC-C2DH-U373.zip",
            "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e",
        ),
    )
}


"""Training archives of the Cell Tracking Challenge; checksums as torch-em records them."""


@dataclass(frozen=True)
class DownloadProgress:
    """Bytes received so far; ``total`` is 0 while the server has not told."""

    received: int
    total: int


@dataclass(frozen=True)
class DownloadEnd:
    """The last event: the dataset is complete in `path`."""

    path: Path


def sample_path(name: str, folder: Path | str | None = None) -> Path:
    """Return where a sample lies once it is downloaded; ``folder`` as for `download_sample`.

    Raises
    ------
    ValueError
        If there is no sample of this name.
    """
    if name not in SAMPLES:
        raise ValueError(f"There is no sample {name!r}; known are {', '.join(SAMPLES)}.")
    if folder is None:
        import pooch

        folder = pooch.os_cache("napari-jnet")
    return Path(folder) / name


def download_sample(
    name: str, *, folder: Path | str | None = None, base_url: str | None = None
) -> Generator[DownloadProgress | DownloadEnd, None, None]:
    """Download a sample, check it and unpack it; nothing is done if it is there already.

    Closing the generator cancels: nothing of an unfinished download stays.

    Parameters
    ----------
    name
        One of `SAMPLES`.
    folder
        Where the dataset's folder goes; None takes the user's cache.
    base_url
        Another server that holds NAME.zip.

    Yields
    ------
    DownloadProgress
        Several times a second.
    DownloadEnd
        Once, at the end.

    Raises
    ------
    ValueError
        If there is no such sample, the server cannot be reached, or the archive is not the one
        that is expected.
    OSError
        If the folder cannot be written.
    """
    target = sample_path(name, folder)
    if target.is_dir():
        yield DownloadEnd(target)
        return
    sample = SAMPLES[name]
    url = f"{base_url.rstrip('/')}/{name}.zip" if base_url else sample.url
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        yield from _download(url, sample.sha256, scratch)
        _unpack(scratch / "archive.zip", name, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    yield DownloadEnd(target)


class _Cancelled(Exception):
    """Leaves the download from inside its progress report."""


class _Report:
    """What pooch takes for a progress bar; pooch sets ``total`` before the first update."""

    def __init__(self) -> None:
        self.total = 0
        self.cancelled = threading.Event()
        self.events: queue.SimpleQueue[DownloadProgress | Exception | None] = queue.SimpleQueue()
        self._received = 0
        self.last = DownloadProgress(0, 0)

    def update(self, size: int) -> None:
        if self.cancelled.is_set():
            raise _Cancelled
        self._received = min(self._received + size, self.total or self._received + size)
        self.events.put(DownloadProgress(self._received, self.total))

    def latest(self) -> DownloadProgress | Exception | None:
        """Wait a little for news; None is the end, the same progress again if there is none.

        Chunks come much faster than anybody can look: older ones are dropped.
        """
        try:
            event = self.events.get(timeout=_POLL_S)
            while isinstance(event, DownloadProgress):
                self.last = event
                event = self.events.get_nowait()
            return event
        except queue.Empty:
            return self.last

    def reset(self) -> None:
        self._received = 0

    def close(self) -> None:
        pass


def _download(url: str, sha256: str, folder: Path) -> Generator[DownloadProgress, None, None]:
    """Let pooch download in a thread, so that this generator can be closed at any time."""
    report = _Report()
    thread = threading.Thread(target=_fetch, args=(url, sha256, folder, report), daemon=True)
    thread.start()
    try:
        while True:
            event = report.latest()
            if isinstance(event, Exception):
                raise event
            if event is None:
                yield report.last  # which the end may have overtaken
                return
            # While the network stalls too: whoever listens can only stop between two events.
            yield event
    finally:
        report.cancelled.set()
        thread.join(_JOIN_S)


def _fetch(url: str, sha256: str, folder: Path, report: _Report) -> None:
    import pooch

    downloader: Any = pooch.HTTPDownloader(
        progressbar=report, timeout=_TIMEOUT_S, chunk_size=1 << 16
    )
    try:
        pooch.retrieve(
            url, f"sha256:{sha256}", fname="archive.zip", path=folder, downloader=downloader
        )
        report.events.put(None)
    except _Cancelled:
        pass
    # Handed over, not swallowed: it is raised again where the generator runs.
    except Exception as error:  # noqa: BLE001
        report.events.put(_explained(error, url))


def _explained(error: Exception, url: str) -> Exception:
    if "hash" in str(error).lower():
        return ValueError(
            f"{url} is not the archive that is expected: its checksum differs. The download was "
            "damaged, or the server's file has changed; try again later."
        )
    if type(error).__module__.startswith(("requests", "urllib3")):
        return ValueError(
            f"{url} cannot be downloaded ({error}); check the network, or download the archive by "
            "hand, unpack it and open the folder."
        )
    return error


def _unpack(archive: Path, name: str, target: Path) -> None:
    """Unpack beside the archive, then rename: the target is complete or not there."""
    inside = archive.parent / "unpacked"
    try:
        with zipfile.ZipFile(archive) as file:
            file.extractall(inside)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive.name} of {name} is no zip archive ({error}).") from error
    if not (inside / name).is_dir():
        raise ValueError(f"The archive of {name} has no folder {name}; it is not the one expected.")
    (inside / name).rename(target)
