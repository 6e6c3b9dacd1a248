"""The buttons of a training: train anew, fine-tune, go on, pause, stop, copy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.data.project_runs import RunSummary
from napari_jnet.plugin.train.preflight import Problem

__all__ = ["TrainButtons"]

_FINE_TUNE_TIP = (
    "Go on from the model that Predict shows with all that is painted now, old and new: fewer minutes "
    "do than for training anew. The better of both models is kept."
)
_TRAIN_TIP = "Train in the background; painting and browsing go on."


class TrainButtons(QWidget):
    """Shows the buttons that can be pressed now."""

    copied = Signal(str)
    failed = Signal(object)  # the exception of a copy

    def __init__(
        self, stop: QPushButton, command: Callable[[], str], script: Callable[[], str]
    ) -> None:
        super().__init__()
        self._blocking: list[Problem] = []
        self._running = False
        self.elsewhere = False
        self._model: Path | None = None
        self._why_not = ""
        self.resumable: Path | None = None
        self.train = QPushButton("Train")
        self.fine_tune = QPushButton("Fine-tune")
        self.go_on = QPushButton()
        self.go_on.setToolTip("Go on where it was stopped, with all that is painted now.")
        self.pause = QPushButton("Pause")
        self.pause.setToolTip(
            "Rest and free the processor. Closing napari meanwhile loses no more than the epoch "
            "under way."
        )
        self.copy = self._copy_button({"Command": command, "Python": script})
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widgets in ((self.train, self.fine_tune, self.pause, stop, self.copy), (self.go_on,)):
            row = QHBoxLayout()
            for widget in widgets:
                row.addWidget(widget, 0 if widget is self.copy else 1)
            column.addLayout(row)
        self._refresh()

    def _copy_button(self, texts: dict[str, Callable[[], str]]) -> QToolButton:
        button = QToolButton()
        button.setText("Copy as ")
        button.setStyleSheet("QToolButton { padding-right: 12px; }")  # room for the arrow
        button.setToolTip("What Train would do, as a line for a terminal or as a Python script.")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for title, make in texts.items():
            menu.addAction(title, lambda title=title, make=make: self._copy(title, make))
        button.setMenu(menu)
        return button

    def _copy(self, title: str, make: Callable[[], str]) -> None:
        try:
            text = make()
        except (ValueError, OSError) as error:
            self.failed.emit(error)
            return
        QApplication.clipboard().setText(text)
        self.copied.emit(title)

    def set_model(self, model: Path | None, why_not: str) -> None:
        """Offer to fine-tune where there is a model, and nothing says why that cannot work."""
        self._model, self._why_not = model, why_not
        self._refresh()

    def set_blocking(self, problems: list[Problem]) -> None:
        """Keep from training while something stands in the way."""
        self._blocking = problems
        self._refresh()

    def set_running(self, running: bool) -> None:
        """Show what can be pressed while it trains, or while it does not."""
        self._running = running
        self.show_paused(False)
        self.pause.setEnabled(running)
        self._refresh()

    def set_elsewhere(self, elsewhere: bool) -> None:
        """Let nothing begin while another widget of the viewer trains."""
        self.elsewhere = elsewhere
        self._refresh()

    def show_paused(self, paused: bool) -> None:
        """Name the button after what it does now."""
        self.pause.setText("Go on" if paused else "Pause")

    def offer(self, run: RunSummary | None) -> None:
        """Offer to go on with a run that was stopped; None, or a run that came to its end: nothing."""
        self.resumable = run.path if run is not None and run.resumable else None
        if run is not None:
            self.go_on.setText(f"Go on with the training stopped at epoch {run.epochs}")
        self._refresh()

    def _refresh(self) -> None:
        free = not self._running
        ready = free and not self._blocking and not self.elsewhere
        self.train.setText("Train" if self._model is None else "Train anew")
        reason = self._blocking[0].text if self._blocking else ""
        if self.elsewhere:
            reason = "A training runs in another Train window; stop it there first."
        self.train.setToolTip(reason or _TRAIN_TIP)
        self.train.setEnabled(ready)
        self.fine_tune.setEnabled(ready)
        self.go_on.setEnabled(ready)
        self.train.setVisible(free)
        self.copy.setVisible(free)
        self.fine_tune.setToolTip(reason or _FINE_TUNE_TIP)
        self.fine_tune.setVisible(free and self._model is not None and not self._why_not)
        self.go_on.setVisible(free and self.resumable is not None and not self.elsewhere)
        self.pause.setVisible(not free)
