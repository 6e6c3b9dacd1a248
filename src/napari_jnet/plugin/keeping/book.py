"""The frame book of a viewer: what is painted in each frame, its role, its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.keeping.frame_facts import FrameFacts
from napari_jnet.plugin.keeping.layer_watch import LayerWatch
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
        self._watch: LayerWatch | None = None
        self._roles: WeakKeyDictionary[Any, dict[int, str]] = WeakKeyDictionary()
        self._scores: WeakKeyDictionary[Any, dict[int, tuple[float, str]]] = WeakKeyDictionary()
        self._doubts: WeakKeyDictionary[Any, dict[int, float]] = WeakKeyDictionary()
        self._roles_alone: dict[int, str] = {}
        session.annotation_changed.connect(self._follow)
        session.image_changed.connect(self._tell_all)
        self._follow(session.annotation)

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
                return tuple(int(n) for n in numbers)
        return tuple(range(count))

    def __len__(self) -> int:
        layer = self._session.image if self.layer is None else self.layer
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
        counts = None if self._watch is None else self._watch.counts(position)
        partial = kind is LabelKind.INSTANCES and self.is_partial(position)
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
            counted=self._watch is None or counts is not None,
        )

    @property
    def annotated(self) -> tuple[int, ...]:
        """The positions that can be learned from, as far as they are counted."""
        hopeful = () if self._watch is None else self._watch.hopeful
        return tuple(p for p in hopeful if self.facts(p).annotated)

    @property
    def filled(self) -> tuple[int, ...]:
        """The positions where something is painted, or may be: those still to be counted too."""
        empty = frozenset() if self._watch is None else self._watch.empty
        return () if self._watch is None else tuple(p for p in range(len(self)) if p not in empty)

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
        image, watch = self._session.image, self._need_watch()
        if image is None:
            raise ValueError("There is no image; load a stack, or open an image in napari.")
        numbers = self.numbers
        roles = {numbers[p]: role for p in range(len(self)) if (role := self.role(p))}
        project = self._session.project
        return training_input(
            image,
            watch.layer,
            self.kind,
            painted=_painted(watch),
            roles=roles,
            name=None if project is None else project.stack.name,
        )

    def frame(self, position: int) -> NDArray[Any]:
        """Read the labels of a frame, (H, W) or (Z, H, W); a view where the layer is in memory."""
        self._check_position(position)
        return self._need_watch().frame(position)

    def is_partial(self, position: int) -> bool:
        """Whether only some cells of this frame are annotated, so that its 0 is unknown."""
        return self._watch is not None and position in self._watch.partial

    # following the layer

    def _follow(self, layer: Any | None) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = None
        if layer is not None:
            self._watch = watch = LayerWatch(unwrap(layer), self._shown, self._background)
            watch.edited.connect(self._tell_edited)
            watch.counted.connect(self._tell_counted)
        self._tell_all()

    def _shown(self) -> int:
        viewer, layer = self._session.viewer, self._session.annotation
        index = () if viewer is None or layer is None else current_index(viewer, layer)
        return index[0] if index else 0

    def _tell_counted(self, positions: tuple[int, ...]) -> None:
        # not connected to `emit` itself: psygnal tries out how many arguments that takes
        self.changed.emit(positions)

    def _tell_edited(self, positions: tuple[int, ...]) -> None:
        self.edited.emit(positions)
        self.changed.emit(positions)

    def _tell_all(self, _image: Any = None) -> None:
        self.changed.emit(tuple(range(len(self))))

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
            self.changed.emit(tuple(sorted(values)))


def _painted(watch: LayerWatch) -> PaintedPlanes:
    """Copy what is painted; what is empty is not read, and what is not counted yet is read later."""
    empty, copied = watch.empty, {}
    if watch.in_memory:
        copied = {p: np.array(watch.frame(p)) for p in watch.hopeful if p not in empty}
    return PaintedPlanes(pixels(watch.layer), copied, empty)
