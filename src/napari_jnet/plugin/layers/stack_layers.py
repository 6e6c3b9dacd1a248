"""The layers of a stack or a project on disk: its image and its labels, read lazily."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.io import folder
from napari_jnet.io.stack import Annotation, Stack
from napari_jnet.labels import UNKNOWN
from napari_jnet.plugin.layers.add import annotation_options
from napari_jnet.plugin.layers.read import METADATA_KEY, class_options, stack_metadata
from napari_jnet.project.manifest import project_folder
from napari_jnet.project.open import open_stack
from napari_jnet.project.project import Project

LayerData = tuple[Any, dict[str, Any], str]
_PAINTABLE = 64 * 2**20  # bytes of annotated frames that are read at once
_LARGEST_ARRAY = 4 * 2**30  # bytes, of which only annotated frames take memory


def path_layers(
    path: str | Path, sequence: str | None = None, *, labels: bool = True, **choices: Any
) -> list[LayerData]:
    """Describe the layers of a stack or a project on disk, as an npe2 reader does; see `open_stack`.

    Without ``labels`` the ground truth is omitted; the annotation of a project is always included.
    """
    if project_folder(Path(path)) is not None:
        return project_layers(Project.open(path))
    stack = open_stack(path, sequence=sequence, **choices)
    return stack_layers(stack if labels else replace(stack, annotations={}))


def project_layers(project: Project) -> list[LayerData]:
    """Describe the layers of a project, its image and its annotation; raises as `Project.open_stack`."""
    image = stack_layers(replace(project.open_stack(), annotations={}))[0]
    data, options, _ = image
    rgb, channels = options.get("rgb", False), options["axis_labels"][0] == "c"
    place = {name: options[name][channels:] for name in ("scale", "units", "axis_labels")}
    labels, empty = read_annotation(project, tuple(data.shape[channels : data.ndim - rgb]))
    return [image, (labels, annotation_layer_options(project, empty) | place, "labels")]


def read_annotation(
    project: Project, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], frozenset[int]]:
    """Return the painted labels of a project, in the shape of the layer, and which frames have no object.

    A frame whose file is damaged stays blank, so that the others are not lost with it; the autosave
    reports it when it opens the project.
    """
    labels, empty = np.zeros(shape, np.int32), set()
    positions = {number: p for p, number in enumerate(project.stack.frame_numbers)}
    for number in project.annotated:
        try:
            frame = project.read_frame(number)
        except (ValueError, OSError) as error:
            logging.getLogger("napari_jnet").warning("%s", error)
            continue
        if frame.any():
            labels[... if len(shape) == 2 else positions[number]] = frame
        else:
            empty.add(number)
    return labels, frozenset(empty)


def annotation_layer_options(project: Project, empty: frozenset[int]) -> dict[str, Any]:
    """Return the options of a project's annotation layer: its name, colours, kind and metadata."""
    metadata = {
        **stack_metadata(project.stack),
        "kind": project.kind.value,
        "partial": sorted(project.partial),
        "empty": empty,
        "opened": str(project.path),  # until the autosave opens it
    }
    return {
        "name": "annotation",
        "opacity": 0.5,
        "metadata": {METADATA_KEY: metadata},
        **annotation_options(project.kind, project.classes),
    }


def stack_layers(stack: Stack) -> list[LayerData]:
    """Describe the layers of a stack: one image, and labels for each annotation.

    The first annotation comes last, so that it is on top and selected.  Frames of different sizes are
    padded to the largest; the padding is unknown.
    """
    shape = folder.largest_frame(stack) if stack.format == "folder" else stack.shape
    return [_image_layer(stack, shape), *reversed(list(_labels_layers(stack, shape)))]


def _image_layer(stack: Stack, shape: tuple[int, ...]) -> LayerData:
    import dask.array as da

    def frame(number: int) -> NDArray[Any]:
        return _padded(stack.frame(number), shape, 0)

    options = _options(stack, stack.name)
    data = _lazy(frame, stack.frame_numbers, shape, stack.dtype)
    if stack.axes.endswith("C"):
        if shape[-1] in (3, 4):
            options["rgb"] = True
        else:
            # first: the viewer aligns layers by their last dimensions
            options["scale"] = (1.0, *stack.scale)
            options["units"] = ("pixel", *stack.units)
            options["axis_labels"] = ("c", *options["axis_labels"])
            data = da.moveaxis(data, -1, 0)
    if not options.get("rgb"):
        options |= _contrast(frame, stack)
    return data, options, "image"


