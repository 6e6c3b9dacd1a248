"""Whether there is a screen, and how to run without one."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

SCREEN = "-screen 0 1600x1000x24"


REMEDY = (
    "There is no screen and xvfb-run, which makes a virtual one, is not installed. "
    "On Debian or Ubuntu: sudo apt-get update && sudo apt-get install --yes "
    "--no-install-recommends xvfb xauth libgl1-mesa-dri"
)


def has_screen(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether a window can be shown.

    On Linux a display that is named but does not answer (a left-over ``DISPLAY`` of a closed ssh
    session) is no screen: Qt would end the whole process on it.
    """
    if not platform.startswith("linux") or environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(environ.get("DISPLAY")) and _display_answers()


def _display_answers() -> bool:
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return True  # nothing to ask with: Qt will tell
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(display)
    return bool(display)


def run_on_virtual_screen(command: Sequence[str]) -> int:
    """Run a command under Xvfb and return its exit status.

    Raises
    ------
    FileNotFoundError
        If ``xvfb-run`` is not installed; the message has the command that installs it.
    """
    xvfb_run = shutil.which("xvfb-run")
    if xvfb_run is None:
        raise FileNotFoundError(REMEDY)
    environ = {name: value for name, value in os.environ.items() if name != "WAYLAND_DISPLAY"}
    environ["QT_QPA_PLATFORM"] = "xcb"
    return subprocess.call([xvfb_run, "-a", "-s", SCREEN, *command], env=environ)
