"""The layers of a project: its image, and its annotation as it was painted."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.project import Project
from napari_jnet.data.stack import Stack
from napari_jnet.plugin.annotate.layers import annotation_options
from napari_jnet.plugin.layers import image_stack, stack_metadata
from napari_jnet.plugin.session import METADATA_KEY

__all__ = ["painted_options", "project_layers", "read_painted", "stack_of"]

LayerData = tuple[Any, dict[str, Any], str]


def stack_of(image: Any) -> Stack:
    """See an image layer as a stack that knows its file, also where napari opened that.

    Raises
    ------
    ValueError
        If the layer has more axes than a stack.
    """
    stack = image_stack(image)
    source = image.source.path
    if stack.path is None and source and os.path.exists(source):
        return replace(stack, path=Path(os.path.abspath(source)))
    return stack


def read_painted(
    project: Project, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], frozenset[int]]:
    """Read what is painted into an array of the layer's shape; only painted frames take memory.

    Parameters
    ----------
    project
        Read file by file; call it outside the window's thread.
    shape
        (T, H, W), (T, Z, H, W), or (H, W) for a single plane.

    Returns
    -------
    painted : ndarray of int32
        Of this shape.
    empty : frozenset of int
        Numbers of the frames that are said to be empty.

    Notes
    -----
    A frame whose file is damaged stays blank: the others shall not be lost with it, and the keeper
    says so when it opens the project.
    """
    painted, empty = np.zeros(shape, np.int32), set()
    positions = {number: p for p, number in enumerate(project.stack.frame_numbers)}
    for number in project.annotated:
        try:
            frame = project.read_frame(number)
        except (ValueError, OSError) as error:
            logging.getLogger("napari_jnet").warning("%s", error)
            continue
        if not frame.any():
            empty.add(number)
        elif len(shape) == 2:
            painted[:] = frame
        else:
            painted[positions[number]] = frame
    return painted, frozenset(empty)


def painted_options(project: Project, empty: frozenset[int]) -> dict[str, Any]:
    """Return the options of the annotation layer: its name, colours and kind, and its empty frames."""
    reference = project.stack
    told = {
        **stack_metadata(reference),
        "kind": project.kind.value,
        "partial": sorted(project.partial),
        "empty": empty,
        "project": str(project.path),
        "opened": True,  # until the keeper takes it: a copy of the layer is no annotation of the project
        **({"notice": project.notice} if project.notice else {}),
    }
    return {
        "name": "annotation",
        "opacity": 0.5,
        "metadata": {METADATA_KEY: told},
        **annotation_options(project.kind, project.legend),
    }


def project_layers(project: Project) -> list[LayerData]:
    """Describe the layers of a project, as an npe2 reader does: the image, and the annotation.

    Raises
    ------
    FileNotFoundError
        If the images are no longer where they were.
    ValueError
        If there are other images in their place.
    """
    from napari_jnet.plugin.stack.reader import stack_layers

    stack = project.open_stack()
    image = stack_layers(replace(stack, annotations={}))[0]
    data, options, _ = image
    options["metadata"][METADATA_KEY]["project"] = str(project.path)
    rgb, channels = options.get("rgb", False), options["axis_labels"][0] == "c"
    shape = tuple(data.shape[channels : data.ndim - rgb])
    placed = {name: options[name][channels:] for name in ("scale", "units", "axis_labels")}
    painted, empty = read_painted(project, shape)
    return [image, (painted, painted_options(project, empty) | placed, "labels")]
