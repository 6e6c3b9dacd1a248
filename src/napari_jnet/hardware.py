"""Memory and cores that this process may use, and the libraries that torch needs."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

MEMORY_FULL = (
    "The memory of the computer or its GPU is full. Use --tile to predict in smaller tiles, --set "
    "training.batch_size=1 or a smaller training.patch_size to train, or --device cpu."
)

_CGROUP = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """Return how many bytes this process may still take: of the machine, its container, its limit."""
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


def is_memory_full(error: Exception) -> bool:
    """Return whether an error means that the memory is full; torch has several messages for it."""
    message = str(error)
    return isinstance(error, MemoryError) or any(
        part in message
        for part in ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
    )


def format_bytes(size: float) -> str:
    """Write a number of bytes, such as ``1.5 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def available_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may use.

    The scheduler of a cluster, ``taskset`` or a container may allow fewer than the machine has (affinity,
    CPU quota of the control groups; rounded up).

    `root` is where the files of the system are, for tests.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, math.ceil(min([cores or 1, *_quotas(root)])))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPU quotas of the control groups that this process is in, in cores."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for group in groups:
        _, controllers, path = group.split(":", 2)
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        if controllers and "cpu" not in controllers.split(","):
            continue
        here = top / path.lstrip("/")
        for folder in (here, *here.parents):
            yield from _quota(folder)
            if folder == top:
                break


def _quota(folder: Path) -> Iterator[float]:
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):  # versions 2 and 1
        try:
            words = " ".join((folder / name).read_text(encoding="ascii") for name in names).split()
            quota, period = float(words[0]), float(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:
            yield quota / period


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
