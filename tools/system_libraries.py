"""Install the system libraries that Qt, OpenGL and a virtual screen need, or say how.

Python's package index carries Qt, but not the libraries of the operating system that Qt opens.
On Debian and Ubuntu, as root or with a passwordless sudo, this script installs those that are
missing; elsewhere on Linux it prints the exact command and ends with status 1.  On macOS and
Windows nothing is missing.  It uses the standard library only: it runs before anything else.
"""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence

# What must be found -> the Debian package that has it.  Found by reading the NEEDED entries of the
# Qt 6 platform plugins and of vispy's OpenGL loader.
LIBRARIES = {
    "EGL": "libegl1",
    "GL": "libgl1",
    "glib-2.0": "libglib2.0-0",
    "dbus-1": "libdbus-1-3",
    "fontconfig": "libfontconfig1",
    "xkbcommon": "libxkbcommon0",
    "xkbcommon-x11": "libxkbcommon-x11-0",
    "X11-xcb": "libx11-xcb1",
    "xcb-cursor": "libxcb-cursor0",
    "xcb-icccm": "libxcb-icccm4",
    "xcb-image": "libxcb-image0",
    "xcb-keysyms": "libxcb-keysyms1",
    "xcb-randr": "libxcb-randr0",
    "xcb-render-util": "libxcb-render-util0",
    "xcb-shape": "libxcb-shape0",
    "xcb-xkb": "libxcb-xkb1",
}
PROGRAMS = {"Xvfb": "xvfb", "xvfb-run": "xvfb", "xauth": "xauth"}
DRIVER = "libgl1-mesa-dri"  # opened by name at run time: only dpkg knows whether it is there
FEDORA = (
    "sudo dnf install -y xorg-x11-server-Xvfb xorg-x11-xauth mesa-libEGL mesa-libGL "
    "mesa-dri-drivers glib2 dbus-libs fontconfig libxkbcommon-x11 xcb-util-cursor xcb-util-wm "
    "xcb-util-image xcb-util-keysyms xcb-util-renderutil libxcb"
)


def missing_packages(
    find_library: Callable[[str], str | None] = ctypes.util.find_library,
    which: Callable[[str], str | None] = shutil.which,
    installed: Callable[[str], bool | None] | None = None,
) -> list[str]:
    """Return the Debian names of what is not on this machine, sorted.

    ``find_library`` needs ldconfig or a compiler; where it finds nothing, dpkg is asked as well,
    so that a machine that is complete is not changed.
    """
    ask = installed or dpkg_has
    missing = set()
    for name, package in LIBRARIES.items():
        if find_library(name) is None and not ask(package):
            missing.add(package)
    missing.update(package for name, package in PROGRAMS.items() if which(name) is None)
    if ask(DRIVER) is False:
        missing.add(DRIVER)
    return sorted(missing)


def dpkg_has(package: str) -> bool | None:
    """Say whether dpkg has the package; None where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return None
    # Since the 64-bit change of time_t some names end in t64, such as libglib2.0-0t64.
    for name in (package, f"{package}t64"):
        answer = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Status}\n", name],
            capture_output=True,
            text=True,
            check=False,
        )
        if "install ok installed" in answer.stdout:
            return True
    return False


def become_root() -> list[str] | None:
    """Return what to put before a command to run it as root; None if this user may not."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    allowed = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if allowed.returncode == 0 else None


def apt_commands(packages: Sequence[str], prefix: Sequence[str] = ()) -> list[list[str]]:
    """Return the two commands that install the packages without a question."""
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    return [
        [*apt, "update"],
        [*apt, "install", "--yes", "--no-install-recommends", *packages],
    ]


def advice(packages: Sequence[str]) -> str:
    """Return what to tell a user whose machine lacks the packages."""
    return (
        f"The window needs system libraries that are missing: {', '.join(packages)}.\n"
        "This user may not install them here. On Debian or Ubuntu run\n\n"
        "    sudo apt-get update && sudo apt-get install --yes --no-install-recommends "
        f"{' '.join(packages)}\n\non Fedora\n\n    {FEDORA}\n\nand then the same command again."
    )


def main(
    platform: str = sys.platform,
    missing: Callable[[], list[str]] = missing_packages,
    root: Callable[[], list[str] | None] = become_root,
    run: Callable[[list[str]], int] = subprocess.call,
) -> int:
    """Install what is missing, or say how; return 0 where nothing is missing in the end."""
    if not platform.startswith("linux"):
        return 0
    packages = missing()
    if not packages:
        return 0
    prefix = root() if shutil.which("apt-get") else None
    if prefix is None:
        print(advice(packages), file=sys.stderr)
        return 1
    print(f"Installing system libraries: {', '.join(packages)}", flush=True)
    failed = [command for command in apt_commands(packages, prefix) if run(command) != 0]
    left = missing()
    if left:
        for command in failed:
            print(f"This failed: {' '.join(command)}", file=sys.stderr)
        print(advice(left), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