def _contrast(frame: Callable[[int], NDArray[Any]], stack: Stack) -> dict[str, Any]:
    """Return contrast limits from one frame: napari would read two in the window's thread."""
    try:
        first = frame(stack.frame_numbers[0])
    except (ValueError, OSError):  # reported where the frame is shown
        return {}
    low, high = float(first.min()), float(first.max())
    known = np.isfinite([low, high]).all() and low < high
    return {"contrast_limits": (low, high)} if known else {}


def _labels_layers(stack: Stack, shape: tuple[int, ...]) -> Iterator[LayerData]:
    spatial = shape[:-1] if stack.axes.endswith("C") else shape
    if stack.annotations:
        stack.annotation()  # raises where it is not known which of several labels are meant
    for k, annotation in enumerate(stack.annotations.values()):
        options = _options(stack, f"{stack.name} {annotation.name}")
        options["visible"] = k == 0
        options["metadata"][METADATA_KEY] |= {
            "annotation": annotation.name,
            "kind": annotation.kind.value,
            "partial": _Frames(partial(getattr, annotation, "partial")),
            "empty": _Frames(partial(getattr, annotation, "empty")),
        }
        labels = _labels(stack, annotation, spatial)
        if isinstance(labels, np.ndarray):  # its masks are read, so its classes are known
            options |= class_options(annotation.classes)
        yield labels, options, "labels"


def _options(stack: Stack, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "scale": stack.scale,
        "units": stack.units,
        "axis_labels": tuple(stack.axes.replace("C", "").lower()),
        "metadata": {METADATA_KEY: stack_metadata(stack)},
    }


def _labels(stack: Stack, annotation: Annotation, shape: tuple[int, ...]) -> Any:
    """Return the labels of all frames of the stack, 0 where there is no ground truth."""
    annotated = frozenset(annotation.frame_numbers)

    def frame(number: int) -> NDArray[np.int32]:
        if number not in annotated:
            return np.zeros(shape, np.int32)
        labels = _padded(annotation.frame(number), shape, UNKNOWN)
        # unknown pixels are in the layer's "partial", and empty planes are not trained on
        return np.maximum(labels, 0) if stack.format == "ctc" else labels

    size = 4 * int(np.prod(shape))
    if size * len(annotated) > _PAINTABLE or size * len(stack) > _LARGEST_ARRAY:
        return _lazy(frame, stack.frame_numbers, shape, np.dtype(np.int32))
    painted = np.zeros((len(stack), *shape), np.int32)
    for position, number in enumerate(stack.frame_numbers):
        if number in annotated:
            painted[position] = frame(number)
    return painted


def _lazy(
    frame: Callable[[int], NDArray[Any]],
    numbers: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Any:
    """Return a dask array of one chunk a frame."""
    import dask.array as da

    def block(block_id: tuple[int, ...]) -> NDArray[Any]:
        return frame(numbers[block_id[0]])[np.newaxis]

    chunks = ((1,) * len(numbers), *((n,) for n in shape))
    empty = np.empty((0,) * len(chunks), dtype)
    return da.map_blocks(block, chunks=chunks, dtype=dtype, meta=empty)


def _padded(frame: NDArray[Any], shape: tuple[int, ...], value: int) -> NDArray[Any]:
    if frame.shape == shape:
        return frame
    margins = [(0, whole - own) for whole, own in zip(shape, frame.shape, strict=True)]
    return np.pad(frame, margins, constant_values=value)


class _Frames(Container[int]):
    """The partial or empty frames of an annotation, found on first use, which reads its masks."""

    def __init__(self, find: Callable[[], frozenset[int]]) -> None:
        self._find = find

    def __contains__(self, number: object) -> bool:
        return number in self._find()
