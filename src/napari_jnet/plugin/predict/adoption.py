"""Use as annotation: predicted cells of the frame that is shown become painted ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_jnet.corrections_adopt import adopt_classes, adopted
from napari_jnet.data.frames import frame_label, plane_name
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.annotate.layers import new_annotation
from napari_jnet.plugin.correct.edits import read_plane, replace_plane
from napari_jnet.plugin.layers import current_index, kind_of, pixels
from napari_jnet.plugin.predict.results import Results
from napari_jnet.plugin.session import Session, result_of, same

__all__ = ["NOTHING", "use_as_annotation"]

NOTHING = "Nothing is copied"
"""What is said begins so where the annotation is as it was."""


def use_as_annotation(session: Session, results: Results, *, overwrite: bool = False) -> str:
    """Copy what is predicted in the frame that is shown into the annotation, as one undo step.

    An annotation layer is made where there is none.  Nothing painted is changed unless asked.  A
    frame without a role is learned from then.

    Parameters
    ----------
    session
        Of the viewer; has the annotation.
    results
        The prediction, with its cells as sliders and corrections left them.
    overwrite
        Also where something is painted.

    Returns
    -------
    str
        What happened, in words.

    Raises
    ------
    ValueError
        If this frame is not predicted, or the annotation is of another image.
    """
    index = current_index(session.viewer, results.image)
    position = index[0] if index else 0
    name = _frame_name(results, index)
    if position not in results.done:
        raise ValueError(f"{name} is not predicted yet; predict this frame first.")
    annotation = _annotation(session, results)
    kind = kind_of(annotation) or LabelKind.INSTANCES
    before = read_plane(annotation, index)
    cells = _plane(results.cells, index)
    if kind is LabelKind.INSTANCES:
        copied = adopted(before, cells, overwrite=overwrite)
        after, words = copied.plane, _cells_words(copied.copied, copied.left_out, copied.unknown)
    else:
        classes = cells > 0 if results.classes is None else _plane(results.classes, index)
        after = adopt_classes(before, classes.astype(np.int32), kind, overwrite=overwrite)
        # where nothing is predicted there is no background either
        known = _predicted(results, position, before.shape)
        after = np.where(known, after, before)
        words = (f"{int((after != before).sum())} pixels copied", "")
    changed = replace_plane(annotation, index, after)
    annotation.visible = True
    session.viewer.layers.selection.active = annotation
    what, left_out = words
    if changed and not session.book.role(position):
        # on validation it would flatter the model that it is copied from
        session.book.set_role(position, "training")
    if not changed:
        return f"{NOTHING} ({name}). {left_out or 'All of it is painted already.'}"
    if kind is not LabelKind.INSTANCES and results.classes is None:
        left_out = "These labels are of classes, so all cells became one class."
    return f"{what} into {annotation.name!r} ({name}); Ctrl+Z takes it back. {left_out}".strip()


def _cells_words(copied: int, left_out: int, unknown: int) -> tuple[str, str]:
    cells = "1 cell" if copied == 1 else f"{copied} cells"
    if not left_out:
        return f"{cells} copied", ""
    why = "their place is painted already"
    if unknown:
        why += " (as unknown)" if unknown == left_out else f", {unknown} of them as unknown"
    remedy = (
        " To copy those too, press Mark unpainted as background in Annotate first."
        if unknown
        else ""
    )
    return f"{cells} copied", f"{left_out} left out: {why}.{remedy}"


def _annotation(session: Session, results: Results) -> Any:
    """Return the layer to copy into; the predicted cells themselves are none."""
    annotation = session.annotation
    if annotation is None or result_of(annotation):
        plain = [layer for layer in session.labels() if not result_of(layer)]
        fitting = [layer for layer in plain if _fits(layer, results)]
        if fitting:
            session.choose("annotation", fitting[-1])
            return fitting[-1]
        if not same(session.image, results.image):
            session.choose("image", results.image)
        kind = LabelKind.INSTANCES if results.classes is None else LabelKind.CLASSES
        layer = new_annotation(session, kind, results.legend)
        layer.mode = "pan_zoom"
        return layer
    if not _fits(annotation, results):
        raise ValueError(
            f"The annotation {annotation.name!r} has shape {pixels(annotation).shape}, the predicted "
            f"image {results.image.name!r} {results.probability.shape}; both must cover the same "
            "pixels. Choose the annotation of this image."
        )
    return annotation


def _fits(layer: Any, results: Results) -> bool:
    return tuple(pixels(layer).shape) == results.probability.shape


def _plane(layer: Any, index: tuple[int, ...]) -> np.ndarray:
    data = pixels(layer)
    return np.asarray(data[index] if index else data)


def _predicted(results: Results, position: int, shape: tuple[int, ...]) -> np.ndarray:
    known = np.zeros(shape, bool)
    for rows, columns in results.parts.get(position, [(slice(None), slice(None))]):
        known[rows, columns] = True
    return known


def _frame_name(results: Results, index: tuple[int, ...]) -> str:
    if not index:
        return results.image.name
    number = results.stack.frame_numbers[index[0]]
    name = frame_label(results.stack.axes, number, results.stack.digits)
    return name if len(index) < 2 else plane_name(name, index[1], results.stack.shape[0])
