"""The device to compute on, and why it is not a GPU."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from napari_jnet.hardware import Hardware, available_cores


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of this name; "auto" takes a GPU if there is one.

    Raise `ValueError` with the reason if the device is not available.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(name for name, there in available.items() if there)
    if name not in available:
        raise ValueError(
            f"The device {name!r} is unknown; use one of auto, {', '.join(available)}."
        )
    if not available[name]:
        raise ValueError(f"Device {name} cannot be used: {_why_not(name)}. Use auto or cpu.")
    return torch.device(name)


def _why_not(name: str) -> str:
    if name == "mps":
        return "torch finds no Apple GPU"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides every GPU"
    return f"torch {torch.__version__} is built for CUDA {torch.version.cuda} but finds no GPU or driver"


def describe_device(device: torch.device) -> str:
    """Describe a device, and for the CPU why no GPU is used."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        name = torch.cuda.get_device_name(device)
        return f"{name} (cuda), {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    if device.type == "mps":
        return "Apple GPU (mps)"
    chosen = choose_device().type != "cpu"
    reason = "chosen" if chosen else _why_not("cuda")
    return f"CPU, {torch.get_num_threads()} thread(s): {reason}"


def find_hardware(device: str = "auto", cores: int = 0) -> Hardware:
    """Return the device of this name with its free memory, and the cores, 0 for all that there are for us."""
    kind = choose_device(device).type
    free = torch.cuda.mem_get_info()[0] / 2**30 if kind == "cuda" else 0.0
    return Hardware(kind, cores or available_cores(), free)


def device_line() -> str:
    """Describe the device of "auto"."""
    return describe_device(choose_device())


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32: a CPU without such instructions emulates it, slowly."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def use_threads(threads: int) -> None:
    """Set the CPU threads of torch; 0 takes ``OMP_NUM_THREADS``, or else the cores there are for us."""
    requested = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    valid = requested.isdecimal() and 0 < int(requested) <= 1024
    torch.set_num_threads(threads or (int(requested) if valid else available_cores()))


_SETTING_THREADS = Lock()


def use_own_threads(threads: int) -> None:
    """Set the CPU threads of torch for what the present thread computes; other threads keep theirs."""
    with _SETTING_THREADS, ThreadPoolExecutor(1) as restoring:
        others = torch.get_num_threads()
        torch.set_num_threads(threads)  # also what threads begin with that are new to torch
        restoring.submit(torch.set_num_threads, others).result()


def send(values: Tensor, device: torch.device) -> Tensor:
    """Copy values of the CPU to a device, without waiting until its earlier work is done."""
    return values.to(device, non_blocking=device.type == "cuda")


def memory_mb(device: torch.device) -> float | None:
    """Return the memory in use, in MiB: of a GPU the peak, else the process now; None if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, ValueError, IndexError):
        return None
