"""What every test may use."""

from __future__ import annotations

import os

# Before torch is imported: the tests run beside each other's threads on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data; tests that need it are skipped where it is absent.

    Of the session, so that a test is skipped before its window is made.
    """
    folder = Path(os.environ.get("NAPARI_JNET_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder; set NAPARI_JNET_DATA")
    return folder
