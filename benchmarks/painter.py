"""A simulated person who paints on labels with the tools of the window, and how long that takes.

The tools give the labels that the window's tools give: a circle around a cell that fills it (the brush
with the right button), brush and eraser, and the edits of `napari_jnet.editing`.  The time model:

- Moving to a target takes its distance at 800 pixels of the screen a second after 0.2 s of search; a
  finished frame is judged in 0.2 s; a mouse gives 120 positions a second; a brush moves at 400 pixels a
  second at most (simulated annotator of RootPainter, trainer/tests/astar_annotator, 2026).
- The faster a hand, the less exact: its deviation is 0.04 s times its speed, which is 30 pixels a second
  at least; strokes are as fast as keeps three deviations inside of what they are to fill (method.md of
  the same simulator).  A person who goes around a cell accepts a deviation of 2 % of its diameter; so
  any cell takes about 6 s.  Measured by others: 15 h for 6409 nuclei, 8.4 s each, by hand (Englbrecht et
  al., PLoS ONE 16(4), 2021, e0250093, figure 3).
- A key or a button of the mouse takes 0.2 s, a key with Shift twice that (keystroke-level model, Card,
  Moran and Newell, 1980: average typist).
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects, gaussian_filter1d
from skimage.draw import disk, polygon
from skimage.measure import find_contours

from eyes import GOOD, Labels, Mask, Point, Problem, best_iou, cut, inside, line, problems
from napari_jnet.editing import copy_cells, delete, merge, next_label, split

__all__ = ["Action", "Pace", "Painter", "annotate"]

SCREEN = 900  # pixels of the screen that a frame is as large as
ENOUGH = 0.1  # of what is to be filled may stay free
MOST = 4  # edits that a cell may need before a person gives it up


@dataclass(frozen=True)
class Pace:
    """How fast a person is, in seconds and pixels of the screen; see the top of this file."""

    travel: float = 800.0  # pixels a second without a button
    fastest: float = 400.0  # with one
    slowest: float = 30.0
    positions: float = 120.0  # of the mouse a second
    jitter: float = 0.04  # seconds; times the speed, the deviation of the hand
    accepted: float = 0.02  # deviation around a cell, in diameters
    search: float = 0.2
    judge: float = 0.2
    key: float = 0.2

    def tracing(self, diameter: float) -> float:
        """Return the speed around a cell."""
        return self._within(self.accepted * diameter / self.jitter)

    def filling(self, margin: float) -> float:
        """Return the speed of a brush that has so much room to both sides."""
        return self._within(margin / (3 * self.jitter))

    def _within(self, speed: float) -> float:
        return min(max(speed, self.slowest), self.fastest)


class Action(NamedTuple):
    """What was done, how long it took, and how often a key or button was pressed."""

    kind: str
    seconds: float
    presses: int


class Painter:
    """Paints on one frame.

    Parameters
    ----------
    plane
        (H, W) int32, the annotation; replaced, not changed.
    rng
        Draws how the hand deviates.
    pace
        How fast the person is.

    Attributes
    ----------
    actions
        What was done, in order.
    """

    def __init__(self, plane: Labels, rng: np.random.Generator, pace: Pace | None = None) -> None:
        self.plane = plane.astype(np.int32)
        self.zoom = SCREEN / max(plane.shape)  # pixels of the screen for one of the frame
        self.actions: list[Action] = []
        self._rng, self._pace = rng, pace or Pace()
        self._at: Point = (plane.shape[0] / 2, plane.shape[1] / 2)
        self._tool = ""

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return sum(action.seconds for action in self.actions)

    def press(self, kind: str, keys: int = 1, wait: float = 0.0) -> None:
        """Press keys, and wait so many seconds."""
        self._done(kind, self._pace.key * keys + wait, keys)

    def judge(self) -> None:
        """Look whether the frame is right."""
        self._done("judge", self._pace.judge, 0)

    def drag_diameter(self, diameter: float) -> None:
        """Drag the circle that says how large cells are."""
        row, column = self._at
        self._drag("diameter", [(row, column), (row, column + diameter)], self._pace.fastest)

    def circle(self, mask: Mask) -> int:
        """Go around a cell and fill it; return its number, the next one that is free."""
        number = next_label(self.plane)
        seconds, presses = self._take("brush")
        speed = self._pace.tracing(self.zoom * math.sqrt(4 * mask.sum() / math.pi))
        plane = self.plane.copy()
        for contour in find_contours(np.pad(mask, 1).astype(float), 0.5):
            path = self._trace(contour[:-1] - 1, speed)
            if len(path) < 3:
                continue
            seconds += self._travel(path[0]) + self._pace.key + self._length(path) / speed
            presses += 1
            plane[polygon(*path.T, plane.shape)] = number
            self._at = (float(path[-1, 0]), float(path[-1, 1]))
        self.plane = plane
        self._done("circle", seconds + self._pace.search, presses)
        return number

    def brush(self, region: Mask, allowed: Mask, number: int) -> None:
        """Fill most of a free region with strokes that stay inside of what is allowed."""
        self._fill("brush", region, allowed, 0, number)

    def erase(self, region: Mask, allowed: Mask, number: int) -> None:
        """Erase most of a region of a cell with strokes that stay inside of what is allowed."""
        self._fill("eraser", region, allowed, number, 0)

    def split(self, number: int, one: Mask, other: Mask) -> bool:
        """Drag across a cell between two parts of it; return whether that has cut it."""
        cell = self.plane == number
        stroke = cut(cell, one & cell, other & cell)
        if stroke is None:
            return False
        speed = self._pace.tracing(self.zoom * math.sqrt(4 * cell.sum() / math.pi))
        moved = self._rng.normal(0, self._deviation(speed), (2, 2))
        ends = [
            (r + dr, c + dc)
            for (r, c), (dr, dc) in zip(stroke[:: len(stroke) - 1], moved, strict=True)
        ]
        self._drag("split", ends, speed)
        try:
            self.plane = split(self.plane, line(ends))
        except ValueError:
            return False
        return True

    def merge(self, numbers: tuple[int, ...]) -> None:
        """Drag from one cell over the others."""
        self._drag("merge", [inside(self.plane == n) for n in numbers], self._pace.fastest)
        self.plane = merge(self.plane, numbers)

    def delete(self, number: int) -> None:
        """Point at a cell and press the keys that delete it."""
        point = inside(self.plane == number)
        seconds = self._pace.search + self._travel(point) + 2 * self._pace.key
        self.plane, self._at = delete(self.plane, number), point
        self._done("delete", seconds, 2)

    def _done(self, kind: str, seconds: float, presses: int) -> None:
        self.actions.append(Action(kind, seconds, presses))

    def _take(self, tool: str) -> tuple[float, int]:
        """Take a tool by its key; return the seconds and the presses."""
        presses = int(tool != self._tool)
        self._tool = tool
        return presses * self._pace.key, presses

    def _travel(self, point: Point | np.ndarray) -> float:
        return self._length(np.array([self._at, point])) / self._pace.travel

    def _length(self, path: np.ndarray) -> float:
        """Return the length of a path in pixels of the screen."""
        return self.zoom * float(np.hypot(*np.diff(path, axis=0).T).sum())

    def _deviation(self, speed: float) -> float:
        """Return how far the hand is off at a speed, in pixels of the frame."""
        return self._pace.jitter * speed / self.zoom

    def _drag(self, kind: str, ends: list[Point], speed: float) -> None:
        """Press the keys of a command, then drag along straight lines."""
        seconds = 3 * self._pace.key + self._pace.search + self._travel(ends[0])
        self._done(kind, seconds + self._length(np.array(ends)) / speed, 3)
        self._at = ends[-1]

    def _trace(self, contour: np.ndarray, speed: float) -> np.ndarray:
        """Return the positions of the mouse on its way along a closed contour."""
        along = np.concatenate(
            [[0.0], np.hypot(*np.diff(contour, axis=0, append=contour[:1]).T).cumsum()]
        )
        count = max(round(along[-1] * self.zoom / speed * self._pace.positions), 8)
        at = np.linspace(0, along[-1], count, endpoint=False)
        closed = np.concatenate([contour, contour[:1]])
        path = np.stack([np.interp(at, along, axis) for axis in closed.T], axis=1)
        # a hand corrects what the eye sees, a search later
        memory = self._pace.search / 2 * self._pace.positions
        off = gaussian_filter1d(self._rng.normal(size=count), memory, mode="wrap")
        off *= math.sqrt(2 * math.sqrt(math.pi) * memory) * self._deviation(speed)
        step = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
        normal = step[:, ::-1] * (1, -1) / np.maximum(np.hypot(*step.T), 1e-9)[:, None]
        return path + off[:, None] * normal

    def _fill(self, tool: str, region: Mask, allowed: Mask, before: int, after: int) -> None:
        """Sweep over the pixels of a region that are `before`, with ever smaller brushes."""
        room = distance_transform_edt(allowed)
        plane, wanted = self.plane.copy(), region & (self.plane == before)
        whole = max(np.count_nonzero(wanted), 1)
        radius = max(round(room[region].max(initial=0) / 2), 1)
        seconds, presses = self._take(tool)
        while radius >= 1 and np.count_nonzero(wanted) > ENOUGH * whole:
            strokes = _strokes(room, wanted, radius)
            sizing = 2 * bool(strokes)  # the keys that change the size of the brush
            seconds, presses = seconds + sizing * self._pace.key, presses + sizing
            for stroke in strokes:
                margin = float(np.median(room[tuple(stroke.T)])) - radius
                speed = self._pace.filling(self.zoom * margin)
                seconds += self._travel(stroke[0]) + self._pace.key + self._length(stroke) / speed
                presses += 1
                self._at = (float(stroke[-1, 0]), float(stroke[-1, 1]))
                off = self._rng.normal(0, self._deviation(speed), stroke.shape)
                moved = np.clip(np.rint(stroke + off).astype(int), 0, np.array(plane.shape) - 1)
                # who comes near the border steers back
                steady = (room[tuple(moved.T)] > radius)[:, None]
                for centre in np.where(steady, moved, stroke):
                    there = disk(centre, radius + 0.01, shape=plane.shape)
                    plane[there] = np.where(plane[there] == before, after, plane[there])
            wanted &= plane == before
            radius //= 2
        self.plane = plane
        self._done(tool, seconds + self._pace.search, presses)


def _strokes(room: np.ndarray, wanted: Mask, radius: int) -> list[np.ndarray]:
    """Return strokes, (N, 2) pixels each, that follow the border of what is allowed.

    ``room`` is the distance to the border.  The outermost strokes touch it, the next ones lie side by side;
    all are as long as the wanted pixels beside them.
    """
    (box,) = find_objects(wanted.astype(np.uint8))
    box = tuple(slice(max(s.start - 2 * radius, 0), s.stop + 2 * radius) for s in box)
    depth, away = room[box], distance_transform_edt(~wanted[box])
    corner = np.array([s.start for s in box])
    strokes = []
    for level in np.arange(radius + 1, depth.max(initial=0), 1.7 * radius):
        for contour in find_contours(depth, level):
            path = np.rint(contour).astype(int)
            useful = (depth[tuple(path.T)] > radius) & (away[tuple(path.T)] <= radius / 2)
            ends = np.flatnonzero(np.diff(useful)) + 1
            strokes += [
                part + corner
                for part, use in zip(np.split(path, ends), np.split(useful, ends), strict=True)
                if use.all()
            ]
    return strokes


def annotate(painter: Painter, truth: Labels, cells: Labels | None) -> Painter:
    """Annotate a frame whole: outline each cell, or correct what is predicted, whichever is quicker.

    Returns the painter of the way that was taken.
    """
    outlined = copy.deepcopy(painter)
    for number in _nearest_first(truth):
        outlined.circle(truth == number)
    outlined.judge()
    if cells is None or not cells.any():
        return outlined
    corrected = copy.deepcopy(painter)
    corrected.press("copy", 2)
    corrected.plane = copy_cells(corrected.plane, cells).plane
    correct(corrected, truth)
    return min(corrected, outlined, key=lambda painter: painter.seconds)


def _nearest_first(truth: Labels) -> list[int]:
    """Return the cells of a frame, each the nearest to the one before."""
    places = {
        number: np.array([(s.start + s.stop) / 2 for s in box])
        for number, box in enumerate(find_objects(truth), start=1)
        if box is not None
    }
    order: list[int] = []
    at = np.zeros(2)
    while places:
        number = min(places, key=lambda n: float(np.hypot(*(places[n] - at))))
        at = places.pop(number)
        order.append(number)
    return order


def correct(painter: Painter, truth: Labels) -> None:
    """Mend a frame, what has the most wrong pixels first, until nothing is left to mend."""
    tries: Counter[tuple[str, tuple[int, ...]]] = Counter()
    while left := [p for p in problems(painter.plane, truth) if tries[_name(p)] < MOST]:
        _mend(painter, truth, left[0], tries[_name(left[0])])
        tries[_name(left[0])] += 1
    painter.judge()


def _name(problem: Problem) -> tuple[str, tuple[int, ...]]:
    return problem.kind, problem.truth or problem.labels


def _mend(painter: Painter, truth: Labels, problem: Problem, tries: int) -> None:
    kind, _, labels, cells = problem
    if kind == "delete":
        painter.delete(labels[0])
    elif kind == "merge":
        painter.merge(labels)
    elif kind == "missing":
        painter.circle(truth == cells[0])
    elif kind == "split":
        done = tries < 2 and painter.split(labels[0], truth == cells[0], truth == cells[1])
        if not done:
            painter.delete(labels[0])
    else:
        _redraw(painter, truth == cells[0], labels[0])


def _redraw(painter: Painter, cell: Mask, number: int) -> None:
    """Touch up a cell with brush and eraser, or delete it and outline it, whichever is quicker."""
    touched = copy.deepcopy(painter)
    if (free := cell & (touched.plane == 0)).any():
        touched.brush(free, cell, number)
    if (spilt := ~cell & (touched.plane == number)).any():
        touched.erase(spilt, ~cell, number)
    anew = copy.deepcopy(painter)
    anew.delete(number)
    anew.circle(cell)
    good = best_iou(cell, touched.plane) >= GOOD
    vars(painter).update(vars(touched if good and touched.seconds < anew.seconds else anew))
