"""What napari's layers hold: metadata, pixels, axes, kinds, classes and places."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_jnet.io.axes import AXES, check_axes, size_text
from napari_jnet.io.stack import AmbiguousInput, Stack
from napari_jnet.labels import UNKNOWN, LabelKind
from napari_jnet.project.source import StackReference

# metadata

METADATA_KEY = "napari-jnet"


def metadata(layer: Any) -> dict[str, Any]:
    """Return what the plugin remembers on a layer."""
    return dict(layer.metadata.get(METADATA_KEY, {}))


def remember(layer: Any, **values: Any) -> None:
    """Remember values on a layer, beside those that are there; None forgets one."""
    known = {**metadata(layer), **values}
    layer.metadata[METADATA_KEY] = {name: v for name, v in known.items() if v is not None}


def result_of(layer: Any) -> str:
    """Return which result of a prediction or training a layer is, "" for any other layer."""
    return str(metadata(layer).get("result", ""))


def kind_of(layer: Any) -> LabelKind | None:
    """Return the kind that the reader or the user gave to a labels layer, or None."""
    kind = metadata(layer).get("kind")
    return LabelKind(kind) if kind else None


def marked_empty(layer: Any) -> Container[int]:
    """Return the numbers of the frames that are marked as without objects; asking may read files.

    Of scribbles there are none: their 0 is unknown.
    """
    return () if kind_of(layer) is LabelKind.SCRIBBLES else metadata(layer).get("empty", ())


# classes

_OTHER = "#a0a0a0"  # of a class without a name, such as one that the user has just begun to paint


def set_features(layer: Any, columns: Mapping[str, Sequence[Any]]) -> None:
    """Set columns of a labels layer's features, with the labels in "index"; columns of other names stay."""
    before = layer.features
    new = type(before)(dict(columns))
    kept = before.drop(columns=[name for name in new if name != "index" and name in before])
    others = [name for name in kept if name != "index"]
    if "index" in kept and others:
        new = new.merge(kept.dropna(how="all", subset=others), on="index", how="outer")
    layer.features = new


def class_options(
    classes: Sequence[tuple[str, str]], *, unknown: str = "transparent"
) -> dict[str, Any]:
    """Return options of a labels layer that show each class by its colour, and its name under the pointer.

    `classes` has (name, "#rrggbb") of each from 0; `unknown` is the colour of `UNKNOWN` pixels.
    """
    if not classes:
        return {}
    colours: dict[int | None, Any] = {None: _OTHER, UNKNOWN: unknown, 0: "transparent"}
    colours |= {number: colour for number, (_, colour) in enumerate(classes) if number}
    names = [name for name, _ in classes]
    return {
        "colormap": DirectLabelColormap(color_dict=colours),
        "features": {"index": list(range(len(names))), "class": names},
    }


def layer_classes(layer: Any) -> tuple[tuple[str, str], ...]:
    """Return (name, "#rrggbb") of each class of a labels layer, see `class_options`; () without names."""
    features = layer.features
    if "class" not in features or "index" not in features:
        return ()
    rows = features[["index", "class"]].dropna()
    known = {int(i): str(name) for i, name in zip(rows["index"], rows["class"], strict=True)}
    numbers = range(max(known, default=-1) + 1)
    return tuple((known.get(n, f"class {n}"), _hex(layer.get_color(n))) for n in numbers)


def network_classes(layer: Any, kind: LabelKind) -> tuple[tuple[str, str], ...]:
    """Return the `layer_classes` from 0 = background, as networks count them; cells have none."""
    if kind is LabelKind.INSTANCES:
        return ()
    return layer_classes(layer)[1 if kind is LabelKind.SCRIBBLES else 0 :]


def _hex(colour: Any) -> str:
    """Write a colour of a layer (RGBA, 0 to 1; None for background) as "#rrggbb"."""
    parts = np.zeros(3) if colour is None else np.asarray(colour)[:3]
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in parts)


