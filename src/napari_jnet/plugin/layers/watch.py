"""The frame table of a viewer: what is painted in each frame, its role, its score."""

from __future__ import annotations

import operator
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.io.stack import frame_label
from napari_jnet.labels import LabelKind
from napari_jnet.plugin.frames import (
    FrameCache,
    FrameCounts,
    FrameInfo,
    FrameTotals,
    checksum,
    count_labels,
)
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.read import (
    current_index,
    first_axis,
    kind_of,
    layer_legend,
    pixels,
    said_empty,
    spatial_ndim,
    stroke_positions,
)
from napari_jnet.plugin.workspace import METADATA_KEY, Workspace, result_of

_QUICK = 8 * 2**20  # bytes of a frame that the window may count itself: a few milliseconds


_LAYER_WATCH_AT_ONCE = 16 * 2**20  # bytes of a layer that are counted as soon as it is watched


_CHUNK = 16  # frames that are counted before the window is told


_UNDONE = 200  # strokes whose frames are compared after an undo; napari keeps 100


class LayerWatch:
    """Counts the frames of one labels layer, and says which of them change.

    Attributes
    ----------
    painted
        Positions that somebody has painted on.
    partial
        Positions where 0 is unknown.
    said_empty
        Positions of which somebody, or the truth, says that nothing is there.
    counted
        Emitted with the positions that were counted in the background.
    edited
        Emitted with the positions whose pixels are new: painted, taken back, replaced.

    Parameters
    ----------
    layer
        The labels layer.
    shown
        Gives the position that the viewer shows.
    background
        Where the counting is done.
    """

    counted = Signal(object)
    edited = Signal(object)

    def __init__(self, layer: Any, shown: Callable[[], int], background: TaskQueue) -> None:
        self.layer = layer
        self.partial: frozenset[int] = frozenset()
        self.said_empty: frozenset[int] = frozenset()
        self._shown, self._background = shown, background
        self._counts: dict[int, FrameCounts] = {}
        self._stale: set[int] = set()  # changed since they were counted
        self._sums: dict[int, int] = {}
        self.painted: set[int] = set()
        self._strokes: deque[set[int]] = deque(maxlen=_UNDONE)  # that undo can reach
        self._looks: Counter[int] = Counter()  # what was read before the last is out of date
        self._doubted: set[int] = set()  # waiting to be compared in the background
        self._last_shown = shown()
        self._shape = tuple(pixels(layer).shape)
        self._open = True
        events = layer.events
        self._slots = (
            (events.paint, self._on_paint),
            (events.set_data, self._on_refresh),
            (events.data, self._on_data),
        )
        for emitter, slot in self._slots:
            emitter.connect(slot)
        self._look_through()

    def close(self) -> None:
        """Watch no longer."""
        self._open = False
        for emitter, slot in self._slots:
            emitter.disconnect(slot)

    def __len__(self) -> int:
        data = pixels(self.layer)
        return 1 if data.ndim < 3 else int(data.shape[0])

    @property
    def in_memory(self) -> bool:
        """Whether the labels are a numpy array, so that reading them takes no time."""
        return isinstance(pixels(self.layer), np.ndarray)

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where they are in memory."""
        return self._reader()(position)

    def counts(self, position: int) -> FrameCounts | None:
        """Return what is painted in a frame; None while it is still to be counted."""
        missing = position in self._stale or position not in self._counts
        if missing and self._quick():
            self._counts[position] = count_labels(self.frame(position))
            self._stale.discard(position)
        return self._counts.get(position)

    @property
    def empty(self) -> frozenset[int]:
        """The positions where nothing is painted, as far as they are counted."""
        fresh = {p: c for p, c in self._counts.items() if p not in self._stale}
        return frozenset(p for p, counts in fresh.items() if not counts.painted)

    def is_hopeful(self, position: int) -> bool:
        """Say whether a frame may be annotated: painted, said to be empty, or changed since counted."""
        if position in self._stale or position in self.said_empty:
            return True
        counts = self._counts.get(position)
        return counts is not None and counts.painted

    # what is told

    def note_stroke(self, event: Any) -> None:
        """Take the stroke that was painted just before the layer was watched."""
        self._on_paint(event)

    def _on_paint(self, event: Any) -> None:
        # Outside of `block_history`, napari tells of a stroke before it is in the data.
        positions = stroke_positions(event.value, len(self))
        if positions:
            self.painted |= positions
            if not self._strokes or self._strokes[-1] != positions:
                self._strokes.append(positions)
            self._forget(positions)
            self._background.submit(_nothing, lambda _: self._after_paint(positions))
            self.edited.emit(tuple(sorted(positions)))

    def _after_paint(self, positions: set[int]) -> None:
        frames = range(len(self))
        positions = {p for p in positions if p in frames}  # other labels may be in the layer now
        if not self._open or not positions:
            return
        self._forget(positions)
        if self._quick():
            self._sums |= {p: checksum(self.frame(p)) for p in positions}
            self.counted.emit(tuple(sorted(positions)))
        else:
            self._count_later(sorted(positions))

    def _forget(self, positions: set[int]) -> None:
        """Let go of what is known of these frames, or is just being read."""
        self._stale |= positions
        self._looks.update(positions)
        for position in positions:
            self._sums.pop(position, None)

    def _on_refresh(self, _event: Any = None) -> None:
        """Compare the shown frame; where the slider did not move, undo may be in any frame."""
        shown = self._shown()
        moved, self._last_shown = shown != self._last_shown, shown
        doubtful = set() if moved else set().union(*self._strokes)
        if self.in_memory:
            doubtful.add(shown)
        if self._quick():
            self._looks[shown] += 1
            self._compare(shown, checksum(self.frame(shown)))
            doubtful.discard(shown)
        self._compare_later(doubtful)

    def _on_data(self, _event: Any = None) -> None:
        shape = tuple(pixels(self.layer).shape)
        if shape != self._shape:  # other frames: nothing that is known is of them
            self._shape = shape
            self._looks.update(set(self._looks) | set(self._counts))
            self._counts, self._sums = {}, {}
            self.painted, self._doubted = set(), set()
            self._strokes.clear()
            told = self.layer.metadata.get(METADATA_KEY, {})
            self.layer.metadata[METADATA_KEY] = {k: v for k, v in told.items() if k != "empty"}
        self._stale = set(range(len(self)))
        self._looks.update(self._stale)
        self._last_shown = self._shown()
        self._look_through()

    # comparing

    def _compare(self, position: int, found: int) -> None:
        before = self._sums.get(position)
        self._sums[position] = found
        if before is not None and before != found:
            self._stale.add(position)
            if not self._quick():
                self._count_later([position])
            self.edited.emit((position,))

    def _compare_later(self, positions: set[int]) -> None:
        read, new = self._reader(), sorted(positions - self._doubted)
        if not new:
            return
        self._doubted.update(new)
        looks = {p: self._looks[p] for p in new}

        def sums() -> dict[int, int]:
            # a change from here on is a doubt of its own
            self._doubted.difference_update(new)
            return {p: checksum(read(p)) for p in new}

        def told(found: dict[int, int]) -> None:
            for position, total in found.items():
                if self._open and self._looks[position] == looks[position]:
                    self._compare(position, total)

        self._background.submit(sums, told)

    # counting

    def _look_through(self) -> None:
        """Count all frames and their checksums, at once where that takes no time."""
        data, frames = pixels(self.layer), range(len(self))
        if isinstance(data, np.ndarray) and data.nbytes <= _LAYER_WATCH_AT_ONCE:
            self._take([(p, self._looks[p], *_look_at(self.frame(p))) for p in frames])
        else:
            for start in frames[::_CHUNK]:
                self._count_later(frames[start : start + _CHUNK])
        self.find_said()

    def _count_later(self, positions: Iterable[int]) -> None:
        read = self._reader()
        wanted = {position: self._looks[position] for position in positions}

        def look() -> list[tuple[int, int, FrameCounts, int]]:
            return [(p, n, *_look_at(read(p))) for p, n in wanted.items() if self._open]

        self._background.submit(look, self._take)

    def _take(self, found: list[tuple[int, int, FrameCounts, int]]) -> None:
        """Keep what was counted, except of frames that were changed meanwhile; tell."""
        if not self._open:
            return
        fresh = [one for one in found if self._looks[one[0]] == one[1]]
        for position, _, counts, _ in fresh:
            self._counts[position] = counts
            self._stale.discard(position)
        before = {p: self._sums.get(p) for p, *_ in fresh}
        self._sums |= {position: total for position, _, _, total in fresh}
        edited = tuple(p for p, _, _, total in fresh if before[p] not in (None, total))
        if edited:
            self.edited.emit(edited)
        if fresh:
            self.counted.emit(tuple(position for position, *_ in fresh))

    def find_said(self) -> None:
        """Find out in which frames 0 is unknown, and which are said to be empty; that may read files."""
        told = self.layer.metadata.get(METADATA_KEY, {})
        said = [told.get(what, ()) for what in ("partial", "empty")]
        numbers = told.get("frame_numbers") or range(len(self))

        def look() -> list[frozenset[int]]:
            return [frozenset(p for p, n in enumerate(numbers) if n in some) for some in said]

        def take(found: list[frozenset[int]]) -> None:
            new = frozenset().union(*found, self.said_empty)
            self.partial, self.said_empty = found
            if new and self._open:
                self.counted.emit(tuple(sorted(new)))

        if all(isinstance(some, (tuple, list, set, frozenset)) for some in said):
            take(look())
        else:
            self._background.submit(look, take)

    # small things

    def _reader(self) -> Callable[[int], NDArray[Any]]:
        data = pixels(self.layer)
        return lambda position: np.asarray(data[position] if data.ndim > 2 else data)

    def _quick(self) -> bool:
        return self.in_memory and pixels(self.layer).nbytes <= _QUICK * len(self)


def _nothing() -> None:
    """Come back to the window's thread, when it has done what it was doing."""


