"""What every test may use."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import sys
from collections.abc import Callable

# Before torch is imported: the tests run beside each other's threads on small machines.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before pytest-qt and qtpy look: PySide6 is there for one test, in a process of its own.
if importlib.util.find_spec("PyQt6"):
    os.environ.setdefault("PYTEST_QT_API", "pyqt6")
    os.environ.setdefault("QT_API", "pyqt6")

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
# nohup, and a background job of a shell, ignore these; so would the programs that tests interrupt.
for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    _number = getattr(signal, _name, None)
    if _number and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what the imports made: each viewer of a test runs it in full."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(scope="session")
def color_classes() -> Callable[[Path], None]:
    """Return a function that writes two colour images of green stripes and red discs, with colour masks."""
    return _write_color_classes


def _write_color_classes(folder: Path) -> None:
    shape = (64, 96)
    rng = np.random.default_rng(0)
    y, x = np.indices(shape)
    classes = np.where(y % 16 < 3, 1, 0)
    for column in range(16, shape[1], 32):
        for row in range(8, shape[0], 16):
            classes[(y - row) ** 2 + (x - column) ** 2 < 25] = 2
    colors = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for k in range(2):
        mask = colors[np.roll(classes, k, axis=0)]
        image = (mask // 3 + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/Img_{k}.png")
        Image.fromarray(mask).save(folder / f"masks/Mask_{k}.png")
