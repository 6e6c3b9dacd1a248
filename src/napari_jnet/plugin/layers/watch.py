"""The frame table of a viewer: what is painted in each frame of the annotation, its role and its score."""

from __future__ import annotations

import operator
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import napari
import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.io.stack import frame_label
from napari_jnet.labels import LabelKind, number_apart
from napari_jnet.plugin.frames import FrameCounts, FrameInfo, FrameTotals, checksum, count_labels
from napari_jnet.plugin.jobs.runner import TaskQueue
from napari_jnet.plugin.layers.add import color_labels
from napari_jnet.plugin.layers.edit import read_plane, replace_plane
from napari_jnet.plugin.layers.read import (
    first_axis,
    frame_count,
    kind_of,
    layer_classes,
    marked_empty,
    metadata,
    pixels,
    plane,
    remember,
    result_of,
    shown_position,
    stroke_positions,
)
from napari_jnet.project.manifest import check_role

_FRAME_AT_ONCE = 8 * 2**20  # bytes of a frame that the window may count itself: a few milliseconds
_LAYER_AT_ONCE = 16 * 2**20  # bytes of a layer that are counted as soon as it is watched
_CHUNK = 16  # frames that are counted before listeners hear of them

# position, revision, counts (None where nothing changed) and checksum of a frame that was read
_Look = tuple[int, int, FrameCounts | None, int]


