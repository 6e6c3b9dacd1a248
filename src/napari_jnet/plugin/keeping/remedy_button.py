"""The one click that saves what is painted where it cannot be saved by itself."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QToolButton

from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["RemedyButton"]


class RemedyButton(QToolButton):
    """Shown while the saving needs a click."""

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self._session = session
        self.setToolTip(
            "Copy what you painted into a new annotation of the image; where it does not lie on the "
            "image, into a file beside the projects."
        )
        self.clicked.connect(lambda: session.keeper.save_misfits())
        lifetime.connect(session.saving_changed, self._show)
        self._show()

    def _show(self, _status: Any = None) -> None:
        remedy = self._session.saving.remedy
        self.setText(remedy)
        self.setVisible(bool(remedy))
