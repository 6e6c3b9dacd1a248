"""Run pip for tox, with torch from PyTorch's own index of CPU builds where that makes sense.

The package index carries one build of torch for Linux on x86-64, and it brings gigabytes of CUDA
packages.  A tox environment on a machine without an NVIDIA driver has no use for them, and no
constraint can tell the builds apart.  So torch comes first, from the index of CPU builds, where
that index answers and nothing nearer (``PIP_FIND_LINKS``, ``PIP_INDEX_URL``) was set; the versions
are those of ``constraints.txt`` either way.  Everything else is pip as usual.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
OWN_SOURCES = ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX")
TIMEOUT_S = 5


def wants_cpu_torch(
    requirements: Sequence[str],
    environ: Mapping[str, str] = os.environ,
    system: tuple[str, str] | None = None,
    has_nvidia_driver: bool | None = None,
) -> bool:
    """Say whether torch is asked for where only its CPU build is of use."""
    if system is None:
        system = (platform.system(), platform.machine())
    if has_nvidia_driver is None:
        has_nvidia_driver = shutil.which("nvidia-smi") is not None
    asked = any(re.match(r"torch\b(?!-)", requirement) for requirement in requirements)
    named = any(environ.get(name) for name in OWN_SOURCES)
    return asked and not named and system == ("Linux", "x86_64") and not has_nvidia_driver


def answers(url: str) -> bool:
    """Say whether an index can be reached from here."""
    try:
        with urllib.request.urlopen(f"{url}/", timeout=TIMEOUT_S):
            return True
    except (urllib.error.URLError, TimeoutError, OSError):
        return False


def main(arguments: Sequence[str]) -> int:
    """Install; return pip's exit status."""
    pip = [sys.executable, "-m", "pip", "install"]
    if wants_cpu_torch(arguments) and answers(CPU_INDEX):
        torch = next(item for item in arguments if re.match(r"torch\b(?!-)", item))
        status = subprocess.call([*pip, "--index-url", CPU_INDEX, torch])
        if status != 0:
            print("torch's CPU build was not installed; the usual index is next", file=sys.stderr)
    return subprocess.call([*pip, *arguments])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
