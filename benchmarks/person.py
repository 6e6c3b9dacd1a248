"""A person at the workbench, who knows the truth: paints it, corrects by it, presses the buttons.

What a person sees as wrong is read off the truth; what is done about it is done with the mouse and
the keys of the window.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from eyes import GOOD, Labels, Point, agreement, best_iou, cut, inside, line, outlines
from hand import SHIFT, Hand
from napari_jnet.plugin.open_workspace import open_workspace

__all__ = ["Person"]


class Person:
    """Works through the steps of the workbench.

    Parameters
    ----------
    viewer
        With the workbench in a dock.
    workbench
        The widget.
    pictures
        Folder for screenshots, or None.
    """

    def __init__(self, viewer: Any, workbench: Any, pictures: Path | None) -> None:
        self.viewer, self.workbench, self.pictures = viewer, workbench, pictures
        self.hand = Hand(viewer)
        self.workspace = open_workspace(viewer)
        self._taken = 0

    def look(self, name: str) -> None:
        """Take a picture of the window, numbered in their order."""
        self._taken += 1
        if self.pictures is not None:
            self.hand.picture(self.pictures / f"{name}.png")

    def go(self, step: str) -> Any:
        """Click the button of a step, and return its widget."""
        from qtpy.QtCore import Qt

        QTest.mouseClick(self.workbench.steps_row.buttons[step], Qt.MouseButton.LeftButton)
        self.hand.wait(0.3)
        return self.workbench.page

    def press(self, words: str, *, wait: float = 20.0) -> None:
        """Press a button of the step that is shown."""
        self.hand.press(words, self.workbench.page, wait=wait)

    # stack

    def load(self, path: Path) -> None:
        """Type the path of a stack and load it."""
        page = self.go("stack")
        field = next(
            edit for edit in page.form["path"].native.findChildren(QLineEdit) if edit.isVisible()
        )
        self.hand.write(field, str(path))
        self.hand.wait(1.0)
        self.look("stack-path")
        before = self.workspace.image
        self.press("Load")
        self.hand.wait_until(
            lambda: self.workspace.image is not None and self.workspace.image is not before,
            "the stack is loaded",
        )
        self.hand.layer = self.workspace.image
        self.home()

    def home(self) -> None:
        """Show the whole frame, as the house button does."""
        self.viewer.reset_view()
        self.hand.wait(0.5)

    @property
    def annotation(self) -> Any:
        """The layer that is painted on."""
        return self.workspace.annotation

    def frame(self, number: int) -> Labels:
        """Return what is painted in a frame."""
        return np.asarray(self.annotation.data[self.position(number)])

    def position(self, number: int) -> int:
        """Return where along the stack a frame is."""
        return list(self.workspace.frames.numbers).index(number)

    # annotate

    def new_annotation(self) -> None:
        """Make a layer to paint on."""
        self.go("annotate")
        self.press("New annotation")
        self.hand.wait_until(lambda: self.annotation is not None, "there is an annotation")

    def to_frame(self, number: int) -> None:
        """Show a frame: the step Annotate has a table whose rows lead there; here, its model's API."""
        self.workspace.go_to(self.position(number))
        self.hand.wait(0.3)

    def paint(self, number: int, truth: Labels, most: int | None = None) -> dict[str, float]:
        """Outline every cell of a frame, each with a number of its own."""
        self.go("annotate")
        self.to_frame(number)
        self.press("Outline")
        start = time.monotonic()
        labels = np.unique(truth[truth > 0])[:most]
        truth = np.where(np.isin(truth, labels), truth, 0)
        for count, label in enumerate(labels):
            self.new_cell(first=count == 0 and not self.annotation.data.any())
            self.outline(truth == label)
        return agreement(self.frame(number), truth) | {
            "seconds": round(time.monotonic() - start, 1)
        }

    def new_cell(self, *, first: bool = False) -> None:
        """Take the next free number with the key M, unless the last outline has taken it."""
        number = self.annotation.selected_label
        if not first and (np.asarray(self.annotation.data) == number).any():
            self.hand.key("m")

    def outline(self, mask: NDArray[np.bool_]) -> None:
        """Click around a cell; a hole or a second piece is painted like the first."""
        for contour in outlines(mask, tolerance=1.0):
            self.hand.outline(contour)

    def strokes(self, label: int, paths: Iterable[list[Point]]) -> None:
        """Paint strokes with the brush and a label."""
        self.press("Brush")
        self.annotation.selected_label = label
        self.hand.strokes(paths)

    # train

    def train(
        self, words: str, minutes: float, name: str, changes: dict[str, Any] | None = None
    ) -> str:
        """Press a button of Train and wait for the end; return what the window says then."""
        page = self.go("train")
        page.set_values(minutes=minutes, changes=changes)
        self.hand.wait(1.0)
        self.look(f"{name}-ready")
        ends: list[str] = []
        page.finished.connect(ends.append)
        self.press(words)
        pictured = False
        limit = time.monotonic() + 60 * minutes + 240
        while not ends:
            self.hand.wait(0.25)
            if not pictured and self.workspace.training.progress > 0.6:
                pictured = True
                self.look(f"{name}-running")
            if time.monotonic() > limit:
                raise TimeoutError(f"{words} did not end: {page.message.text}")
        page.finished.disconnect(ends.append)
        self.look(f"{name}-done")
        if ends != ["done"]:
            raise RuntimeError(f"{words} ended as {ends}: {page.message.text}")
        return page.message.text

    # predict and correct

    def predict(self, number: int) -> Labels:
        """Predict one frame, and return its cells."""
        page = self.go("predict")
        self.to_frame(number)
        ends: list[str] = []
        page.finished.connect(ends.append)
        self.press("Predict")
        self.hand.wait_until(lambda: ends, "the prediction ends", 180)
        page.finished.disconnect(ends.append)
        if ends != ["done"]:
            raise RuntimeError(f"Predict ended as {ends}: {page.message.text}")
        return np.asarray(self.workspace.prediction.cells.data[self.position(number)])

    def adopt(self, number: int) -> None:
        """Press Use as annotation."""
        self.press("Use as annotation")
        self.hand.wait_until(lambda: self.frame(number).any(), "cells are in the annotation")
        self.viewer.layers.selection.active = self.annotation

    def correct(self, number: int, truth: Labels) -> dict[str, Any]:
        """Mend the cells of a frame: delete, split, merge by keys, and outline what is left."""
        self.go("annotate")
        self.to_frame(number)
        self.viewer.layers.selection.active = self.annotation
        self.press("Move")
        if self.workspace.prediction.segmentation.visible:
            self.hand.key("o", SHIFT)  # the prediction lies over what is corrected
        before = agreement(self.frame(number), truth)
        done = {
            "deleted": self._delete_false(number, truth),
            "split": self._split(number, truth),
            "merged": self._merge(number, truth),
        }
        self.look("correct-tools")
        done["given up"] = self._delete_poor(number, truth)
        done["outlined"] = self._outline_missing(number, truth)
        return {"before": before, **done, "after": agreement(self.frame(number), truth)}

    def _delete_false(self, number: int, truth: Labels) -> int:
        count = 0
        plane = self.frame(number).copy()
        for label in np.unique(plane[plane > 0]):
            cell = plane == label
            if (truth[cell] > 0).mean() < 0.5:
                self._hover(inside(cell), "d")
                count += 1
        return count

    def _hover(self, point: Point, key: str) -> None:
        self.hand.move(point)
        self.hand.wait(0.05)
        self.hand.key(key, SHIFT)
        self.hand.wait(0.05)

    def _split(self, number: int, truth: Labels) -> int:
        """Drag across each cell that covers two true ones, along the border between these."""
        count = 0
        for label in np.unique(self.frame(number)):
            cell = self.frame(number) == label
            if label <= 0:
                continue
            covered = [
                t
                for t in np.unique(truth[cell & (truth > 0)])
                if (cell & (truth == t)).sum() > 0.5 * (truth == t).sum()
            ]
            for other in covered[1:]:
                stroke = cut(cell, truth == covered[0], truth == other)
                if stroke is not None:
                    self.hand.key("x", SHIFT)
                    self.hand.wait(0.1)
                    self.hand.drag(stroke)
                    self.hand.wait(0.2)
                    count += 1
        return count

    def _merge(self, number: int, truth: Labels) -> int:
        """Drag from one piece of a true cell over the others."""
        count = 0
        for t in np.unique(truth[truth > 0]):
            plane, cell = self.frame(number), truth == t
            pieces = [
                label
                for label in np.unique(plane[cell & (plane > 0)])
                if (truth[plane == label] == t).mean() > 0.6
            ]
            if len(pieces) > 1:
                ends = [inside(plane == label) for label in pieces]
                self.hand.key("m", SHIFT)
                self.hand.wait(0.1)
                self.hand.drag(line(ends))
                self.hand.wait(0.2)
                count += len(pieces) - 1
        return count

    def _delete_poor(self, number: int, truth: Labels) -> int:
        """Delete what is quicker outlined anew than mended."""
        count = 0
        plane = self.frame(number).copy()
        for label in np.unique(plane[plane > 0]):
            cell = plane == label
            if best_iou(cell, truth) < GOOD:
                self._hover(inside(cell), "d")
                count += 1
        return count

    def _outline_missing(self, number: int, truth: Labels) -> int:
        """Outline every cell that is not there."""
        count = 0
        plane = self.frame(number).copy()
        self.press("Outline")
        for t in np.unique(truth[truth > 0]):
            if best_iou(truth == t, plane) < GOOD:
                self.new_cell()
                self.outline(truth == t)
                count += 1
        self.press("Move")
        return count
