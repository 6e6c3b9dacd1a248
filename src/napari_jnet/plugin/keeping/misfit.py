"""Labels that were painted on a layer that fits no image: brought onto the image, or into a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_jnet.data.storing import replacing
from napari_jnet.plugin.layers import current_index, pixels, spatial_shape

__all__ = ["placed_on", "write_labels"]


def placed_on(layer: Any, image: Any, viewer: Any) -> NDArray[Any]:
    """Return the labels of a layer where they lie on an image.

    Parameters
    ----------
    layer
        A labels layer of another size or another number of axes; axes that it lacks are those of the
        frame that is shown, and so is what is taken of axes that the image lacks.
    image
        The image layer.
    viewer
        That has both.

    Returns
    -------
    numpy.ndarray
        Of the type of the labels and the size of the image, without its colours.

    Raises
    ------
    ValueError
        If one is rotated or sheared, or nothing that is painted lies on the image.
    """
    for one in (layer, image):
        if not _is_straight(one):
            raise ValueError(f"{one.name!r} is rotated or sheared; labels are copied upright only.")
    shape = spatial_shape(image)
    labels, found = pixels(layer), np.zeros(shape, pixels(layer).dtype)
    common = min(layer.ndim, len(shape))
    taken: list[NDArray[Any]] = []
    given: list[NDArray[Any]] = []
    for axis in range(-common, 0):
        world = np.arange(shape[axis]) * image.scale[axis] + image.translate[axis]
        index = np.round((world - layer.translate[axis]) / layer.scale[axis]).astype(np.int64)
        inside = (index >= 0) & (index < labels.shape[axis])
        taken.append(index[inside])
        given.append(np.flatnonzero(inside))
    part = np.asarray(labels[current_index(viewer, layer)[: layer.ndim - common]])[np.ix_(*taken)]
    if not part.any():
        raise ValueError(f"Nothing that is painted in {layer.name!r} lies on {image.name!r}.")
    found[current_index(viewer, image)[: len(shape) - common]][np.ix_(*given)] = part
    return found


def _is_straight(layer: Any) -> bool:
    turned = np.asarray(layer.rotate), np.asarray(layer.affine)[:-1, :-1]
    return (
        all(np.allclose(m, np.eye(len(m))) for m in turned)
        and np.allclose(np.asarray(layer.affine)[:-1, -1], 0)
        and not np.any(layer.shear)
    )


def write_labels(layer: Any, folder: Path) -> Path:
    """Write the labels of a layer into a TIFF file of a new name in this folder, and return it.

    Raises
    ------
    OSError
        If it cannot be written, in words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() or c in "-_ " else "-" for c in layer.name).strip() or "labels"
    path, count = folder / f"{name}.tif", 2
    while path.exists():
        path, count = folder / f"{name}-{count}.tif", count + 1
    labels = np.asarray(pixels(layer))
    with replacing(path) as temporary:
        tifffile.imwrite(
            temporary,
            labels.astype(np.uint8) if labels.dtype == bool else labels,
            photometric="minisblack",
            compression="zlib",
        )
    return path
