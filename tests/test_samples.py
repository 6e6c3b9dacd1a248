from __future__ import annotations

import hashlib
import threading
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from napari_jnet import samples
from napari_jnet.project.open import open_stack
from napari_jnet.samples import download_sample
from napari_jnet.synthetic import write_cells_sequence

NAME = "DIC-C2DH-HeLa"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A small dataset of the name, zipped with ballast so that it comes in several chunks."""
    folder = tmp_path_factory.mktemp("archive")
    write_cells_sequence(folder / NAME, frames=(2, 1), shape=(64, 64), cells=2, diameter=20)
    path = folder / f"{NAME}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for part in sorted((folder / NAME).rglob("*.*")):
            file.write(part, part.relative_to(folder))
        file.writestr(f"{NAME}/ballast.bin", bytes(1 << 20))
    return path.read_bytes()


@pytest.fixture
def server(archive):
    """A server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if not self.path.endswith(f"{NAME}.zip"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive)))
            self.end_headers()
            with suppress(OSError):  # the client has gone, as it may
                self.wfile.write(archive)

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    running.url = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)


@pytest.fixture
def trusted(archive, monkeypatch):
    checksum = hashlib.sha256(archive).hexdigest()
    monkeypatch.setitem(samples.SAMPLES, NAME, checksum)


class Bar:
    """A progress bar as pooch takes it."""

    n = total = updates = 0

    def update(self, size):
        self.n += size
        self.updates += 1

    def reset(self):
        self.n = 0

    def close(self):
        pass


def test_download_is_checked_unpacked_and_opens(server, trusted, archive, tmp_path):
    bar = Bar()
    path = download_sample(NAME, folder=tmp_path / "new", base_url=server.url, progressbar=bar)
    assert path == tmp_path / "new" / NAME
    assert bar.updates > 2 and bar.n == bar.total == len(archive)
    assert open_stack(path).frame_numbers == (0, 1)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [NAME]


def test_second_time_nothing_is_downloaded(server, trusted, tmp_path):
    first = download_sample(NAME, folder=tmp_path, base_url=server.url)
    assert download_sample(NAME, folder=tmp_path, base_url="http://127.0.0.1:9") == first


def test_an_exception_of_the_progress_cancels_and_nothing_is_left(server, trusted, tmp_path):
    def update(size):
        raise InterruptedError

    bar = Bar()
    bar.update = update
    with pytest.raises(InterruptedError):
        download_sample(NAME, folder=tmp_path, base_url=server.url, progressbar=bar)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_of_other_content_is_refused(server, archive, tmp_path, monkeypatch):
    monkeypatch.setitem(samples.SAMPLES, f"not-{NAME}", hashlib.sha256(archive).hexdigest())
    with pytest.raises(ValueError, match="is not the expected archive"):
        download_sample(f"not-{NAME}", folder=tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_is_explained_and_nothing_stays(server, tmp_path):
    with pytest.raises(
        ValueError, match=r"DIC-C2DH-HeLa\.zip is not the expected archive.* checksum"
    ):
        download_sample(NAME, folder=tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["{server}/elsewhere?x=", "http://127.0.0.1:9"])
def test_unreachable_archive_is_explained(server, tmp_path, monkeypatch, url):
    monkeypatch.setitem(samples.SAMPLES, "NONE", "0" * 64)
    with pytest.raises(ValueError, match=r"NONE\.zip cannot be downloaded .* check the network"):
        download_sample("NONE", folder=tmp_path, base_url=url.format(server=server.url))
    assert list(tmp_path.iterdir()) == []


def test_unknown_sample():
    with pytest.raises(
        ValueError, match="'HeLa' is not a sample; known are nuclei, tissue, DIC-C2DH-HeLa, Ph"
    ):
        download_sample("HeLa")


def test_folder_that_cannot_be_made(trusted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        download_sample(NAME, folder=tmp_path / "file")


@pytest.mark.parametrize(("name", "frames", "cells"), [("nuclei", 3, 187), ("tissue", 1, 26)])
def test_samples_of_the_package_are_small_and_have_labels(name, frames, cells):
    path = samples.sample_path(name)
    assert download_sample(name) == path
    assert sum(file.stat().st_size for file in path.parent.glob(f"{name}*")) < 150_000
    stack = open_stack(path)
    (labels,) = stack.annotations.values()
    assert len(stack) == frames and labels.kind == "instances"
    assert sum(len(np.unique(labels.frame(n))) - 1 for n in labels.frame_numbers) == cells
