"""napari's reader of projects; other data are opened on the page Stack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_jnet.plugin.layers.stack_layers import LayerData, path_layers
from napari_jnet.project.manifest import project_folder


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a function that reads a project, or None for any other path; never raises.

    Only projects are claimed from napari: datasets, volumes and folders of images look like what
    other readers open, so they are opened on the page Stack, by its button or by dropping them on it.
    """
    ours = isinstance(path, str) and project_folder(Path(path)) is not None
    return _read_project if ours else None


def _read_project(path: str) -> list[LayerData]:
    """Read a project, and open the workspace that saves what is painted from now on."""
    import napari

    from napari_jnet.plugin.open_workspace import open_workspace

    viewer = napari.current_viewer()
    if viewer is not None:
        open_workspace(viewer)
    return path_layers(path)
