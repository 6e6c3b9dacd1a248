"""Download public datasets: checked, unpacked, and complete or absent."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

SERVER = "http://data.celltrackingchallenge.net/training-datasets"
SAMPLES = {
    "DIC-C2DH-HeLa": "832fed2d05bb7488cf9c51a2994b75f8f3f53b3c3098856211f2d39023c34e1a",
    "PhC-C2DH-U373": "b18185c18fce54e8eeb93e4bbb9b201d757add9409bbf2283b8114185a11bc9e",
}
"""Training archives of the Cell Tracking Challenge: SHA-256 of NAME.zip, as torch-em records it."""
BUNDLED = ("nuclei", "tissue")
"""Samples of the package: nuclei of the 2018 Data Science Bowl (BBBC038, CC0), with their labels."""
_TIMEOUT_S = 20


def sample_path(name: str, folder: Path | str | None = None) -> Path:
    """Return the path of a sample, once it is downloaded; None as the folder is the user's cache.

    Those of `BUNDLED` are in the package.
    """
    if name in BUNDLED:
        return Path(__file__).parent / "data" / f"{name}.tif"
    if name not in SAMPLES:
        raise ValueError(f"{name!r} is not a sample; known are {', '.join([*BUNDLED, *SAMPLES])}.")
    if folder is None:
        import pooch

        folder = pooch.os_cache("napari-jnet")
    return Path(folder) / name


def download_sample(
    name: str,
    *,
    folder: Path | str | None = None,
    base_url: str = SERVER,
    progressbar: Any = False,
) -> Path:
    """Download a sample, check and unpack it, unless it is there already; return the path of the dataset.

    The `progressbar` is one as pooch takes it, such as tqdm's.  An exception that it raises cancels the
    download and is passed on; no unfinished file stays.  Raises `ValueError` if the name is
    unknown, the server cannot be reached, or the archive is not the expected one.
    """
    import pooch
    from requests.exceptions import RequestException

    target = sample_path(name, folder)
    if target.exists():
        return target
    url = f"{base_url.rstrip('/')}/{name}.zip"
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    downloader = pooch.HTTPDownloader(
        progressbar=progressbar, timeout=_TIMEOUT_S, chunk_size=1 << 16
    )
    try:
        pooch.retrieve(
            url,
            f"sha256:{SAMPLES[name]}",
            path=scratch,
            downloader=downloader,
            processor=pooch.Unzip(extract_dir="unpacked"),
        )
        (scratch / "unpacked" / name).rename(target)
    except RequestException as error:
        raise ValueError(
            f"{url} cannot be downloaded ({error}); check the network, or download the archive by "
            "hand, unpack it and open the folder."
        ) from error
    except (ValueError, zipfile.BadZipFile, FileNotFoundError) as error:
        raise ValueError(
            f"{url} is not the expected archive: its checksum or content differs ({error}). The "
            "download was damaged, or the server's file has changed; try again later."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target
