"""Readers: a stack on disk becomes an image layer and its labels layers.

Images are read frame by frame when they are shown.  Truth that people drew is small: it is read at
once, so that it can be painted on; computed truth is read when shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_jnet.plugin.layers.stack_layers import LayerData, stack_layers
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project

Reader = Callable[[str], list[LayerData]]


def get_reader(path: str | list[str]) -> Reader | None:
    """Return a function that reads a project, or None if the path is none; never raises.

    Only projects are claimed from napari: datasets, volumes and folders of images look like what
    other readers open, so they are opened by the step Stack, by its button or dropped on its dock.
    """
    try:
        ours = isinstance(path, str) and project_folder(Path(path)) is not None
    except (OSError, ValueError):
        return None
    return _read_project if ours else None


def _read_project(path: str) -> list[LayerData]:
    """Read a project, and see to it that what is painted from now on is saved to it."""
    import napari

    from napari_jnet.plugin.open_workspace import open_workspace

    viewer = napari.current_viewer()
    if viewer is not None:
        open_workspace(viewer)
    return path_layers(path)


def path_layers(
    path: str | Path, sequence: str | None = None, *, labels: bool = True, **said: Any
) -> list[LayerData]:
    """Describe the layers of a stack or a project on disk; see `stack_layers`.

    Parameters
    ----------
    path, sequence, said
        See `napari_jnet.open_stack`.
    labels
        False leaves the truth out.  What is painted in a project always comes.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_stack`.
    """
    if project_folder(Path(path)) is not None:
        from napari_jnet.plugin.autosave.resume import project_layers

        return project_layers(Project.open(path))
    stack = open_stack(path, sequence=sequence, **said)
    return stack_layers(stack if labels else replace(stack, annotations={}))