def _look_at(labels: NDArray[Any]) -> tuple[FrameCounts, int]:
    return count_labels(labels), checksum(labels)


_AT_ONCE = 16 * 2**20  # bytes of a layer that are searched without a thread


_DEFAULT = 1  # napari's number of a labels layer that nobody has chosen one for


class ReadyBrush:
    """Readies the brush of each labels layer of cells when it is first chosen or activated.

    A number that the user has chosen stays, as does the protection once it was set.

    Parameters
    ----------
    workspace
        Of the viewer.
    background
        Where large layers are searched for their highest number.
    """

    def __init__(self, workspace: Workspace, background: TaskQueue) -> None:
        self._workspace, self._background = workspace, background
        self._given: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        workspace.annotation_changed.connect(self._ready)
        if workspace.viewer is not None:
            workspace.viewer.layers.selection.events.active.connect(self._activated)
            self._activated()
        self._ready(workspace.annotation)

    def _activated(self, _event: Any = None) -> None:
        self._ready(self._workspace.viewer.layers.selection.active)

    def _ready(self, layer: Any) -> None:
        if not hasattr(layer, "brush_size") or not isinstance(pixels(layer), np.ndarray):
            return
        if kind_of(layer) not in (None, LabelKind.INSTANCES) or result_of(layer) not in (
            "",
            "cells",
        ):
            return
        if layer in self._given and not result_of(layer):  # predicted cells may be new ones
            return
        if layer.selected_label != self._given.setdefault(layer, _DEFAULT):
            return
        data = pixels(layer)
        if data.nbytes <= _AT_ONCE:
            self._take(layer, free_number(data))
        else:
            layer.preserve_labels = True
            self._background.submit(lambda: free_number(data), lambda n: self._take(layer, n))

    def _take(self, layer: Any, number: int) -> None:
        if layer.selected_label != self._given.get(layer) or number == _DEFAULT:  # nothing painted
            return
        layer.preserve_labels = True
        if number:
            layer.selected_label = self._given[layer] = number


