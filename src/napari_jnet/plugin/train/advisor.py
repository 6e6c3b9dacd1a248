"""Finds out, in a thread of its own, what the form of a training shows: device, cells, past runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer

from napari_jnet.data.project_runs import read_run
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.torch_loading import load_torch
from napari_jnet.plugin.train.advice import advise
from napari_jnet.plugin.train.form import NetworkForm
from napari_jnet.plugin.train.jobs import DeviceFound, Past, look_up_device, read_past
from napari_jnet.plugin.train.preflight_facts import sample

__all__ = ["Advisor"]

_LATER_MS = 1500  # after a stroke: others follow


class Advisor(QObject):
    """Keeps the words on the data and the earlier curves as they are now.

    Parameters
    ----------
    device_found
        Called with `DeviceFound`, or with the exception.
    past_found
        Called with the `Past` of the project.
    busy
        Says whether a training runs: then nothing is measured.

    Attributes
    ----------
    present
        The run that the plots show.
    """

    def __init__(
        self,
        session: Session,
        lifetime: Lifetime,
        form: NetworkForm,
        *,
        device_found: Callable[[DeviceFound | Exception], None],
        past_found: Callable[[Past], None],
        busy: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._session, self._form = session, form
        self._device_found, self._past_found, self._busy = device_found, past_found, busy
        self.present: Path | None = None
        self._asked = self._pending = False
        self.background = Background("napari-jnet training form")
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_LATER_MS)
        self._timer.timeout.connect(self.measure)
        lifetime.at_end(self.background.close)
        lifetime.at_end(self._timer.stop)
        lifetime.connect(session.book.changed, self._later)
        lifetime.connect(session.book.kind_changed, self._later)
        lifetime.connect(session.image_changed, self._later)
        lifetime.connect(session.project_changed, self.read_runs)
        form.preset_changed.connect(self._later)

    def ask(self) -> None:
        """Look the device up and measure the cells; this is the first use of torch."""
        if self._asked:
            return
        self._asked = True
        self.background.submit(look_up_device, self._device_found, self._device_found)
        self.measure()
        self.read_runs()
        # last: what the form shows comes first
        self.background.submit(_make_ready)

    def _later(self, *_: Any) -> None:
        if self._asked and not self._timer.isActive():
            self._timer.start()

    def measure(self) -> None:
        """Measure the painted cells; a measurement under way is followed by another."""
        if not self._asked or self._busy():
            return
        if self._pending:
            self._timer.start()
            return
        kind = self._session.book.kind
        data = sample(self._session)
        if data is None:
            self._form.set_advice(None, kind)
            return
        try:
            config = self._form.plain_config()
        except ValueError:  # the form says so when training is asked for
            return
        self._pending = True

        def told(advice: Any) -> None:
            self._pending = False
            self._form.set_advice(None if isinstance(advice, Exception) else advice, kind)

        self.background.submit(lambda: advise(data, config), told, told)

    def read_runs(self, _project: Any = None) -> None:
        """Read the runs of the project; while it trains this is done already."""
        project, present = self._session.project, self.present
        if self._busy() or (project is None and present is None):
            return

        def read() -> Past:
            if project is not None:
                return Past(None, read_past(project.path / "runs", present), project.last_run)
            assert present is not None
            return Past(None, read_past(present.parent, present), read_run(present))

        def told(past: Past) -> None:
            if self._session.project is project:  # else it is of other labels
                self._past_found(past)

        self.background.submit(read, told)


def _make_ready() -> None:
    """Load what the first training needs; where that fails, the training says why."""
    with suppress(ImportError, OSError):
        load_torch(optimizer=True)
