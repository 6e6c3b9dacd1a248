"""Keeps the list of what stands in the way of a training, and mends what a click can mend."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_jnet.data.stack import UNKNOWN
from napari_jnet.plugin.annotate.layers import new_annotation
from napari_jnet.plugin.annotate.next_number import number_pieces_apart
from napari_jnet.plugin.correct.edits import read_plane, replace_plane
from napari_jnet.plugin.layers import pixels
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.train.form import NetworkForm
from napari_jnet.plugin.train.preflight import Fix, Problem, TrainingFacts, check, new_roles
from napari_jnet.plugin.train.preflight_facts import fitting_labels
from napari_jnet.plugin.train.preflight_list import PreflightList
from napari_jnet.plugin.train.run_form import RunForm

__all__ = ["TrainingChecks"]

_LATER_MS = 200


class TrainingChecks(QObject):
    """Checks again a moment after anything has changed.

    Parameters
    ----------
    gather
        Gives the facts of the training that the form asks for.
    told
        Called with the list after each check.
    failed
        Called with the exception of a fix that does not work.
    """

    def __init__(
        self,
        session: Session,
        lifetime: Lifetime,
        forms: tuple[NetworkForm, RunForm],
        gather: Callable[[], TrainingFacts],
        told: Callable[[list[Problem]], None],
        failed: Callable[[Exception], None],
    ) -> None:
        super().__init__()
        self._session, self._gather, self._told, self._failed = session, gather, told, failed
        self._network_form, self._run_form = forms
        self._edits: list[Callable[[], Any]] = []
        self.list = PreflightList()
        self.list.fix_asked.connect(self.fix)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.now)
        self._edited: Any = None
        self._editing = QTimer(self)
        self._editing.setSingleShot(True)
        self._editing.setInterval(0)
        self._editing.timeout.connect(self._edit_next)
        lifetime.at_end(self._editing.stop)
        lifetime.at_end(self._timer.stop)
        book = session.book
        for emitter in (book.changed, book.kind_changed, session.image_changed):
            lifetime.connect(emitter, self.later)
        for emitter in (session.annotation_changed, session.project_changed):
            lifetime.connect(emitter, self.later)
        lifetime.connect(session.viewer.layers.events.inserted, self.later)
        lifetime.connect(session.viewer.layers.events.removed, self.later)
        self._network_form.changed.connect(self.later)
        self._run_form.changed.connect(self.later)

    def later(self, *_: Any) -> None:
        """Check soon."""
        if not self._timer.isActive():
            self._timer.start()

    def now(self) -> list[Problem]:
        """Check now; returns what was found."""
        self._timer.stop()
        found = check(self._gather())
        self.list.show_problems(found)
        self._told(found)
        return found

    def fix(self, fix: Fix) -> None:
        """Do what a button of the list promises."""
        actions: dict[str, Callable[[Fix], None]] = {
            "open": lambda _: setattr(self._session, "step", "stack"),
            "paint": lambda _: setattr(self._session, "step", "annotate"),
            "annotate": self._new_annotation,
            "choose fitting": self._choose_fitting,
            "roles": lambda fix: self._session.book.set_roles(new_roles(fix.positions)),
            "rest unknown": self._rest_unknown,
            "number apart": self._number_apart,
            "folder": lambda _: self._run_form.forget_folder(),
            "default width": lambda _: self._network_form.set_values({"channels": 16}),
        }
        try:
            actions[fix.action](fix)
        except (ValueError, OSError) as error:
            self._failed(error)
        self.now()

    def _new_annotation(self, _fix: Fix) -> None:
        new_annotation(self._session, self._session.book.kind)
        self._session.step = "annotate"

    def _choose_fitting(self, _fix: Fix) -> None:
        layer = fitting_labels(self._session)
        if layer is not None:
            self._session.choose("annotation", layer)

    def _number_apart(self, fix: Fix) -> None:
        """Give each piece of a cell its own number in these frames."""
        book = self._session.book
        self._edit(partial(number_pieces_apart, book, position) for position in fix.positions)

    def _rest_unknown(self, fix: Fix) -> None:
        """Mark what is not painted as unknown, in all planes of these frames that have cells."""
        layer = self._session.book.layer
        depths = pixels(layer).shape[1:-2]
        planes = [(p, *inner) for p in fix.positions for inner in np.ndindex(depths)]
        self._edit(
            partial(_mark_rest, layer, index) for index in (planes if layer.ndim > 2 else [()])
        )

    def _edit(self, edits: Iterable[Callable[[], Any]]) -> None:
        """Edit the labels, one undo step each; the window has its turn between two."""
        self._edits, self._edited = list(edits), self._session.book.layer
        self._edit_next()

    def _edit_next(self) -> None:
        if not self._edits or self._edited is not self._session.book.layer:
            self.later()
            return
        try:
            self._edits.pop(0)()
        except ValueError as error:
            self._edits = []
            self._failed(error)
        self._editing.start()


def _mark_rest(layer: Any, index: tuple[int, ...]) -> None:
    plane = read_plane(layer, index)
    if plane.any():
        replace_plane(layer, index, np.where(plane == 0, UNKNOWN, plane))
