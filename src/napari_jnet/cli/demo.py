"""``napari-jnet demo``: run the demo of the window, on a virtual screen where there is no other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

MARK = ".napari-jnet-demo"
FOLDERS = ("cells", "run", "02_RES")
FILES = (
    "probability.tif", "distance.tif", "instances.tif", "confidence.csv", "history.csv", "metrics.json",
    "screenshot.png",
)  # fmt: skip


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("demo-output"),
    minutes: Annotated[float, typer.Option(help="Time for training.")] = 1.0,
    stay: Annotated[bool, typer.Option(help="Keep the window open at the end.")] = True,
    window: Annotated[
        bool, typer.Option(help="Without a window: on a virtual screen, with an end of its own.")
    ] = True,
) -> None:
    """Watch a small J-Net learn to separate touching cells, in napari, in about a minute."""
    if find_spec("napari") is None:
        raise ValueError(
            "The demo needs napari, which is not installed. "
            'Get it with pip install "napari-jnet[all]".'
        )
    if minutes <= 0:
        raise ValueError(f"--minutes is {minutes:g}; it must be more than 0, such as 1.")
    output = output.resolve()
    prepare_output(output)
    command = [sys.executable, "-m", "napari_jnet.plugin.demo", str(output), f"{minutes:g}"]
    if window and has_screen():
        raise typer.Exit(subprocess.call([*command, "stay"] if stay else command))
    raise typer.Exit(run_on_virtual_screen(command))


def prepare_output(folder: Path) -> None:
    """Make the output folder, or clear what an earlier demo wrote; refuse any other content."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / MARK).exists():
        raise ValueError(
            f"{folder} is not empty and not from an earlier demo; the demo overwrites its folder. "
            "Give another --output."
        )
    for name in FOLDERS:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    (folder / MARK).write_text("written by napari-jnet demo; its next run clears this folder\n")


def has_screen() -> bool:
    """Return whether Qt can show a window: it ends a process whose display does not respond."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        return False
    probe = "from qtpy.QtWidgets import QApplication; QApplication([])"
    return not subprocess.run([sys.executable, "-c", probe], capture_output=True).returncode


def run_on_virtual_screen(command: Sequence[str]) -> int:
    """Run a command under Xvfb and return its exit status."""
    xvfb_run = shutil.which("xvfb-run")
    if xvfb_run is None:
        raise FileNotFoundError(
            "There is no screen and xvfb-run, which makes a virtual one, is not installed. "
            "On Debian or Ubuntu: sudo apt-get update && sudo apt-get install --yes "
            "--no-install-recommends xvfb xauth libgl1-mesa-dri"
        )
    environ = {name: value for name, value in os.environ.items() if name != "WAYLAND_DISPLAY"}
    screen = [xvfb_run, "-a", "-s", "-screen 0 1600x1000x24"]
    return subprocess.call([*screen, *command], env=environ | {"QT_QPA_PLATFORM": "xcb"})
