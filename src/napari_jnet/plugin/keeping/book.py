"""The frame book of a viewer: what is painted in each frame, its role, its score."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.data.frames import frame_label
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.frame_facts import FrameFacts
from napari_jnet.plugin.keeping.frame_table import FrameTable, FrameTotals
from napari_jnet.plugin.keeping.layer_watch import LayerWatch
from napari_jnet.plugin.keeping.ready_brush import ReadyBrush
from napari_jnet.plugin.layers import (
    current_index,
    first_axis,
    kind_of,
    pixels,
    said_empty,
    spatial_ndim,
)
from napari_jnet.plugin.legend import layer_legend
from napari_jnet.plugin.session import METADATA_KEY, Session, result_of, unwrap

__all__ = ["ROLES", "FrameBook", "FrameFacts"]

ROLES = ("training", "validation", "unused")


class FrameBook:
    """The facts of every frame of the annotation; one book a viewer.

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
    session
        Of the viewer; says which layers the image and the annotation are.
    """

    changed = Signal(object)
    edited = Signal(object)
    painted = Signal(object, object)
    roles_changed = Signal(object)
    kind_changed = Signal(object)

    def __init__(self, session: Session) -> None:
        self._session = session
        self._background = Background("napari-jnet counting")
        self._watch: LayerWatch | None = None
        self._others: list[LayerWatch] = []  # of layers that were painted on
        self._table = FrameTable(self._look_at)
        self._known: tuple[Any, ...] = ()  # what the facts in the table are of
        self._numbers: tuple[Any, tuple[int, ...]] = (None, ())  # as told by a layer, and read
        self._roles: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()
        self._scores: WeakKeyDictionary[Any, dict[int, tuple[float, str]]] = WeakKeyDictionary()
        self._doubts: WeakKeyDictionary[Any, dict[int, float]] = WeakKeyDictionary()
        self._roles_alone: dict[int, str] = {}
        session.annotation_changed.connect(self._follow)
        session.image_changed.connect(self._tell_all)
        if session.viewer is not None:
            events = session.viewer.layers.events
            events.inserted.connect(self._hear_strokes)
            events.removed.connect(self._leave_idle)
            self._hear_strokes()
        self._follow(session.annotation)
        self._brush = ReadyBrush(session, self._background)

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
        for layer in (self._session.image, self.layer):
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
        layers = [layer for layer in (self._session.image, self.layer) if layer is not None]
        known = [layer.metadata[METADATA_KEY] for layer in layers if METADATA_KEY in layer.metadata]
        told = known[0] if known else {}
        first = next((a for a in map(first_axis, layers) if a), "")
        return frame_label(first, number, int(told.get("digits") or 3))

    def __len__(self) -> int:
        layer = self._session.image if self.layer is None else self.layer
        if layer is None:
            return 0
        return 1 if spatial_ndim(layer) < 3 else int(pixels(layer).shape[0])

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
        self._renew()
        return self._table.facts(position)

    def _look_at(self, position: int) -> FrameFacts:
        number = self.numbers[position]
        image, kind = self._session.image, self.kind
        score, name = self._kept(self._scores, image).get(number, (None, ""))
        counts = None if self._watch is None else self._watch.counts(position)
        cells = kind is LabelKind.INSTANCES
        partial = cells and self.is_partial(position)
        known = () if counts is None else counts.pixels(kind, partial=partial)
        size = 0 if counts is None else counts.size
        empty = counts is not None and not counts.painted and self.is_empty(position)
        return FrameFacts(
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
    def annotated_facts(self) -> tuple[FrameFacts, ...]:
        """The facts of the `annotated` frames, ascending."""
        return tuple(self._table.facts(position) for position in self.annotated)

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
        known = (self._watch, unwrap(self._session.image), numbers, self.kind)
        if not self._known or any(map(operator.is_not, known, self._known)):
            self._known = known
            self._table.clear(range(len(numbers)))

    def filled(self, layer: Any) -> tuple[int, ...]:
        """Return where a watched layer is painted or said to be empty, or may be: what is not counted too."""
        for watch in (self._watch, *self._others):
            if watch is not None and watch.layer is unwrap(layer):
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
        own = self._roles_alone if layer is None else self._roles.get(unwrap(layer), {})
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
            self._watch = self._watch_of(unwrap(layer))
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
        for layer in self._session.viewer.layers:
            if hasattr(layer, "brush_size"):
                layer.events.paint.disconnect(self._stroke)
                layer.events.paint.connect(self._stroke)

    def _stroke(self, event: Any) -> None:
        layer = unwrap(event.source)
        watched = [self._watch, *self._others]
        if any(watch is not None and watch.layer is layer for watch in watched):
            return
        watch = self._watch_of(layer)
        self._others.append(watch)
        watch.note_stroke(event)

    def _leave_idle(self, _event: Any = None) -> None:
        """Watch only the annotation and layers that were painted on and are still there."""
        viewer = self._session.viewer
        there = set() if viewer is None else {id(unwrap(layer)) for layer in viewer.layers}
        for watch in list(self._others):
            if not watch.painted or id(watch.layer) not in there:
                self._others.remove(watch)
                watch.close()

    def _shown(self, layer: Any) -> int:
        viewer = self._session.viewer
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
        return {} if image is None else store.get(unwrap(image), {})

    def _keep(self, store: WeakKeyDictionary[Any, dict[int, Any]], values: dict[int, Any]) -> None:
        image, numbers = self._session.image, self.numbers
        for position in values:
            self._check_position(position)
        if image is not None and values:
            kept = store.setdefault(unwrap(image), {})
            kept |= {numbers[position]: value for position, value in values.items()}
            self._tell(tuple(sorted(values)))