class LayerWatch:
    """Counts the frames of one labels layer, and emits which of them change."""

    counted = Signal(object)  # positions that were counted in the background
    edited = Signal(object)  # positions whose pixels are new: painted, undone, replaced

    def __init__(self, layer: Any, shown: Callable[[], int], queue: TaskQueue) -> None:
        self.layer = layer
        self.painted: set[int] = set()  # positions that somebody has painted on
        self.partial: frozenset[int] = frozenset()  # positions where 0 is unknown
        self.marked_empty: frozenset[int] = frozenset()  # as without objects
        self._shown, self._queue = shown, queue
        self._counts: dict[int, FrameCounts] = {}
        self._stale: set[int] = set()  # changed since they were counted
        self._checksums: dict[int, int] = {}
        self._revision: Counter[int] = Counter()  # what was read of an earlier one is out of date
        self._waiting: set[int] = set()  # to be read in the background
        self._history = _history(layer)
        self._shape = tuple(pixels(layer).shape)
        self._open = True
        layer.events.paint.connect(self.add_stroke)
        layer.events.set_data.connect(self._on_refresh)
        layer.events.data.connect(self._on_data)
        self._count_all()

    def close(self) -> None:
        """Watch no longer."""
        self._open = False
        self.layer.events.paint.disconnect(self.add_stroke)
        self.layer.events.set_data.disconnect(self._on_refresh)
        self.layer.events.data.disconnect(self._on_data)

    def __len__(self) -> int:
        return frame_count(self.layer)

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where they are in memory."""
        return _frame(pixels(self.layer), position)

    def counts(self, position: int) -> FrameCounts | None:
        """Return what is painted in a frame; None while it is still to be counted."""
        missing = position in self._stale or position not in self._counts
        if missing and self._is_quick():
            self._counts[position] = count_labels(self.frame(position))
            self._stale.discard(position)
        return self._counts.get(position)

    @property
    def filled(self) -> tuple[int, ...]:
        """The positions that are or may be painted or marked as without objects."""
        frames = range(len(self))
        return tuple(p for p in frames if p not in self._counts or self.may_be_annotated(p))

    def may_be_annotated(self, position: int) -> bool:
        """Whether a frame is painted, marked as without objects, or changed since it was counted."""
        if position in self._stale or position in self.marked_empty:
            return True
        counts = self._counts.get(position)
        return counts is not None and counts.painted

    def find_marked(self) -> None:
        """Find in which frames 0 is unknown, and which are marked as empty; that may read files."""
        known = metadata(self.layer)
        marked = [known.get(what, ()) for what in ("partial", "empty")]
        numbers = known.get("frame_numbers") or range(len(self))

        def look() -> list[frozenset[int]]:
            return [frozenset(p for p, n in enumerate(numbers) if n in some) for some in marked]

        def take(found: list[frozenset[int]]) -> None:
            new = frozenset().union(*found, self.marked_empty)
            self.partial, self.marked_empty = found
            if new and self._open:
                self.counted.emit(tuple(sorted(new)))

        if all(isinstance(some, (tuple, list, set, frozenset)) for some in marked):
            take(look())
        else:
            self._queue.submit(look, take)

    # napari's events

    def add_stroke(self, event: Any) -> None:
        """Take a stroke, by napari's event."""
        # outside of `block_history`, napari emits a stroke before it is in the data
        positions = self._positions(event.value)
        self._history[id(event.value)] = event.value
        if positions:
            self.painted |= positions
            self._forget(positions)
            self._queue.submit(lambda: None, lambda _: self._after_stroke(positions))
            self.edited.emit(tuple(sorted(positions)))

    def _after_stroke(self, positions: set[int]) -> None:
        positions = positions & set(range(len(self)))  # other labels may be in the layer now
        if not self._open or not positions:
            return
        self._forget(positions)
        (self._read_now if self._is_quick() else self._read_later)(sorted(positions))

    def _positions(self, stroke: Any) -> set[int]:
        """Return the frames of a stroke; one of other labels before may reach further."""
        return {p for p in stroke_positions(stroke, len(self)) if p < len(self)}

    def _forget(self, positions: set[int]) -> None:
        """Forget what is known of these frames, or is just being read."""
        self._stale |= positions
        self._revision.update(positions)
        for position in positions:
            self._checksums.pop(position, None)

    def _on_refresh(self, _event: Any = None) -> None:
        """Compare the shown frame, and those of strokes that were undone or redone."""
        shown, before, self._history = self._shown(), self._history, _history(self.layer)
        moved = [before.get(key, self._history.get(key)) for key in before.keys() ^ self._history]
        doubtful = {p for stroke in moved for p in self._positions(stroke)}
        if self._is_quick():
            doubtful.discard(shown)
            self._revision[shown] += 1
            self._read_now([shown])
        elif self._in_memory():
            doubtful.add(shown)
        self._read_later(doubtful)

    def _on_data(self, _event: Any = None) -> None:
        shape = tuple(pixels(self.layer).shape)
        if shape != self._shape:  # other frames: nothing that is known is of them
            self._shape = shape
            self._revision.update(set(self._revision) | set(self._counts))
            self._counts, self._checksums, self.painted = {}, {}, set()
            remember(self.layer, empty=None)
        self._waiting = set()  # what waits to be read is in an array of before
        self._stale = set(range(len(self)))
        self._revision.update(self._stale)
        self._history = _history(self.layer)
        self._count_all()

    # reading

    def _count_all(self) -> None:
        """Count all frames and their checksums, at once where that takes no time."""
        frames = range(len(self))
        if self._in_memory() and pixels(self.layer).nbytes <= _LAYER_AT_ONCE:
            self._read_now(frames)
        else:
            for start in frames[::_CHUNK]:
                self._read_later(frames[start : start + _CHUNK])
        self.find_marked()

    def _read_now(self, positions: Iterable[int]) -> None:
        self._take([self._look(p, self._revision[p], self.frame(p)) for p in positions])

    def _read_later(self, positions: Iterable[int]) -> None:
        """Read frames in the background: count those that changed."""
        data, waiting = pixels(self.layer), self._waiting
        new = sorted(set(positions) - waiting)
        if not new:
            return
        waiting.update(new)

        def look() -> list[_Look]:
            waiting.difference_update(new)  # a change from here on is read again
            found = []
            for position in new:
                revision = self._revision[position]
                if not self._open or waiting is not self._waiting:
                    break
                found.append(self._look(position, revision, _frame(data, position)))
            return found

        self._queue.submit(look, self._take)

    def _look(self, position: int, revision: int, labels: NDArray[Any]) -> _Look:
        total = checksum(labels)
        known = position in self._counts and position not in self._stale
        same = known and self._checksums.get(position) == total
        return position, revision, None if same else count_labels(labels), total

    def _take(self, found: list[_Look]) -> None:
        """Keep what was read, except of frames that were changed meanwhile."""
        counted, edited = [], []
        for position, revision, counts, total in found:
            if not self._open or self._revision[position] != revision:
                continue
            if counts is not None:
                self._counts[position] = counts
                self._stale.discard(position)
            before, self._checksums[position] = self._checksums.get(position), total
            if before not in (None, total):
                edited.append(position)
            elif counts is not None:
                counted.append(position)
        if edited:
            self.edited.emit(tuple(edited))
        if counted:
            self.counted.emit(tuple(counted))

    def _in_memory(self) -> bool:
        return isinstance(pixels(self.layer), np.ndarray)

    def _is_quick(self) -> bool:
        return self._in_memory() and pixels(self.layer).nbytes <= _FRAME_AT_ONCE * len(self)


