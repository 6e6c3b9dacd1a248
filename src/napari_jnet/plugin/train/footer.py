"""What Train shows below all that scrolls: its buttons, how far it is, what it says."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_jnet.plugin.theme import set_style
from napari_jnet.plugin.train.preflight_list import PreflightList

__all__ = ["HintsLine", "TrainFooter"]


class HintsLine(QPushButton):
    """One line in place of the list of problems, while that is folded or scrolled out of sight.

    Parameters
    ----------
    problems
        The list.
    area
        What it lies in.
    """

    def __init__(self, problems: PreflightList, area: QScrollArea) -> None:
        super().__init__()
        self._problems, self._area = problems, area
        self.setFlat(True)
        set_style(self, "text-align: left; color: @warning; padding: 2px;")
        self.setToolTip("Show what could be mended before a training.")
        self.clicked.connect(self.show_list)
        # places are known when the layout has settled
        self._later, self._seek = QTimer(self), QTimer(self)
        for timer, act in ((self._later, self.renew), (self._seek, self._to_list)):
            timer.setSingleShot(True)
            timer.setInterval(0)
            timer.timeout.connect(act)
        bar = area.verticalScrollBar()
        assert bar is not None
        for emitter in (problems.changed, bar.valueChanged, bar.rangeChanged):
            emitter.connect(self._soon)
        self.renew()

    def _soon(self, *_: int) -> None:
        self._later.start()

    def renew(self) -> None:
        """Show the line where the list cannot be read."""
        problems = self._problems
        hidden = problems.isHidden()
        if not hidden and problems.isVisible():
            seen = problems.visibleRegion().boundingRect().height()
            hidden = seen < problems.height()
        self.setText(f"{problems.summary} ›")
        self.setVisible(bool(problems.problems) and hidden)

    def show_list(self) -> None:
        """Unfold the list, and scroll to it."""
        self._problems.fold(False)
        self._seek.start()

    def _to_list(self) -> None:
        self._area.ensureWidgetVisible(self._problems)


class TrainFooter(QWidget):
    """Stays in sight however small the window is.

    Parameters
    ----------
    parts
        From the highest to the lowest.
    """

    def __init__(self, *parts: QWidget) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 2, 6, 4)
        column.setSpacing(4)
        for part in parts:
            column.addWidget(part)
