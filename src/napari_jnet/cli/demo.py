"""``napari-jnet demo``: starts the demo of the window as a program of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")
    ] = Path("demo-output"),
    minutes: Annotated[float, typer.Option(help="Time for training.")] = 1.0,
    window: Annotated[
        bool, typer.Option(help="Use the screen if there is one; else a virtual one.")
    ] = True,
    stay: Annotated[bool, typer.Option(help="Keep the window open at the end.")] = True,
) -> None:
    """Watch a small J-Net learn to separate touching cells, in napari, in about a minute."""
    if find_spec("napari") is None:
        raise ValueError(
            "The demo needs napari, which is not installed. "
            'Get it with pip install "napari-jnet[all]".'
        )
    command = [sys.executable, "-m", "napari_jnet.plugin.demo"]
    command += ["--output", str(output), "--minutes", f"{minutes:g}"]
    command += [] if window else ["--no-window"]
    command += [] if stay else ["--no-stay"]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
