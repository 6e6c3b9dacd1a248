"""What every test may use."""

from __future__ import annotations

import importlib.util
import os
import sys

# Before torch is imported: the tests run beside each other's threads on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before pytest-qt and qtpy look: PySide6 is there for one test, in a process of its own.
if importlib.util.find_spec("PyQt6"):
    os.environ.setdefault("PYTEST_QT_API", "pyqt6")
    os.environ.setdefault("QT_API", "pyqt6")

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _one_thread():
    """Give back the threads that a training of a test took: the next tests share the cores.

    Yields
    ------
    None
    """
    yield
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data; tests that need it are skipped where it is absent.

    Of the session, so that a test is skipped before its window is made.
    """
    folder = Path(os.environ.get("NAPARI_JNET_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is no folder; set NAPARI_JNET_DATA")
    return folder