def _history(layer: Any) -> dict[int, Any]:
    """Return the strokes that can be undone or redone, by identity: one that is undone is another object."""
    return {id(stroke): stroke for stroke in (*layer._undo_history, *layer._redo_history)}


def _frame(data: Any, position: int) -> NDArray[Any]:
    return np.asarray(data[position] if data.ndim > 2 else data)


_DEFAULT = 1  # napari's number of a labels layer that nobody has chosen one for


class ReadyBrush:
    """Readies the brush of each labels layer when it is first chosen or activated.

    A number that the user has chosen stays, as does the protection of cells once it was set.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._given: WeakKeyDictionary[Any, int] = WeakKeyDictionary()

    def ready(self, layer: Any) -> None:
        """Choose a number that no cell of the layer has, unless the user has chosen one."""
        if not isinstance(layer, Labels) or not isinstance(pixels(layer), np.ndarray):
            return
        result, kind, data = result_of(layer), kind_of(layer), pixels(layer)
        if result not in ("", "cells") or (layer in self._given and not result):
            return  # but predicted cells may be new ones
        if layer.selected_label != self._given.setdefault(layer, _DEFAULT):
            return
        if kind is not None:
            layer.brush_size = int(np.clip(round(min(data.shape[-2:]) / 50), 3, 40))
            layer.preserve_labels = kind is LabelKind.INSTANCES
        if kind is LabelKind.SCRIBBLES:
            layer.selected_label = 2  # 1 is background
        if kind not in (None, LabelKind.INSTANCES):
            return
        if data.nbytes <= _LAYER_AT_ONCE:
            self._choose(layer, free_number(data))
        else:
            layer.preserve_labels = True
            self._queue.submit(lambda: free_number(data), lambda n: self._choose(layer, n))

    def _choose(self, layer: Any, number: int) -> None:
        if layer.selected_label != self._given.get(layer) or number == _DEFAULT:  # nothing painted
            return
        layer.preserve_labels = True
        if number:
            layer.selected_label = self._given[layer] = number


def free_number(labels: NDArray[Any]) -> int:
    """Return a number that no pixel has: one more than the highest, else one in a gap, else 0."""
    highest, limit = max(int(labels.max(initial=0)), 0), int(np.iinfo(labels.dtype).max)
    if highest < limit:
        return highest + 1
    gaps = np.setdiff1d(np.arange(1, min(limit, 2**16)), labels)
    return int(gaps[0]) if gaps.size else 0


_ROW = np.dtype(
    [("annotated", bool), ("objects", int), ("whole", bool), ("sparse", bool), ("score", float)]
)


class FrameTable:
    """What is known of every frame of the annotation; one table a viewer."""

    changed = Signal(object)  # positions of which something is new
    edited = Signal(object)  # positions whose pixels are new: painted, undone, replaced
    painted = Signal(object, object)  # a layer, also others than the annotation, and such positions
    roles_changed = Signal(object)  # positions whose roles are new
    kind_changed = Signal(object)  # the kind of labels; also where its classes are new

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._queue = TaskQueue("napari-jnet counting")
        self._brush = ReadyBrush(self._queue)
        self._image: Any = None
        self._watch: LayerWatch | None = None
        self._others: list[LayerWatch] = []  # of layers that were painted on
        self._read_as: tuple[Any, ...] = ()  # layer, image, numbers and kind of what is read
        self._info: dict[int, FrameInfo] = {}  # of frames that are read
        # the same as columns: sums over thousands of frames take no time
        self._rows = np.zeros(0, _ROW)
        self._pixels = np.zeros((0, 0), np.int64)  # of each frame and class
        self._stale: set[int] = set()  # frames that are not
        # as a layer stores them, and as int
        self._numbers: tuple[Any, tuple[int, ...]] = (None, ())
        self._roles: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()
        self._scores: WeakKeyDictionary[Any, dict[int, tuple[float, str]]] = WeakKeyDictionary()
        self._uncertainty: WeakKeyDictionary[Any, dict[int, float]] = WeakKeyDictionary()
        viewer.layers.events.inserted.connect(lambda event: self._listen(event.value))
        viewer.layers.events.removed.connect(self._drop_idle)
        active = viewer.layers.selection.events.active
        active.connect(lambda event: self._brush.ready(event.value))
        for layer in viewer.layers:
            self._listen(layer)
        self._brush.ready(viewer.layers.selection.active)

    # which layers

    def follow_image(self, image: Any) -> None:
        """Take the image that the frames are of."""
        self._image = image
        self._reset()

    def follow_annotation(self, layer: Any) -> None:
        """Take the labels layer that is annotated."""
        before, self._watch = self._watch, None
        if layer is not None:
            self._watch = self._watch_of(layer)
        if before is not None:
            self._others.append(before)
            self._drop_idle()
        self._reset()
        self._brush.ready(layer)

    @property
    def layer(self) -> Any:
        """The annotation layer, or None."""
        return None if self._watch is None else self._watch.layer

    @property
    def kind(self) -> LabelKind:
        """What the numbers of the annotation mean; cells, where it is not set."""
        return (None if self.layer is None else kind_of(self.layer)) or LabelKind.INSTANCES

    def set_kind(self, kind: LabelKind | str) -> None:
        """Set what the numbers of the annotation mean; nothing painted is changed.  Raises `ValueError`."""
        kind, before = LabelKind(kind), self.kind
        layer = self._need_watch().layer
        if kind is not kind_of(layer):
            remember(layer, kind=kind.value)
            if kind is not before:
                color_labels(layer, kind)
            self.kind_changed.emit(kind)
            self._reset()

    @property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each class from 0, where the layer has names."""
        return () if self.layer is None else layer_classes(self.layer)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The frame numbers, by position."""
        count = len(self)
        known = (metadata(layer).get("frame_numbers") for layer in self._layers())
        numbers = next((n for n in known if n and len(n) == count), range(count))
        if self._numbers[0] is not numbers and self._numbers[0] != numbers:
            self._numbers = numbers, tuple(int(n) for n in numbers)
        return self._numbers[1]

    def frame_name(self, number: int) -> str:
        """Return the short name of a frame: "t002", or "z002" of a volume's sections."""
        known = next((metadata(layer) for layer in self._layers() if metadata(layer)), {})
        first = next((a for a in map(first_axis, self._layers()) if a), "")
        return frame_label(first, number, int(known.get("digits") or 3))

    def _layers(self) -> list[Any]:
        return [layer for layer in (self._image, self.layer) if layer is not None]

    def __len__(self) -> int:
        layers = self._layers()
        return frame_count(layers[-1]) if layers else 0

    def __bool__(self) -> bool:
        return True

    # what is known of frames

    def info(self, position: int) -> FrameInfo:
        """Return what is known of a frame; raises `ValueError` if there is no such frame."""
        self._check_position(position)
        self._renew()
        return self._read(position)

    @property
    def annotated(self) -> tuple[int, ...]:
        """The positions that can be learned from, ascending, as far as they are counted."""
        self._renew()
        stale, self._stale = self._stale, set()
        for position in stale:
            if self._watch is not None and self._watch.may_be_annotated(position):
                self._read(position)
        return tuple(np.flatnonzero(self._rows["annotated"]).tolist())

    @property
    def annotated_info(self) -> tuple[FrameInfo, ...]:
        """What is known of the `annotated` frames, ascending."""
        return tuple(self._read(position) for position in self.annotated)

    @property
    def totals(self) -> FrameTotals:
        """What all annotated frames hold together."""
        positions = list(self.annotated)
        rows, pixels_ = self._rows[positions], self._pixels[positions].sum(axis=0)
        scored = np.flatnonzero(~np.isnan(rows["score"]))
        last = max(np.flatnonzero(pixels_), default=-1)
        return FrameTotals(
            frames=len(rows),
            objects=int(rows["objects"].sum()),
            pixels=tuple(pixels_[: last + 1].tolist()),
            whole=int(rows["whole"].sum()),
            sparse=int(rows["sparse"].sum()),
            score=float(rows["score"][scored].mean()) if scored.size else None,
            score_name=self.score_name,
        )

    def _renew(self) -> None:
        """Forget all frames where they are of another layer, image, kind or numbering."""
        now = (self._watch, self._image, self.numbers, self.kind)
        if not self._read_as or any(map(operator.is_not, now, self._read_as)):
            self._read_as = now
            count = len(self.numbers)
            self._rows, self._pixels = np.zeros(count, _ROW), np.zeros((count, 0), np.int64)
            self._info, self._stale = {}, set(range(count))

    def _read(self, position: int) -> FrameInfo:
        info = self._info.get(position)
        if info is None:
            self._stale.discard(position)
            info = self._info[position] = self._look_at(position)
            sparse = info.sparse and info.role != "unused"
            score = np.nan if info.score is None else info.score
            row = (info.annotated, info.objects, info.unknown == 0, sparse, score)
            self._rows[position] = row
            missing = len(info.pixels) - self._pixels.shape[1]
            if missing > 0:
                self._pixels = np.pad(self._pixels, ((0, 0), (0, missing)))
            self._pixels[position] = 0
            self._pixels[position, : len(info.pixels)] = info.pixels
        return info

    def _look_at(self, position: int) -> FrameInfo:
        number, kind, watch = self.numbers[position], self.kind, self._watch
        score, name = self._of_image(self._scores).get(number, (None, ""))
        known = FrameInfo(
            position=position,
            number=number,
            role=self._own_roles().get(number, ""),
            score=score,
            score_name=name,
            uncertainty=self._of_image(self._uncertainty).get(number),
        )
        counts = None if watch is None else watch.counts(position)
        if watch is None or counts is None:
            return replace(known, counted=watch is None)
        cells, partial = kind is LabelKind.INSTANCES, position in watch.partial
        classes = counts.pixels(kind, partial=cells and partial)
        scribbles = kind is LabelKind.SCRIBBLES
        empty = position in watch.marked_empty and not (counts.painted or partial or scribbles)
        return replace(
            known,
            annotated=empty or (counts.painted and sum(classes) > 0),
            objects=sum(label > 0 for label in counts.labels) if cells else 0,
            in_pieces=tuple(counts.in_pieces.items()) if cells else (),
            pixels=classes,
            unknown=counts.size - sum(classes),
            size=counts.size,
            empty=empty,
        )

    def next_number(self, index: Sequence[int]) -> int:
        """Return a number for a new cell: above all of this plane and of the frames that are counted."""
        watch = self._need_watch()
        counted = filter(None, map(watch.counts, range(len(watch))))
        # the labels of a frame are ascending
        highest = max((next(reversed(counts.labels), 0) for counts in counted), default=0)
        return max(int(plane(watch.layer)(index).max(initial=0)), highest, 0) + 1

    def number_apart(self, position: int) -> int:
        """Give each piece of the cells of a frame a number of its own; return how many cells are new."""
        layer = self._need_watch().layer
        index = (position,) if pixels(layer).ndim > 2 else ()
        first = self.next_number(index)
        apart = number_apart(read_plane(layer, index), first)
        replace_plane(layer, index, apart)
        return max(int(apart.max(initial=0)) + 1 - first, 0)

    def filled(self, layer: Any) -> tuple[int, ...]:
        """Return where a watched layer is or may be painted or marked as without objects."""
        watch = self._found(layer)
        return () if watch is None else watch.filled

    @property
    def counting(self) -> bool:
        """Whether frames are still being counted."""
        return self._queue.busy

    def wait(self) -> None:
        """Wait until all frames are counted; for scripts."""
        self._queue.wait()

    # roles and scores

    @property
    def roles(self) -> dict[int, str]:
        """Frame number -> role, of the frames of the annotation that have one; a copy."""
        return self.roles_of(self.layer)

    def roles_of(self, layer: Any | None) -> dict[int, str]:
        """Return the `roles` that were given in this labels layer."""
        own = {} if layer is None else self._roles.get(layer, {})
        return {number: role for number, role in own.items() if role}

    def set_roles(self, roles: Mapping[int, str]) -> None:
        """Set what frames are used for, by position, or "" for nothing; raises as `check_role`."""
        self._need_watch()
        for position, role in roles.items():
            self._check_position(position)
            check_role(role)
        numbers, own = self.numbers, self._own_roles()
        new = {numbers[p]: r for p, r in roles.items() if own.get(numbers[p], "") != r}
        own.update(new)
        self._emit_roles(new)

    def add_roles(self, layer: Any, roles: Mapping[int, str]) -> None:
        """Give roles, by frame number, to those frames of a labels layer that have none."""
        own = self._roles.setdefault(layer, {})
        new = dict({**roles, **self.roles_of(layer)}.items() - own.items())
        own.update(new)
        if layer is self.layer:
            self._emit_roles(new)

    def _emit_roles(self, numbers: Collection[int]) -> None:
        positions = tuple(p for p, number in enumerate(self.numbers) if number in numbers)
        if positions:
            self._forget(positions)
            self.roles_changed.emit(positions)
            self._emit_changed(positions)

    @property
    def score_name(self) -> str:
        """What the last score of the image is, such as SEG; "" where there is none."""
        return next((name for _, name in reversed(self._of_image(self._scores).values())), "")

    @property
    def has_uncertainty(self) -> bool:
        """Whether a prediction has said of a frame of the image how uncertain it was."""
        return bool(self._of_image(self._uncertainty))

    def set_scores(self, scores: Mapping[int, float], name: str = "SEG") -> None:
        """Keep the last score of frames, by position; it belongs to the image."""
        self._keep(self._scores, {p: (float(s), name) for p, s in scores.items()})

    def set_uncertainty(self, uncertainty: Mapping[int, float]) -> None:
        """Keep how uncertain the last prediction was, by position; it belongs to the image."""
        self._keep(self._uncertainty, {p: float(u) for p, u in uncertainty.items()})

    # what is learned from

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where the layer is in memory."""
        self._check_position(position)
        return self._need_watch().frame(position)

    def is_partial(self, position: int) -> bool:
        """Whether only some cells of this frame are annotated, so that its 0 is unknown."""
        return self._watch is not None and position in self._watch.partial

    def mark_empty(self, position: int, empty: bool = True) -> None:
        """Mark a frame as without objects, so that all of it is background; or no longer.

        Raises `ValueError` where 0 is unknown in this frame (in scribbles, or in ground truth of which
        only some cells are annotated), or the annotation is still being read.
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
        if (position in watch.marked_empty) == empty:
            return
        if self.counting and not isinstance(marked_empty(watch.layer), (tuple, frozenset)):
            raise ValueError("These labels are still being read; press again in a moment.")
        numbers = frozenset(self.numbers[p] for p in watch.marked_empty)
        remember(watch.layer, empty=numbers | {number} if empty else numbers - {number})
        watch.find_marked()
        watch.painted.add(position)
        watch.edited.emit((position,))

    # following the layers

    def _watch_of(self, layer: Any) -> LayerWatch:
        """Return the watch of a layer that is the annotation from now on, or was painted on."""
        watch = self._found(layer)
        if watch is not None:
            self._others.remove(watch)
            return watch
        watch = LayerWatch(layer, lambda: self._shown(layer), self._queue)
        watch.edited.connect(lambda positions: self._on_edited(watch, positions))
        watch.counted.connect(
            lambda positions: self._emit_changed(positions) if watch is self._watch else None
        )
        return watch

    def _found(self, layer: Any) -> LayerWatch | None:
        watches = [watch for watch in (self._watch, *self._others) if watch is not None]
        return next((watch for watch in watches if watch.layer is layer), None)

    def _listen(self, layer: Any) -> None:
        """Listen to each labels layer: a stroke is saved, whichever it falls on."""
        if isinstance(layer, Labels):
            layer.events.paint.connect(self._on_stroke)

    def _on_stroke(self, event: Any) -> None:
        layer = event.source
        if self._found(layer) is None:
            watch = self._watch_of(layer)
            self._others.append(watch)
            watch.add_stroke(event)

    def _drop_idle(self, _event: Any = None) -> None:
        """Watch only the annotation and layers that were painted on and are still there."""
        viewer = self._viewer()
        there = () if viewer is None else viewer.layers
        for watch in list(self._others):
            if not watch.painted or watch.layer not in there:
                self._others.remove(watch)
                watch.close()

    def _shown(self, layer: Any) -> int:
        viewer = self._viewer()
        return 0 if viewer is None else shown_position(viewer, layer)

    def _on_edited(self, watch: LayerWatch, positions: tuple[int, ...]) -> None:
        own = watch is self._watch
        if own:
            self._forget(positions)
            self.edited.emit(positions)
        elif result_of(watch.layer):  # a prediction writes its frames, and is not painted
            positions = tuple(p for p in positions if p in watch.painted)
        if positions:
            self.painted.emit(watch.layer, positions)
        if own:
            self._emit_changed(positions)

    def _reset(self) -> None:
        self._read_as = ()
        self.changed.emit(tuple(range(len(self))))

    def _emit_changed(self, positions: tuple[int, ...]) -> None:
        self._forget(positions)
        self.changed.emit(positions)

    def _forget(self, positions: Iterable[int]) -> None:
        """Read these frames again when they are asked for."""
        self._stale.update(positions)
        for position in positions:
            if self._info.pop(position, None) is not None:
                self._rows[position] = np.zeros((), _ROW)

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
        return {} if self.layer is None else self._roles.setdefault(self.layer, {})

    def _of_image(self, store: WeakKeyDictionary[Any, dict[int, Any]]) -> dict[int, Any]:
        return {} if self._image is None else store.get(self._image, {})

    def _keep(self, store: WeakKeyDictionary[Any, dict[int, Any]], values: dict[int, Any]) -> None:
        numbers = self.numbers
        for position in values:
            self._check_position(position)
        if self._image is not None and values:
            kept = store.setdefault(self._image, {})
            kept |= {numbers[position]: value for position, value in values.items()}
            self._emit_changed(tuple(sorted(values)))
