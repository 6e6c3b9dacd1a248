"""``napari-jnet relocate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_jnet.cli.console import console


def relocate(
    folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of the project.")],
    stack: Annotated[Path, typer.Argument(help="Where its images are now.")],
    sequence: Annotated[
        str | None, typer.Option(help="Sequence of a CTC dataset, if it has another name now.")
    ] = None,
) -> None:
    """Set where the images of a project are, after they were moved.

    Images other than those that were annotated are refused.
    """
    from napari_jnet.project.project import Project

    project = Project.open(folder)
    project.relocate(stack, sequence=sequence)
    console().print(f"The images of {project.name} are now at {project.stack.path}.")
