"""Loads torch beside a living window; called in worker threads only.

A plain ``import torch`` holds the window three times for 0.1 to 0.3 s: while the system maps the
library, for Python keeps its lock then, and whenever so many new objects make the garbage collector
look through everything that napari and torch have.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from napari_jnet.hardware import load_triton_apart

# as torch itself loads them: its dependencies for everybody, then the large one
_LIBRARIES = (("libtorch_global_deps.so", "RTLD_GLOBAL"), ("libtorch_cpu.so", "RTLD_LOCAL"))
_lock = threading.Lock()
_loaded: set[str] = set()


def load_torch(*, optimizer: bool = False) -> None:
    """Import torch; with ``optimizer`` make one too, since the first one imports half as much again."""
    with _lock:
        if "torch" not in _loaded:
            load_triton_apart()
            if "torch" not in sys.modules and sys.platform == "linux":
                _map_libraries()
            with _without_collecting():
                importlib.import_module("torch")
            _loaded.add("torch")
        if optimizer and "optimizer" not in _loaded:
            with _without_collecting():
                import torch

                torch.optim.Adam([torch.zeros(1, requires_grad=True)])
            _loaded.add("optimizer")


def try_load_torch(*, optimizer: bool = False) -> None:
    """Import torch before it is needed; a failure is shown by who needs it."""
    with suppress(ImportError, OSError):
        load_torch(optimizer=optimizer)


def load_torch_soon() -> None:
    """Import torch in a thread of its own, see `try_load_torch`."""
    if "torch" not in _loaded:
        threading.Thread(target=try_load_torch, name="napari-jnet torch").start()


def _map_libraries() -> None:
    """Map torch's libraries by a call that releases Python's lock; the import reports what fails."""
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        return
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, scope in _LIBRARIES:
        path = Path(found.origin).parent / "lib" / name
        if path.is_file():
            dlopen(os.fsencode(path), os.RTLD_LAZY | getattr(os, scope))


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Collect no garbage meanwhile, and count what is new as old afterwards, without looking."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else somebody froze objects, and they stay so
            gc.freeze()
            gc.unfreeze()
        if enabled:
            gc.enable()