# pixels and axes

_LETTERS = {
    "T": ("t", "time", "times", "frame", "frames", "timepoint"),
    "Z": ("z", "depth", "plane", "planes", "section", "sections", "slice", "slices"),
    "C": ("c", "ch", "channel", "channels", "color", "colour"),
    "Y": ("y", "row", "rows", "height"),
    "X": ("x", "column", "columns", "col", "width"),
    "P": ("p", "pos", "position", "positions", "s", "scene", "scenes", "series", "m", "tile", "v"),
}


def _letters(layer: Any) -> list[str]:
    """Return the axis that each label of a layer names, "?" where it names none."""
    labels = [str(label).strip().lower() for label in layer.axis_labels]
    return [next((a for a, words in _LETTERS.items() if label in words), "?") for label in labels]


def channel_axis(layer: Any) -> int | None:
    """Return which dimension of an image layer holds channels, by its label; the colours of RGB are none."""
    if not hasattr(layer, "rgb") or layer.rgb or layer.ndim < 3:
        return None
    letters = _letters(layer)
    return letters.index("C") if "C" in letters else None


def _finest(layer: Any) -> Any:
    return layer.data[0] if getattr(layer, "multiscale", False) else layer.data


def pixels(layer: Any) -> Any:
    """Return the array of a layer, channels and colours last, the finest level of a pyramid."""
    data, axis = _finest(layer), channel_axis(layer)
    if axis is None or axis == data.ndim - 1:
        return data
    return np.moveaxis(_transposable(data), axis, -1)  # of dask too, and lazily


def _transposable(data: Any) -> Any:
    """Return data that can be transposed without reading them."""
    if hasattr(data, "transpose"):
        return data
    import dask.array as da

    return da.from_array(data)


def spatial_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of labels for a layer: its own, without channels and colours."""
    return tuple(int(n) for n in pixels(layer).shape[: spatial_ndim(layer)])


def check_same_size(labels: Any, image: Any) -> None:
    """Raise `ValueError` for a labels layer that does not cover the pixels of an image layer."""
    painted, size = tuple(pixels(labels).shape), spatial_shape(image)
    if painted != size:
        raise ValueError(
            f"The labels {labels.name!r} have {size_text(painted)} pixels, the image {image.name!r} "
            f"{size_text(size)}; both must cover the same pixels. Choose the labels of this image, or paint "
            "on a new annotation."
        )


def spatial_ndim(layer: Any) -> int:
    """Return the dimensions of labels for a layer: time, depth, rows and columns."""
    return int(layer.ndim) - (channel_axis(layer) is not None)


def frame_count(layer: Any) -> int:
    """Return how many frames a layer has; 1 for a plane."""
    return 1 if spatial_ndim(layer) < 3 else int(pixels(layer).shape[0])


def channels_first(layer: Any) -> None:
    """Move the channels of an image to its first slider: layers lie on each other by their last axes."""
    axis = channel_axis(layer)
    if axis:
        _reorder(layer, [axis, *(n for n in range(layer.ndim) if n != axis)])
        remember(layer, channels_from=axis)


def _steps(layer: Any, index: Any = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where a pixel lies in the world, and the step from it along each axis, as rows."""
    points = np.vstack([np.zeros(layer.ndim), np.eye(layer.ndim)]) + index
    origin, *ends = (np.asarray(layer.data_to_world(point), float) for point in points)
    return origin, np.array(ends) - origin


