"""What a project gives to train on: its painted frames as an annotation of its stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_jnet.data.frames import annotated_frames, frame_name
from napari_jnet.data.project_frames import ANNOTATIONS
from napari_jnet.data.stack import AnnotatedFrame, Annotation, LabelKind, Stack, known_labels

if TYPE_CHECKING:
    from napari_jnet.data.project import Project

__all__ = ["PAINTED", "training_frames", "with_painted"]

PAINTED = "painted"
"""Name of the annotation that a project's stack has."""


def with_painted(project: Project, stack: Stack) -> Stack:
    """Give a project's stack the painted frames as its first annotation, if there are any."""
    painted = _annotation(project, stack)
    if not painted.frame_numbers:
        return stack
    return replace(stack, annotations={PAINTED: painted, **stack.annotations}, candidates=False)


def training_frames(project: Project, numbers: Sequence[int] | None) -> list[AnnotatedFrame]:
    """Read annotated frames with their roles; see `Project.frames`."""
    annotated = project.annotated
    if numbers is None:
        numbers = [n for n in annotated if project.role(n) != "unused"]
    if not numbers:
        more = f" ({len(annotated)} annotated frames are unused)" if annotated else ""
        raise ValueError(
            f"The project {project.path} has no annotated frame to train on{more}; paint at least "
            "one cell in one frame, or give a frame the role training."
        )
    stack = with_painted(project, project.stack.open(project.path))
    if PAINTED not in stack.annotations:
        raise ValueError(
            f"The project {project.path} has no annotated frame, but frames "
            f"{', '.join(map(str, numbers))} were asked for; paint at least one cell first."
        )
    roles = {frame_name(stack, n): project.role(n) for n in numbers}
    found = annotated_frames(stack, PAINTED, numbers)
    return [replace(frame, role=_role_of(frame.name, roles)) for frame in found]


def _annotation(project: Project, stack: Stack) -> Annotation:
    kind, partial = project.kind, project.partial

    def read(number: int) -> NDArray[np.int32]:
        labels = project.read_frame(number)
        if stack.format == "folder":  # whose smaller images are filled up where they are shown
            spatial = stack.frame(number).shape[: labels.ndim]
            labels = labels[tuple(slice(n) for n in spatial)]
        try:
            return known_labels(labels, kind, partial=number in partial)
        except ValueError as error:
            raise ValueError(f"{project.path}, frame {number}: {error}") from error

    # Scribbles count from 1 = background, classes from 0.
    start = 1 if kind is LabelKind.SCRIBBLES else 0
    legend = () if kind is LabelKind.INSTANCES else project.legend[start:]
    return Annotation(
        PAINTED,
        kind,
        project.annotated,
        read,
        partial=partial,
        empty=(lambda: project.empty) if kind is not LabelKind.SCRIBBLES else frozenset(),
        path=project.path / ANNOTATIONS,
        read_legend=lambda: legend,
    )


def _role_of(name: str, roles: Mapping[str, str]) -> str:
    """Return the role of a frame, or of the frame that a plane of a volume belongs to."""
    return roles.get(name) or roles.get(name.rpartition(" z")[0], "")
