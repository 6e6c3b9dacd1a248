"""Loads triton beside a window.

Mesa's OpenGL drivers and triton, which the CUDA builds of torch for Linux import, each bring an LLVM
of their own.  Where the window has loaded Mesa's first, triton's would use the functions of the other
one and end the process with a segmentation fault; so triton is loaded first, bound to its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

__all__ = ["load_triton_apart"]


def load_triton_apart(maps: Path = Path("/proc/self/maps")) -> bool:
    """Import triton so that it uses its own LLVM, where another LLVM is loaded already.

    Parameters
    ----------
    maps
        The list of the files that this process has mapped, as Linux gives it.

    Returns
    -------
    bool
        Whether triton was imported here.  It is not where nothing asks for it: another system, no
        triton, triton already imported, no LLVM among the mapped files.
    """
    if sys.platform != "linux" or "triton" in sys.modules:
        return False
    try:
        foreign = "libLLVM" in maps.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no /proc
        return False
    if not foreign or importlib.util.find_spec("triton") is None:
        return False
    flags = sys.getdlopenflags()
    sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
    try:
        importlib.import_module("triton._C.libtriton")
    except Exception:  # noqa: BLE001 - torch goes on without a triton that cannot be imported
        return False
    finally:
        sys.setdlopenflags(flags)
    return True
