"""From a stack and its annotation to the 2-D annotated frames that a network is trained on."""

from __future__ import annotations

from collections.abc import Sequence

from napari_jnet.data.stack import UNKNOWN, AnnotatedFrame, Annotation, LabelKind, Stack

__all__ = [
    "annotated_frames",
    "frame_label",
    "frame_name",
    "is_plane",
    "plane_name",
    "section_of",
]


def frame_label(axes: str, number: int, digits: int = 3) -> str:
    """Return the short name of a frame: "t002", or "z002" where the first of the axes is Z."""
    return f"{'z' if axes[:1].upper() == 'Z' else 't'}{number:0{digits}d}"


def frame_name(stack: Stack, number: int) -> str:
    """Return the name of a frame for people: "01/t002", "train-volume/z07"."""
    where = stack.sequence or stack.name
    return f"{where}/{frame_label(stack.axes, number, stack.digits)}"


def plane_name(frame: str, plane: int, planes: int) -> str:
    """Return the name of a plane of a volume for people: "01/t002 z05"."""
    return f"{frame} z{plane:0{max(2, len(str(planes - 1)))}d}"


def is_plane(frame: AnnotatedFrame) -> bool:
    """Tell whether a frame is a plane of a volume that is one frame of its stack."""
    return bool(frame.volume) and frame.name.startswith(f"{frame.volume} ")


def section_of(stack: Stack, number: int, plane: int | None = None) -> tuple[str, int]:
    """Return which volume a frame, or a plane of it, is a section of, and its number there.

    ("", number) where it is of none.
    """
    if plane is not None:
        return frame_name(stack, number), plane
    return (stack.sequence or stack.name) if stack.axes[0] == "Z" else "", number


def annotated_frames(
    stack: Stack, annotation: str | None = None, frames: Sequence[int] | None = None
) -> list[AnnotatedFrame]:
    """Read annotated frames; volumes become planes, planes with nothing known are left out.

    Parameters
    ----------
    stack
        Where the frames come from.
    annotation
        Name of the annotation; None takes the first.
    frames
        Frame numbers; None takes all annotated ones.

    Returns
    -------
    list of AnnotatedFrame
        In the order of `frames`.

    Raises
    ------
    ValueError
        If a frame does not exist or is not annotated, an image and its labels differ in size, or
        nothing is known in any of the frames.
    """
    chosen = stack.annotation(annotation)
    numbers = chosen.frame_numbers if frames is None else tuple(frames)
    _check_numbers(stack, chosen, numbers)
    origin = chosen.summary(frames)
    found = [frame for number in numbers for frame in _planes(stack, chosen, number, origin)]
    if not found:
        raise ValueError(
            f"The annotation {chosen.name!r} of {stack.name} has no labelled pixel in the "
            "chosen frames; annotate at least one cell, or choose other frames."
        )
    return found


def _check_numbers(stack: Stack, annotation: Annotation, numbers: Sequence[int]) -> None:
    for number in numbers:
        if number not in annotation.frame_numbers:
            known = ", ".join(f"{n:0{stack.digits}d}" for n in annotation.frame_numbers)
            where = f" ({annotation.path})" if annotation.path else ""
            raise ValueError(
                f"The annotation {annotation.name!r} of {stack.name}{where} has nothing for frame "
                f"{number:0{stack.digits}d}; annotated frames are {known}."
            )


def _planes(stack: Stack, annotation: Annotation, number: int, origin: str) -> list[AnnotatedFrame]:
    image, labels = stack.frame(number), annotation.frame(number)
    name = frame_name(stack, number)
    spatial = image.shape[: labels.ndim]
    if spatial != labels.shape:
        raise ValueError(
            f"{name}: the image has {spatial} pixels, its labels {labels.shape}; "
            "both must cover the same pixels. Check that the labels belong to this image."
        )
    kind = LabelKind.CLASSES if annotation.kind is LabelKind.SCRIBBLES else annotation.kind
    if labels.ndim == 2:
        parts = [(name, image, labels, section_of(stack, number))]
    else:
        planes = labels.shape[0]
        parts = [
            (plane_name(name, z, planes), image[z], labels[z], section_of(stack, number, z))
            for z in range(planes)
        ]
    legend = annotation.legend
    return [
        AnnotatedFrame(n, i, t, kind, "", legend, origin, *section)
        for n, i, t, section in parts
        if (t != UNKNOWN).any()
    ]
