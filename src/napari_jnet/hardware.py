"""Memory and cores that this process may use, and the libraries that torch needs."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hardware:
    """The device of a training."""

    device: str = "cpu"  # cpu, cuda or mps
    cores: int = 1  # that the training may use
    memory_gb: float = 0.0  # of the GPU that is free, in GiB


MEMORY_FULL = (
    "The memory of the computer or its GPU is full. Use --tile to predict in smaller tiles, --set "
    "training.batch_size=1 or a smaller training.patch_size to train, or --device cpu."
)

_MEMORY_ERRORS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "ALLOC_FAILED",
    "could not create a primitive",  # oneDNN on the CPU
)
_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return how many bytes this process may still take: of the machine, its container, its limit."""
    import psutil  # type: ignore[import-untyped]

    room = [int(psutil.virtual_memory().available)]
    with suppress(OSError, ValueError):  # another system, or no limit ("max")
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        room.append(limit - int((_CGROUP / "memory.current").read_text(encoding="ascii")))
    if sys.platform != "win32":
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            room.append(limit - int(psutil.Process().memory_info().vms))
    return max(min(room), 0)


def release_freed_memory() -> None:
    """Give memory that was freed back to the system, where the C library is glibc, which keeps it."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def is_memory_full(error: Exception) -> bool:
    """Return whether an error means that the memory is full; torch has several messages for it."""
    message = str(error)
    return isinstance(error, MemoryError) or any(part in message for part in _MEMORY_ERRORS)


def format_bytes(size: float) -> str:
    """Write a number of bytes, such as ``1.5 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def available_cores() -> int:
    """Return how many cores this process may use: by the scheduler, ``taskset`` or a container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = []
    with suppress(OSError, ValueError):  # another system, or no quota ("max")
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        quotas.append(math.ceil(int(quota) / int(period)))
    return max(1, min([cores or 1, *quotas]))


def load_triton_apart(maps: Path = Path("/proc/self/maps")) -> bool:
    """Import triton so that it uses its own LLVM, where another LLVM is loaded already.

    Returns whether triton was imported here.  It is not where that is not needed: another system, no
    triton, triton already imported, no LLVM among the mapped files, which `maps` lists as Linux does.
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
    except Exception:  # noqa: BLE001 - torch works without a triton that cannot be imported
        return False
    finally:
        sys.setdlopenflags(flags)
    return True
