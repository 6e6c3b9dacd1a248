"""The frame book of a viewer: what is painted in each frame, its role, its score.

Counted from the annotation layer when somebody asks; what takes long is counted in a thread of its
own.  A stroke says which frames it touched; undo and redo say nothing of the kind, so frames are
told apart by checksums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.frame_counts import FrameCounts, checksum, count_labels
from napari_jnet.plugin.layers import (
    PaintedPlanes,
    TrainingInput,
    current_index,
    kind_of,
    pixels,
    training_input,
)
from napari_jnet.plugin.legend import layer_legend
from napari_jnet.plugin.session import METADATA_KEY, Session, unwrap

__all__ = ["ROLES", "FrameBook", "FrameFacts"]

ROLES = ("training", "validation", "unused")
_QUICK = 8 * 2**20  # bytes of a frame that the window may count itself: a few milliseconds
_AT_ONCE = 16 * 2**20  # bytes of a layer that are counted as soon as it is chosen
_CHUNK = 16  # frames that are counted before the window is told


@dataclass(frozen=True)
class FrameFacts:
    """What is known of one frame.

    Attributes
    ----------
    position, number
        Index along the stack; frame number of the file names.
    annotated
        Whether it can be learned from.
    objects
        Painted cells; 0 for classes and scribbles.
    pixels
        Known pixels of each class from 0; of background and cells where cells are numbered.
    unknown
        Pixels of which nobody knows what they are.
    size
        Pixels of the frame.
    role
        "training", "validation", "unused" or "" (the split decides).
    score, score_name
        The last score and what it is, such as SEG; None where there is none.
    uncertainty
        Mean entropy of the last prediction in bits a pixel; None where there is none.
    counted
        False while the frame is still being counted.
    """

    position: int
    number: int
    annotated: bool = False
    objects: int = 0
    pixels: tuple[int, ...] = ()
    unknown: int = 0
    size: int = 0
    role: str = ""
    score: float | None = None
    score_name: str = ""
    uncertainty: float | None = None
    counted: bool = True


@dataclass
class _Count:
    """What was counted of a layer."""

    counts: dict[int, FrameCounts] = field(default_factory=dict)
    stale: set[int] = field(default_factory=set)  # painted since they were counted
    sums: dict[int, int] = field(default_factory=dict)
    partial: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)  # painted since the layer was chosen
    changes: Counter[int] = field(default_factory=Counter)
    doubted: set[int] = field(default_factory=set)  # being compared in the background


class FrameBook:
    """The facts of every frame of the annotation; one book a viewer.

    Attributes
    ----------
    changed
        Emitted with the positions whose facts are new.
    edited
        Emitted with the positions whose pixels are new: painted, taken back, replaced.
    roles_changed
        Emitted with the positions whose roles are new.
    kind_changed
        Emitted with the kind of labels, or when its legend is new.

    Parameters
    ----------
    session
        Of the viewer; says which layers the image and the annotation are.
    """

    changed = Signal(object)
    edited = Signal(object)
    roles_changed = Signal(object)
    kind_changed = Signal(object)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._background = Background("napari-jnet counting")
        self._layer: Any | None = None
        self._count = _Count()
        self._shown = -1
        self._roles: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()
        self._scores: WeakKeyDictionary[Any, dict[int, tuple[float, str]]] = WeakKeyDictionary()
        self._doubts: WeakKeyDictionary[Any, dict[int, float]] = WeakKeyDictionary()
        self._roles_alone: dict[int, str] = {}
        session.annotation_changed.connect(self._follow)
        session.image_changed.connect(self._image_changed)
        self._follow(session.annotation)

    # which layer

    @property
    def layer(self) -> Any | None:
        """The annotation layer, or None."""
        return self._layer

    @property
    def kind(self) -> LabelKind:
        """What the numbers of the annotation mean; cells, where nobody said."""
        return (None if self._layer is None else kind_of(self._layer)) or LabelKind.INSTANCES

    def set_kind(self, kind: LabelKind | str) -> None:
        """Say what the numbers of the annotation mean; nothing painted is changed.

        Raises
        ------
        ValueError
            If there is no annotation layer, or no such kind.
        """
        kind = LabelKind(kind)
        layer = self._need_layer()
        if kind is kind_of(layer):
            return
        told = layer.metadata.get(METADATA_KEY, {})
        layer.metadata[METADATA_KEY] = {**told, "kind": kind.value}
        self.kind_changed.emit(kind)
        self._tell_all()

    @property
    def legend(self) -> tuple[tuple[str, str], ...]:
        """(name, "#rrggbb") of each class from 0, where the layer has names."""
        return () if self._layer is None else layer_legend(self._layer)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The frame numbers, by position."""
        count = len(self)
        for layer in (self._session.image, self._layer):
            told = () if layer is None else layer.metadata.get(METADATA_KEY, {})
            numbers = told.get("frame_numbers") if told else None
            if numbers and len(numbers) == count:
                return tuple(int(n) for n in numbers)
        return tuple(range(count))

    def __len__(self) -> int:
        layer = self._session.image if self._layer is None else self._layer
        if layer is None:
            return 0
        data = pixels(layer)
        planes = data.ndim - bool(getattr(layer, "rgb", False))
        return 1 if planes < 3 else int(data.shape[0])

    def __bool__(self) -> bool:
        return True

    # facts

    def facts(self, position: int) -> FrameFacts:
        """Return what is known of a frame.

        Raises
        ------
        ValueError
            If there is no such frame.
        """
        self._check_position(position)
        number = self.numbers[position]
        image, kind = self._session.image, self.kind
        score, name = self._kept(self._scores, image).get(number, (None, ""))
        counts = self._counts_of(position)
        partial = kind is LabelKind.INSTANCES and position in self._count.partial
        known = () if counts is None else counts.pixels(kind, partial=partial)
        size = 0 if counts is None else counts.size
        return FrameFacts(
            position=position,
            number=number,
            annotated=counts is not None and counts.painted and sum(known) > 0,
            objects=0 if counts is None else counts.objects(kind),
            pixels=known,
            unknown=size - sum(known),
            size=size,
            role=self._own_roles().get(number, ""),
            score=score,
            score_name=name,
            uncertainty=self._kept(self._doubts, image).get(number),
            counted=self._layer is None or counts is not None,
        )

    @property
    def annotated(self) -> tuple[int, ...]:
        """The positions that can be learned from, as far as they are counted."""
        if self._layer is None:
            return ()
        count = self._count
        hopeful = sorted({p for p, c in count.counts.items() if c.painted} | count.stale)
        return tuple(p for p in hopeful if self.facts(p).annotated)

    @property
    def counting(self) -> bool:
        """Whether frames are still being counted."""
        return self._background.busy

    def wait(self) -> None:
        """Wait until all frames are counted; for scripts."""
        self._background.wait()

    # roles and scores

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
            self.roles_changed.emit(tuple(sorted(new)))
            self.changed.emit(tuple(sorted(new)))

    def set_scores(self, scores: Mapping[int, float], name: str = "SEG") -> None:
        """Keep the last score of frames, by position; it belongs to the image."""
        self._keep(self._scores, {p: (float(s), name) for p, s in scores.items()})

    def set_uncertainty(self, uncertainty: Mapping[int, float]) -> None:
        """Keep how unsure the last prediction was, by position; it belongs to the image."""
        self._keep(self._doubts, {p: float(u) for p, u in uncertainty.items()})

    # what is learned from

    def snapshot(self) -> TrainingInput:
        """Take the annotated frames as they are now, with their roles; only those are copied.

        Raises
        ------
        ValueError
            If there is no image or annotation, sizes differ, or nothing is painted.
        """
        image, layer = self._session.image, self._need_layer()
        if image is None:
            raise ValueError("There is no image; load a stack, or open an image in napari.")
        numbers = self.numbers
        roles = {numbers[p]: role for p in range(len(self)) if (role := self.role(p))}
        return training_input(image, layer, self.kind, painted=self._painted(), roles=roles)

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where the layer is in memory."""
        return self._reader()(position)

    def is_partial(self, position: int) -> bool:
        """Whether only some cells of this frame are annotated, so that its 0 is unknown."""
        return position in self._count.partial

    def _painted(self) -> PaintedPlanes:
        data, count = pixels(self._need_layer()), self._count
        known = {p for p, c in count.counts.items() if not c.painted} - count.stale
        if not isinstance(data, np.ndarray):
            return PaintedPlanes(data, {}, frozenset(known))
        copied = {p: np.array(self.frame(p)) for p in set(count.counts) - known}
        return PaintedPlanes(data, copied, frozenset(known))

    # following the layer

    def _follow(self, layer: Any | None) -> None:
        if self._layer is not None:
            events = self._layer.events
            for emitter, slot in self._slots(events):
                emitter.disconnect(slot)
        self._layer = None if layer is None else unwrap(layer)
        self._count, self._shown = _Count(), -1
        if self._layer is not None:
            for emitter, slot in self._slots(self._layer.events):
                emitter.connect(slot)
            self._look_through()
        self._tell_all()

    def _slots(self, events: Any) -> list[tuple[Any, Any]]:
        return [
            (events.paint, self._on_paint),
            (events.set_data, self._on_refresh),
            (events.data, self._on_data),
        ]

    def _image_changed(self, _image: Any) -> None:
        self._tell_all()

    def _on_paint(self, event: Any) -> None:
        positions = self._positions_of(event.value)
        self._count.touched |= positions
        self._mark(positions)

    def _on_refresh(self, _event: Any = None) -> None:
        """Compare the shown frame; if the slider did not move, it may be undo in any frame."""
        layer, viewer = self._layer, self._session.viewer
        if layer is None or viewer is None or not isinstance(pixels(layer), np.ndarray):
            return
        index = current_index(viewer, layer)
        shown = index[0] if index else 0
        moved, self._shown = shown != self._shown, shown
        doubtful = {shown} | (set() if moved else self._count.touched)
        if self._quick():
            self._compare(shown, checksum(self.frame(shown)))
            doubtful.discard(shown)
        self._compare_later(doubtful)

    def _on_data(self, _event: Any = None) -> None:
        self._count.stale |= set(self._count.counts)
        self._shown = -1
        self._look_through()
        self._tell_all()

    def _positions_of(self, atoms: Iterable[Any]) -> set[int]:
        """Return the frames of an undo step: a list of (indices or slices, old, new)."""
        if len(self) == 1:
            return {0}
        found: set[int] = set()
        for atom in atoms:
            first = atom[0][0]
            if isinstance(first, slice):
                found.update(range(len(self))[first])
                continue
            rows = np.asarray(first)
            if rows.size:
                low, high = int(rows.min()), int(rows.max())
                found.update([low] if low == high else np.unique(rows).tolist())
        return found

    def _mark(self, positions: set[int]) -> None:
        """Note that the pixels of these frames are new, and tell."""
        count = self._count
        if not positions:
            return
        count.stale |= positions
        count.changes.update(positions)
        for position in positions:
            count.sums.pop(position, None)
            if self._quick():
                count.sums[position] = checksum(self.frame(position))
        if not self._quick():
            self._count_later(sorted(positions))
        told = tuple(sorted(positions))
        self.edited.emit(told)
        self.changed.emit(told)

    # comparing

    def _compare(self, position: int, found: int) -> None:
        before = self._count.sums.get(position)
        self._count.sums[position] = found
        if before is not None and before != found:
            self._mark({position})

    def _compare_later(self, positions: set[int]) -> None:
        count, read = self._count, self._reader()
        for position in sorted(positions - count.doubted):
            count.doubted.add(position)
            changes = count.changes[position]

            def told(found: int, position: int = position, changes: int = changes) -> None:
                count.doubted.discard(position)
                if count is self._count and count.changes[position] == changes:
                    self._compare(position, found)

            self._background.submit(lambda p=position: checksum(read(p)), told)  # type: ignore[misc]

    # counting

    def _counts_of(self, position: int) -> FrameCounts | None:
        count = self._count
        missing = position in count.stale or position not in count.counts
        if missing and self._layer is not None and self._quick():
            count.counts[position] = count_labels(self.frame(position))
            count.stale.discard(position)
        return count.counts.get(position)

    def _look_through(self) -> None:
        """Count all frames and their checksums, at once where that takes no time."""
        layer = self._need_layer()
        data = pixels(layer)
        if isinstance(data, np.ndarray) and data.nbytes <= _AT_ONCE:
            for position in range(len(self)):
                self._take(position, self._changes(position), *_look_at(self.frame(position)))
            self._find_partial()
            return
        for start in range(0, len(self), _CHUNK):
            self._count_later(range(start, min(start + _CHUNK, len(self))))
        self._find_partial()

    def _changes(self, position: int) -> int:
        return self._count.changes[position]

    def _count_later(self, positions: Iterable[int]) -> None:
        count, read = self._count, self._reader()
        wanted = {position: count.changes[position] for position in positions}

        def look() -> list[tuple[int, int, FrameCounts, int]]:
            return [(p, n, *_look_at(read(p))) for p, n in wanted.items() if count is self._count]

        def told(found: list[tuple[int, int, FrameCounts, int]]) -> None:
            if count is self._count:
                fresh = tuple(one[0] for one in found if self._take(*one))
                if fresh:
                    self.changed.emit(fresh)

        self._background.submit(look, told)

    def _take(self, position: int, changes: int, counts: FrameCounts, found: int) -> bool:
        """Keep what was counted, unless the frame was painted meanwhile."""
        count = self._count
        if count.changes[position] != changes:
            return False
        count.counts[position] = counts
        count.stale.discard(position)
        self._compare(position, found)
        return True

    def _find_partial(self) -> None:
        """Find out in which frames 0 is unknown; that may read files."""
        partial = self._need_layer().metadata.get(METADATA_KEY, {}).get("partial", ())
        count, numbers = self._count, self.numbers

        def look() -> set[int]:
            return {p for p, number in enumerate(numbers) if number in partial}

        def told(found: set[int]) -> None:
            count.partial |= found
            if count is self._count and found:
                self.changed.emit(tuple(sorted(found)))

        if isinstance(partial, (tuple, list, set, frozenset)):
            count.partial |= look()
        else:
            self._background.submit(look, told)

    # small things

    def _reader(self) -> Any:
        data = pixels(self._need_layer())
        return lambda position: np.asarray(data[position] if data.ndim > 2 else data)

    def _quick(self) -> bool:
        data = pixels(self._need_layer())
        return isinstance(data, np.ndarray) and data.nbytes <= _QUICK * len(self)

    def _need_layer(self) -> Any:
        if self._layer is None:
            raise ValueError("There is no annotation; press New annotation, or add a labels layer.")
        return self._layer

    def _check_position(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise ValueError(
                f"There is no frame at position {position}; the stack has {len(self)} frames, "
                "the first at position 0."
            )

    def _own_roles(self) -> dict[int, str]:
        if self._layer is None:
            return self._roles_alone
        return self._roles.setdefault(self._layer, {})

    @staticmethod
    def _kept(store: WeakKeyDictionary[Any, dict[int, Any]], image: Any) -> dict[int, Any]:
        return {} if image is None else store.get(unwrap(image), {})

    def _keep(self, store: WeakKeyDictionary[Any, dict[int, Any]], values: dict[int, Any]) -> None:
        image, numbers = self._session.image, self.numbers
        for position in values:
            self._check_position(position)
        if image is not None and values:
            kept = store.setdefault(unwrap(image), {})
            kept |= {numbers[position]: value for position, value in values.items()}
            self.changed.emit(tuple(sorted(values)))

    def _tell_all(self) -> None:
        self.changed.emit(tuple(range(len(self))))


def _look_at(labels: NDArray[Any]) -> tuple[FrameCounts, int]:
    return count_labels(labels), checksum(labels)
