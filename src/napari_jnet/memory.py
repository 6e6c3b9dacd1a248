"""How much memory is left, and a refusal in words before more of it is asked for."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

__all__ = ["MEMORY_FULL", "available_bytes", "in_bytes", "is_memory_full"]

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
    """Whether an error says that there is no memory left; torch has several ways to say so."""
    words = str(error)
    return isinstance(error, MemoryError) or any(
        said in words
        for said in ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
    )


def in_bytes(size: float) -> str:
    """Write a number of bytes for people, such as ``1.5 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
