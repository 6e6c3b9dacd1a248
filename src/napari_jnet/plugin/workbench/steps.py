"""The steps of the work, in their order: what each is called, what it is for, and its widget."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_jnet.data.stack import LabelKind

if TYPE_CHECKING:
    import napari

__all__ = ["STEPS", "Step", "make_widget", "step_named"]

_PACKAGE = "napari_jnet.plugin"


@dataclass(frozen=True)
class Step:
    """One step of the work.

    Attributes
    ----------
    name
        As `Session.step` says it.
    title
        As its button says it.
    purpose
        What it is for, in two or three sentences.
    widget
        Module and class of its widget, ``module:Class``; imported when it is first shown.
    by_kind
        What it is for where other labels than cells are painted.
    """

    name: str
    title: str
    purpose: str
    widget: str
    by_kind: Mapping[LabelKind, str] = field(default_factory=dict)

    def purpose_for(self, kind: LabelKind) -> str:
        """Say what it is for where labels of this kind are painted."""
        return self.by_kind.get(kind, self.purpose)


STEPS: tuple[Step, ...] = (
    Step(
        "stack",
        "Stack",
        "Open the images to work on: a folder, a TIFF volume or a Cell Tracking Challenge dataset. "
        "Everything you do with them is kept in a project folder, saved by itself. "
        "Opening the same images again offers to go on where you stopped.",
        "stack.widget:LoadWidget",
    ),
    Step(
        "annotate",
        "Annotate",
        "Paint every cell of two frames, or some cells and press Mark unpainted as unknown, with a few "
        "strokes of Background: what is unpainted counts as background. "
        "Each cell has its own number: an outline takes the next one by itself, with the brush M does. "
        "The table says which frames are painted, and which are learned from or only checked against.",
        "annotate.widget:AnnotateWidget",
        {
            LabelKind.CLASSES: "Paint the classes in two frames: each number is a class, and what is "
            "unpainted counts as background. A click in the table of classes chooses what the brush paints. "
            "The table of frames says which are learned from or only checked against.",
            LabelKind.SCRIBBLES: "Draw a few strokes in one frame or more: 1 on background, 2 and up on "
            "the classes; what is unpainted is unknown. Where the network errs, draw more strokes. "
            "The table of frames says which are learned from or only checked against.",
        },
    ),
    Step(
        "train",
        "Train",
        "Let a network learn from the painted frames, in the background: painting goes on meanwhile. "
        "The preview shows what it finds in the frame you look at. "
        "Later, Fine-tune goes on from what it has learned, with your corrections.",
        "train.widget:TrainWidget",
    ),
    Step(
        "predict",
        "Predict",
        "Find the cells in this frame or in all, with the network that you trained. "
        "The sliders separate the cells anew at once. "
        "Use as annotation takes the cells of a frame over, to correct them and to learn from them.",
        "predict.widget:PredictWidget",
    ),
    Step(
        "evaluate",
        "Evaluate",
        "Measure how good the cells are, against a frame that you painted by hand. "
        "Only frames that were not learned from say how it does on new images. "
        "The colours show cells that are missed, false, split or merged; a click on a row goes there.",
        "evaluate.widget:EvaluateWidget",
    ),
    Step(
        "measure",
        "Measure",
        "Measure the cells one by one: area, perimeter, brightness and place, frame by frame. "
        "A click on a row selects the cell in the image. The table can be saved as CSV.",
        "evaluate.measure_widget:MeasureWidget",
    ),
)


def step_named(name: str) -> Step:
    """Return a step by its name.

    Raises
    ------
    ValueError
        If there is no step of this name.
    """
    for step in STEPS:
        if step.name == name:
            return step
    known = ", ".join(step.name for step in STEPS)
    raise ValueError(f"There is no step {name!r}; the steps are {known}.")


def make_widget(step: Step, viewer: napari.viewer.Viewer) -> Any:
    """Make the widget of a step; its module is imported now and not before."""
    module, _, name = step.widget.partition(":")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)(viewer)
