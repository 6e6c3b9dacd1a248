from __future__ import annotations

import hashlib
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from napari_jnet import samples
from napari_jnet.project.open import open_stack
from napari_jnet.samples import DownloadEnd, DownloadProgress, Sample, download_sample
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
    """A server on loopback; ``hold`` makes it stop after half of the archive until it is set."""

    class Handler(BaseHTTPRequestHandler):
        hold: threading.Event | None = None

        def do_GET(self):
            if not self.path.endswith(f"{NAME}.zip"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive)))
            self.end_headers()
            half = len(archive) // 2
            try:
                self.wfile.write(archive[:half])
                if self.hold is not None:
                    self.hold.wait(20)
                self.wfile.write(archive[half:])
            except OSError:
                pass  # the client has gone, as it may

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    running.handler = Handler
    running.url = f"http://127.0.0.1:{running.server_port}"
    yield running
    running.shutdown()
    running.server_close()
    thread.join(10)


@pytest.fixture
def trusted(archive, monkeypatch):
    checksum = hashlib.sha256(archive).hexdigest()
    monkeypatch.setitem(samples.SAMPLES, NAME, Sample(NAME, "http://127.0.0.1:9/", checksum))


def test_download_is_checked_unpacked_and_opens(server, trusted, archive, tmp_path):
    events = list(download_sample(NAME, folder=tmp_path / "new", base_url=server.url))
    assert events[-1] == DownloadEnd(tmp_path / "new" / NAME)
    received = [e.received for e in events[:-1] if isinstance(e, DownloadProgress)]
    assert received == sorted(received)
    assert events[-2] == DownloadProgress(len(archive), len(archive))
    assert open_stack(events[-1].path).frame_numbers == (0, 1)
    assert [p.name for p in (tmp_path / "new").iterdir()] == [NAME]


def test_second_time_nothing_is_downloaded(server, trusted, tmp_path):
    list(download_sample(NAME, folder=tmp_path, base_url=server.url))
    again = list(download_sample(NAME, folder=tmp_path, base_url="http://127.0.0.1:9"))
    assert again == [DownloadEnd(tmp_path / NAME)]


def test_closing_cancels_and_leaves_nothing(server, trusted, archive, tmp_path):
    server.handler.hold = threading.Event()
    download = download_sample(NAME, folder=tmp_path, base_url=server.url)
    first = next(event for event in download if event.received)
    assert first.received < len(archive)
    release = threading.Timer(0.2, server.handler.hold.set)
    release.start()
    download.close()
    release.join()
    assert list(tmp_path.iterdir()) == []


def test_wrong_checksum_is_explained_and_nothing_stays(server, tmp_path):
    with pytest.raises(ValueError, match=r"DIC-C2DH-HeLa\.zip is not the archive .* checksum"):
        list(download_sample(NAME, folder=tmp_path, base_url=server.url))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["{server}/elsewhere?x=", "http://127.0.0.1:9"])
def test_unreachable_archive_is_explained(server, tmp_path, monkeypatch, url):
    monkeypatch.setitem(samples.SAMPLES, "NONE", Sample("NONE", "", "0" * 64))
    with pytest.raises(ValueError, match=r"NONE\.zip cannot be downloaded .* check the network"):
        list(download_sample("NONE", folder=tmp_path, base_url=url.format(server=server.url)))
    assert list(tmp_path.iterdir()) == []


def test_unknown_sample():
    with pytest.raises(
        ValueError, match="no sample 'HeLa'; known are DIC-C2DH-HeLa, PhC-C2DH-U373"
    ):
        list(download_sample("HeLa"))


def test_folder_that_cannot_be_made(trusted, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        list(download_sample(NAME, folder=tmp_path / "file"))