def placement(
    layer: Any, index: Sequence[int] = (), axes: Sequence[int] | None = None
) -> dict[str, Any]:
    """Return how an image or labels lie in the world, as options of another layer that lies on it.

    `index` is that of the first pixel, for a layer that shows a plane of this one only; `axes` are the
    dimensions that the other layer has, in its order; all but channels without.
    """
    kept = [n for n in range(layer.ndim) if n != channel_axis(layer)]
    first = np.zeros(layer.ndim)
    first[kept[: len(index)]] = index
    origin, steps = _steps(layer, first)
    chosen = np.asarray(kept if axes is None else axes)
    scale, translate = np.asarray(layer.scale, float)[chosen], origin[chosen]
    matrix, turned = np.eye(len(chosen) + 1), steps[np.ix_(chosen, chosen)].T / scale
    if not np.allclose(turned, np.eye(len(chosen))):
        matrix[:-1, :-1], matrix[:-1, -1], translate = turned, translate, np.zeros(len(chosen))
    return {
        "scale": tuple(scale),
        "translate": tuple(translate),
        "affine": matrix,
        "units": tuple(str(layer.units[n]) for n in chosen),
        "axis_labels": tuple(layer.axis_labels[n] for n in chosen),
    }


def place(layer: Any, options: Mapping[str, Any]) -> None:
    """Move a layer to where another one lies, by its `placement`."""
    for name, value in options.items():
        setattr(layer, name, value)