def free_number(labels: NDArray[Any]) -> int:
    """Return a number that no pixel has: one more than the highest; 0 where the type has none left.

    Parameters
    ----------
    labels
        Of any shape, integers or bool.
    """
    if labels.dtype == bool:
        return 0
    frames = labels if labels.ndim > 2 else labels[np.newaxis]
    number = max((int(frame.max(initial=0)) for frame in frames), default=0) + 1
    most = int(np.iinfo(labels.dtype).max)
    if number <= most:
        return number
    if most > np.iinfo(np.uint16).max:
        return 0
    there = np.zeros(most + 1, bool)
    for frame in frames:
        there[frame[frame >= 0]] = True
    free = np.flatnonzero(~there[1:])
    return int(free[0]) + 1 if free.size else 0


ROLES = ("training", "validation", "unused")


class FrameTable:
    """The facts of every frame of the annotation; one table a viewer.

    Attributes
    ----------
    changed
        Emitted with the positions whose facts are new.
    edited
        Emitted with the positions whose pixels are new: painted, taken back, replaced.
    painted
        Emitted with a layer and such positions, of the annotation and of every other labels layer
        that somebody has painted on.
    roles_changed
        Emitted with the positions whose roles are new.
    kind_changed
        Emitted with the kind of labels, or when its legend is new.

    Parameters
    ----------
    workspace
        Of the viewer; says which layers the image and the annotation are.
    """

    changed = Signal(object)
    edited = Signal(object)
    painted = Signal(object, object)
    roles_changed = Signal(object)
    kind_changed = Signal(object)

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._background = TaskQueue("napari-jnet counting")
        self._watch: LayerWatch | None = None
        self._others: list[LayerWatch] = []  # of layers that were painted on
        self._table = FrameCache(self._look_at)
        self._known: tuple[Any, ...] = ()  # what the facts in the table are of
        self._numbers: tuple[Any, tuple[int, ...]] = (None, ())  # as told by a layer, and read
        self._roles: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()
        self._scores: WeakKeyDictionary[Any, dict[int, tuple[float, str]]] = WeakKeyDictionary()
        self._doubts: WeakKeyDictionary[Any, dict[int, float]] = WeakKeyDictionary()
        self._roles_alone: dict[int, str] = {}
        workspace.annotation_changed.connect(self._follow)
        workspace.image_changed.connect(self._tell_all)
        if workspace.viewer is not None:
            events = workspace.viewer.layers.events
            events.inserted.connect(self._hear_strokes)
            events.removed.connect(self._leave_idle)
            self._hear_strokes()
        self._follow(workspace.annotation)
        self._brush = ReadyBrush(workspace, self._background)

    # which layer

    @property
    def layer(self) -> Any | None:
        """The annotation layer, or None."""
        return None if self._watch is None else self._watch.layer

    @property
    def kind(self) -> LabelKind:
        """What the numbers of the annotation mean; cells, where nobody said."""
        return (None if self.layer is None else kind_of(self.layer)) or LabelKind.INSTANCES

    def set_kind(self, kind: LabelKind | str) -> None:
        """Say what the numbers of the annotation mean; nothing painted is changed.

        Raises
        ------
        ValueError
            If there is no annotation layer, or no such kind.
        """
        kind = LabelKind(kind)
        layer = self._need_watch().layer
        if kind is kind_of(layer):
            return
        told = layer.metadata.get(METADATA_KEY, {})
        layer.metadata[METADATA_KEY] = {**told, "kind": kind.value}
        self.kind_changed.emit(kind)
        self._tell_all()

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each class from 0, where the layer has names."""
        return () if self.layer is None else layer_legend(self.layer)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The frame numbers, by position."""
        count = len(self)
        for layer in (self._workspace.image, self.layer):
            told = () if layer is None else layer.metadata.get(METADATA_KEY, {})
            numbers = told.get("frame_numbers") if told else None
            if numbers and len(numbers) == count:
                break
        else:
            numbers = range(count)
        if self._numbers[0] is not numbers and self._numbers[0] != numbers:
            self._numbers = numbers, tuple(int(n) for n in numbers)
        return self._numbers[1]

    def frame_name(self, number: int) -> str:
        """Return the short name of a frame: "t002", or "z002" of a volume's sections."""
        layers = [layer for layer in (self._workspace.image, self.layer) if layer is not None]
        known = [layer.metadata[METADATA_KEY] for layer in layers if METADATA_KEY in layer.metadata]
        told = known[0] if known else {}
        first = next((a for a in map(first_axis, layers) if a), "")
        return frame_label(first, number, int(told.get("digits") or 3))

    def __len__(self) -> int:
        layer = self._workspace.image if self.layer is None else self.layer
        if layer is None:
            return 0
        return 1 if spatial_ndim(layer) < 3 else int(pixels(layer).shape[0])

    def __bool__(self) -> bool:
        return True

    # facts

    def info(self, position: int) -> FrameInfo:
        """Return what is known of a frame.

        Raises
        ------
        ValueError
            If there is no such frame.
        """
        self._check_position(position)
        self._renew()
        return self._table.info(position)

    def _look_at(self, position: int) -> FrameInfo:
        number = self.numbers[position]
        image, kind = self._workspace.image, self.kind
        score, name = self._kept(self._scores, image).get(number, (None, ""))
        counts = None if self._watch is None else self._watch.counts(position)
        cells = kind is LabelKind.INSTANCES
        partial = cells and self.is_partial(position)
        known = () if counts is None else counts.pixels(kind, partial=partial)
        size = 0 if counts is None else counts.size
        empty = counts is not None and not counts.painted and self.is_empty(position)
        return FrameInfo(
            position=position,
            number=number,
            annotated=empty or (counts is not None and counts.painted and sum(known) > 0),
            objects=0 if counts is None else counts.objects(kind),
            in_pieces=tuple(counts.in_pieces.items()) if cells and counts is not None else (),
            pixels=known,
            unknown=size - sum(known),
            size=size,
            role=self._own_roles().get(number, ""),
            empty=empty,
            score=score,
            score_name=name,
            uncertainty=self._kept(self._doubts, image).get(number),
            counted=self._watch is None or counts is not None,
        )

    @property
    def annotated(self) -> tuple[int, ...]:
        """The positions that can be learned from, ascending, as far as they are counted."""
        if self._watch is None:
            return ()
        self._renew()
        return self._table.annotated(self._watch.is_hopeful)

    @property
    def annotated_info(self) -> tuple[FrameInfo, ...]:
        """The facts of the `annotated` frames, ascending."""
        return tuple(self._table.info(position) for position in self.annotated)

    @property
    def totals(self) -> FrameTotals:
        """What all annotated frames hold together."""
        if self._watch is None:
            return FrameTotals()
        self._renew()
        return self._table.totals(self._watch.is_hopeful)

    def _renew(self) -> None:
        """Forget the facts where they are of another layer, image, kind or numbering."""
        numbers = self.numbers
        known = (self._watch, self._workspace.image, numbers, self.kind)
        if not self._known or any(map(operator.is_not, known, self._known)):
            self._known = known
            self._table.clear(range(len(numbers)))

    def filled(self, layer: Any) -> tuple[int, ...]:
        """Return where a watched layer is painted or said to be empty, or may be: what is not counted too."""
        for watch in (self._watch, *self._others):
            if watch is not None and watch.layer is layer:
                empty = watch.empty - watch.said_empty
                return tuple(p for p in range(len(watch)) if p not in empty)
        return ()

    @property
    def counting(self) -> bool:
        """Whether frames are still being counted."""
        return self._background.busy

    def wait(self) -> None:
        """Wait until all frames are counted; for scripts."""
        self._background.wait()

    # roles and scores

    @property
    def roles(self) -> dict[int, str]:
        """Frame number -> role, of the frames of the annotation that have one; a copy."""
        return self.roles_of(self.layer)

    def roles_of(self, layer: Any | None) -> dict[int, str]:
        """Return the `roles` that were given in this labels layer."""
        own = self._roles_alone if layer is None else self._roles.get(layer, {})
        return {number: role for number, role in own.items() if role}

    def role(self, position: int) -> str:
        """Return "training", "validation", "unused" or "" (the split decides)."""
        self._check_position(position)
        return self._own_roles().get(self.numbers[position], "")

    def set_role(self, position: int, role: str) -> None:
        """Say what a frame is used for; raises `ValueError` for other roles than `ROLES` and ""."""
        self.set_roles({position: role})

    def set_roles(self, roles: Mapping[int, str]) -> None:
        """Say what frames are used for, by position; see `set_role`."""
        for position, role in roles.items():
            self._check_position(position)
            if role not in (*ROLES, ""):
                raise ValueError(f"{role!r} is no role; roles are {', '.join(ROLES)}.")
        numbers, mine = self.numbers, self._own_roles()
        new = {p: r for p, r in roles.items() if mine.get(numbers[p], "") != r}
        for position, role in new.items():
            mine[numbers[position]] = role
        if new:
            self._table.forget(new)
            self.roles_changed.emit(tuple(sorted(new)))
            self._tell(tuple(sorted(new)))

    def add_roles(self, layer: Any, roles: Mapping[int, str]) -> None:
        """Give roles, by frame number, to those frames of a labels layer that have none."""
        mine = self._roles.setdefault(layer, {})
        new = dict({**roles, **self.roles_of(layer)}.items() - mine.items())
        mine.update(new)
        if new and layer is self.layer:
            positions = tuple(p for p, number in enumerate(self.numbers) if number in new)
            self._table.forget(positions)
            self.roles_changed.emit(positions)
            self._tell(positions)

    def set_scores(self, scores: Mapping[int, float], name: str = "SEG") -> None:
        """Keep the last score of frames, by position; it belongs to the image."""
        self._keep(self._scores, {p: (float(s), name) for p, s in scores.items()})

    def set_uncertainty(self, uncertainty: Mapping[int, float]) -> None:
        """Keep how unsure the last prediction was, by position; it belongs to the image."""
        self._keep(self._doubts, {p: float(u) for p, u in uncertainty.items()})

    # what is learned from

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where the layer is in memory."""
        self._check_position(position)
        return self._need_watch().frame(position)

    def is_partial(self, position: int) -> bool:
        """Whether only some cells of this frame are annotated, so that its 0 is unknown."""
        return self._watch is not None and position in self._watch.partial

    def is_empty(self, position: int) -> bool:
        """Whether somebody says that nothing is in this frame; it counts while nothing is painted."""
        watch = self._watch
        if watch is None or self.kind is LabelKind.SCRIBBLES or self.is_partial(position):
            return False
        return position in watch.said_empty

    def say_empty(self, position: int, empty: bool = True) -> None:
        """Say that nothing is in a frame, so that all of it is background; or take that back.

        Raises
        ------
        ValueError
            If there is no annotation, it is still being read, or 0 is unknown in this frame: in
            scribbles, or in truth of which only some cells are annotated.
        """
        self._check_position(position)
        watch, number = self._need_watch(), self.numbers[position]
        if empty and self.kind is LabelKind.SCRIBBLES:
            raise ValueError("In scribbles 0 is unknown; paint background with label 1.")
        if empty and self.is_partial(position):
            raise ValueError(
                f"Only some cells of {self.frame_name(number)} are annotated, so what is not painted is "
                "unknown in it; paint background with the brush, or use a new annotation."
            )
        if (position in watch.said_empty) == empty:
            return
        if self.counting and not isinstance(said_empty(watch.layer), (tuple, frozenset)):
            raise ValueError("These labels are still being read; press again in a moment.")
        numbers = frozenset(self.numbers[p] for p in watch.said_empty)
        told = watch.layer.metadata.get(METADATA_KEY, {})
        said = numbers | {number} if empty else numbers - {number}
        watch.layer.metadata[METADATA_KEY] = {**told, "empty": said}
        watch.find_said()
        watch.painted.add(position)
        watch.edited.emit((position,))

    # following the layers

    def _follow(self, layer: Any | None) -> None:
        before, self._watch = self._watch, None
        if layer is not None:
            self._watch = self._watch_of(layer)
        if before is not None:
            self._others.append(before)
            self._leave_idle()
        self._tell_all()

    def _watch_of(self, layer: Any) -> LayerWatch:
        """Return the watch of a layer that is the annotation from now on, or was painted on."""
        for watch in self._others:
            if watch.layer is layer:
                self._others.remove(watch)
                return watch
        watch = LayerWatch(layer, lambda: self._shown(layer), self._background)
        watch.edited.connect(lambda positions: self._tell_edited(watch, positions))
        watch.counted.connect(lambda positions: self._tell_counted(watch, positions))
        return watch

    def _hear_strokes(self, _event: Any = None) -> None:
        """Listen to all labels layers: a stroke is saved, whichever it falls on."""
        for layer in self._workspace.viewer.layers:
            if hasattr(layer, "brush_size"):
                layer.events.paint.disconnect(self._stroke)
                layer.events.paint.connect(self._stroke)

    def _stroke(self, event: Any) -> None:
        layer = event.source
        watched = [self._watch, *self._others]
        if any(watch is not None and watch.layer is layer for watch in watched):
            return
        watch = self._watch_of(layer)
        self._others.append(watch)
        watch.note_stroke(event)

    def _leave_idle(self, _event: Any = None) -> None:
        """Watch only the annotation and layers that were painted on and are still there."""
        viewer = self._workspace.viewer
        there = set() if viewer is None else {id(layer) for layer in viewer.layers}
        for watch in list(self._others):
            if not watch.painted or id(watch.layer) not in there:
                self._others.remove(watch)
                watch.close()

    def _shown(self, layer: Any) -> int:
        viewer = self._workspace.viewer
        index = () if viewer is None else current_index(viewer, layer)
        return index[0] if index else 0

    def _tell_counted(self, watch: LayerWatch, positions: tuple[int, ...]) -> None:
        if watch is self._watch:
            self._tell(positions)

    def _tell_edited(self, watch: LayerWatch, positions: tuple[int, ...]) -> None:
        if watch is self._watch:
            self._table.forget(positions)
            self.edited.emit(positions)
        elif result_of(watch.layer):  # a prediction writes its frames, and is not painted
            positions = tuple(p for p in positions if p in watch.painted)
        if positions:
            self.painted.emit(watch.layer, positions)
        if watch is self._watch:
            self._tell(positions)

    def _tell_all(self, _image: Any = None) -> None:
        self._known = ()
        self.changed.emit(tuple(range(len(self))))

    def _tell(self, positions: tuple[int, ...]) -> None:
        self._table.forget(positions)
        self.changed.emit(positions)

    # small things

    def _need_watch(self) -> LayerWatch:
        if self._watch is None:
            raise ValueError("There is no annotation; press New annotation, or add a labels layer.")
        return self._watch

    def _check_position(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise ValueError(
                f"There is no frame at position {position}; the stack has {len(self)} frames, "
                "the first at position 0."
            )

    def _own_roles(self) -> dict[int, str]:
        if self.layer is None:
            return self._roles_alone
        return self._roles.setdefault(self.layer, {})

    @staticmethod
    def _kept(store: WeakKeyDictionary[Any, dict[int, Any]], image: Any) -> dict[int, Any]:
        return {} if image is None else store.get(image, {})

    def _keep(self, store: WeakKeyDictionary[Any, dict[int, Any]], values: dict[int, Any]) -> None:
        image, numbers = self._workspace.image, self.numbers
        for position in values:
            self._check_position(position)
        if image is not None and values:
            kept = store.setdefault(image, {})
            kept |= {numbers[position]: value for position, value in values.items()}
            self._tell(tuple(sorted(values)))
