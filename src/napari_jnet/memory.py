"""How much memory is left, and a refusal in words before more of it is asked for."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

__all__ = ["available_bytes", "in_bytes"]

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


def in_bytes(size: float) -> str:
    """Write a number of bytes for people, such as ``1.5 GB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