def _reorder(layer: Any, order: list[int]) -> None:
    """Put the dimensions of a layer into another order, in place; it stays where it is."""
    options = placement(layer, (), order)
    if layer.multiscale:
        layer.data = [_transposable(level).transpose(order) for level in layer.data]
    else:
        layer.data = _transposable(layer.data).transpose(order)
    layer.rotate, layer.shear = np.eye(layer.ndim), np.zeros(layer.ndim * (layer.ndim - 1) // 2)
    place(layer, options)


def stored_axes(layer: Any) -> str:
    """Return `layer_axes` in the order before channels went to the first slider."""
    found, back = layer_axes(layer), metadata(layer).get("channels_from")
    return f"{found[1 : back + 1]}C{found[back + 1 :]}" if back and found[0] == "C" else found


def first_axis(layer: Any) -> str:
    """Return "T" or "Z", what the frames of a layer run through by its label; "" if none tells."""
    axis = channel_axis(layer)
    letters = [letter for n, letter in enumerate(_letters(layer)) if n != axis]
    return letters[0] if len(letters) > 2 and letters[0] in "TZ" else ""


def layer_axes(layer: Any) -> str:
    """Name the dimensions of an image layer, by their labels, as they are stored; without the colours of RGB.

    A first one without such a label is time; rows and columns are the last.  Raises `AmbiguousInput` if
    the labels do not tell enough, `ValueError` if the layer is not a stack.
    """
    letters = _letters(layer)
    for at, letter in ((-2, "Y"), (-1, "X")):
        if letters[at] == "?":
            letters[at] = letter
    if letters[0] == "?" and "?" not in letters[1:] and "T" not in letters:
        letters[0] = "T"
    found, size = "".join(letters), size_text(_stored_shape(layer))
    if found.replace("C", "", 1) in ("YX", "TYX", "ZYX", "TZYX") and found != "TZCYX":
        return found
    choices = layer_choices(layer)
    if "?" in found and choices:
        raise AmbiguousInput(
            f"What are the dimensions of {layer.name!r}, {size}?",
            f"Choose it below the image in the step Stack: {', '.join(choices)}.",
            "axes",
            choices,
        )
    raise ValueError(
        f"The image {layer.name!r} has size {size}; an image has rows and columns, and "
        "at most time and depth before them, in this order, or channels. Split its channels or positions "
        "into layers (right click)."
    )


def _stored_shape(layer: Any) -> tuple[int, ...]:
    """Return the shape of a layer as it is stored, without the colours of RGB."""
    return tuple(int(n) for n in _finest(layer).shape[: layer.ndim])


def layer_choices(layer: Any) -> tuple[str, ...]:
    """Return the axes that somebody may choose for an image layer, the likely one first."""
    fit = (axes for axes in AXES.get(layer.ndim, ()) if axes[-1] == "X" and "ZT" not in axes)
    return tuple(axes for axes in fit if not (layer.rgb and "C" in axes))


def choose_axes(layer: Any, axes: str) -> None:
    """Set what the dimensions of an image layer are, in the order of `stored_axes`; raises `ValueError`."""
    axes = check_axes(axes, _stored_shape(layer), f"the image {layer.name!r}")
    back = metadata(layer).get("channels_from")
    if back and channel_axis(layer) == 0:
        _reorder(layer, [*range(1, back + 1), 0, *range(back + 1, layer.ndim)])
    layer.axis_labels = tuple(axes.lower())
    remember(layer, channels_from=None, given_axes=f"{axes}{'C' * bool(layer.rgb)}")
    channels_first(layer)


def image_stack(layer: Any) -> Stack:
    """See an image layer as a stack; a plane is a stack of one frame.  Raises as `layer_axes` does."""
    stored, known = layer_axes(layer), metadata(layer)
    data = pixels(layer)
    if 0 in data.shape:
        raise ValueError(f"The image {layer.name!r} has shape {data.shape}: it has no pixels.")
    axes = stored.replace("C", "")
    single = len(axes) == 2
    numbers = _own_numbers(layer)
    positions = {number: position for position, number in enumerate(numbers)}

    def read(number: int) -> NDArray[Any]:
        return np.asarray(data if single else data[positions[number]])

    channels = "C" if "C" in stored or layer.rgb else ""
    steps = zip(stored, pixel_size(layer), layer.units, strict=True)
    placed = [(size, str(unit)) for letter, size, unit in steps if letter != "C"]
    if single:
        placed.insert(0, (1.0, "pixel"))
    return Stack(
        name=layer.name,
        format=known.get("format", "array"),
        path=Path(known["path"]) if known.get("path") else None,
        axes=("T" if single else "") + axes + channels,
        frame_numbers=numbers,
        shape=tuple(data.shape if single else data.shape[1:]),
        dtype=np.dtype(data.dtype),
        read=read,
        scale=tuple(size for size, _ in placed),
        units=tuple(unit for _, unit in placed),
        digits=int(known.get("digits") or 3),
        sequence=known.get("sequence") or "",
        given_axes=known.get("given_axes") or "",
        series=known.get("series"),
    )


def is_stack(layer: Any) -> bool:
    """Whether an image layer can be worked on, see `image_stack`."""
    try:
        image_stack(layer)
    except ValueError:
        return False
    return True


def stack_metadata(stack: Stack | StackReference) -> dict[str, Any]:
    """Return what a layer remembers of its stack, as plain values."""
    return {
        "path": str(stack.path) if stack.path else None,
        "format": stack.format,
        "sequence": stack.sequence,
        "frame_numbers": list(stack.frame_numbers),
        "digits": stack.digits,
        "given_axes": stack.given_axes,
        "series": stack.series,
    }


def pixel_size(layer: Any, unit: Any = None) -> tuple[float, ...]:
    """Return how far it is from one index to the next along each axis of a layer, in the world.

    Sizes are in the unit of each axis, or in `unit` where an axis has one that can be changed into it.
    """
    _, steps = _steps(layer)
    sizes = [float(f"{size:.12g}") or 1.0 for size in np.linalg.norm(steps, axis=1)]
    if unit is None:
        return tuple(sizes)
    return tuple(size * _factor(own, unit) for size, own in zip(sizes, layer.units, strict=True))


def world_matrix(layer: Any, axes: int) -> NDArray[np.float64]:
    """Return how the last axes of a layer lie in the world, in the unit of the last one.

    (axes, axes + 1): times the indices, and a 1 after them, it gives the place.
    """
    origin, steps = _steps(layer)
    matrix = np.column_stack([steps[-axes:, -axes:].T, origin[-axes:]])
    factors = [_factor(unit, layer.units[-1]) for unit in layer.units[-axes:]]
    return np.asarray(matrix * np.array(factors)[:, np.newaxis])


def _factor(unit: Any, other: Any) -> float:
    try:
        return float((1 * unit).to(other).magnitude)
    except (AttributeError, ValueError, TypeError):  # pixels have no size
        return 1.0


# places


def current_index(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the leading indices (time, depth) of the plane of this layer that the viewer shows."""
    at = np.asarray(layer.world_to_data(viewer.dims.point[-layer.ndim :]))
    axis = channel_axis(layer)
    at = at if axis is None else np.delete(at, axis)
    shape = pixels(layer).shape
    return tuple(
        int(np.clip(round(float(a)), 0, n - 1)) for a, n in zip(at[:-2], shape, strict=False)
    )


def position_of(index: Sequence[int]) -> int:
    """Return the position along the stack of a plane, by its leading indices."""
    return index[0] if index else 0


def shown_position(viewer: Any, layer: Any) -> int:
    """Return the position along the stack of the frame of a layer that the viewer shows."""
    return position_of(current_index(viewer, layer))


def plane(layer: Any) -> Any:
    """Return a function that reads one plane of the layer by its leading indices, in any thread."""
    data = pixels(layer)
    return lambda index: np.asarray(data[tuple(index)] if index else data)


def frame_numbers(layer: Any, image: Any) -> tuple[tuple[int, ...], str]:
    """Return the frame numbers of a labels layer, by position, and its axes.

    Those of the image where it has as many pixels, else what the layer itself knows.
    """
    if image is not None and spatial_shape(image) == tuple(pixels(layer).shape):
        stack = image_stack(image)
        return stack.frame_numbers, stack.axes.removesuffix("C")
    return _own_numbers(layer), "TYX"


def _own_numbers(layer: Any) -> tuple[int, ...]:
    count, known = frame_count(layer), metadata(layer).get("frame_numbers") or ()
    return tuple(map(int, known)) if len(known) == count else tuple(range(count))


def stroke_positions(atoms: Iterable[Any], frames: int) -> set[int]:
    """Return which of so many frames a stroke fell on: the value of napari's ``paint`` of a labels layer."""
    if frames == 1:
        return {0}
    found: set[int] = set()
    for atom in atoms:
        first = atom[0][0]
        found.update(
            range(frames)[first] if isinstance(first, slice) else np.unique(first).tolist()
        )
    return found


_CANVAS = 600.0  # pixels of the screen, about: the smaller side of the canvas
_FARTHEST, _NEAREST = 8.0, 1.5  # how many times the object fits into the canvas


def show_place(viewer: Any, layer: Any, at: Sequence[float], size: float) -> None:
    """Show a place of a layer, in data coordinates, with an object of `size` pixels across in sight.

    Where the zoom shows the object well, it is kept.
    """
    world = np.asarray(layer.data_to_world(tuple(at)), float)
    displayed = viewer.dims.ndisplay
    first = viewer.dims.ndim - layer.ndim
    for axis in range(layer.ndim - displayed):
        viewer.dims.set_point(first + axis, float(world[axis]))
    shown = min(displayed, layer.ndim)
    camera = viewer.scene.camera
    centre = list(camera.center)
    centre[-shown:] = (float(w) for w in world[-shown:])
    camera.center = tuple(centre)
    across = max(size, 1.0) * float(np.mean(np.abs(layer.scale[-2:])))
    nearest, farthest = _CANVAS / (_NEAREST * across), _CANVAS / (_FARTHEST * across)
    camera.zoom = float(np.clip(camera.zoom, farthest, nearest))


def describe_kind(kind: LabelKind) -> str:
    """Return one line about what counts as what."""
    if kind is LabelKind.SCRIBBLES:
        return "1 = background, 2, 3 … = classes; 0 = not painted, so unknown."
    what = "1, 2, 3 … = one cell each" if kind is LabelKind.INSTANCES else "1, 2 … = a class each"
    unused = "Frames without any label are not used, unless marked as background."
    return f"{what}; 0 = background. {unused}"
