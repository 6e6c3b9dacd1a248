"""The list of what stands in the way of a training, each with a button that mends it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_jnet.plugin.forms import WrappedLabel
from napari_jnet.plugin.theme import set_style
from napari_jnet.plugin.train.preflight import Fix, Problem

__all__ = ["PreflightList"]

_BLOCKING, _WARNING = ("✕", "@error"), ("!", "@warning")


class PreflightList(QWidget):
    """Shows problems; takes no room where there is none, or while it is folded."""

    fix_asked = Signal(object)  # a Fix
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._problems: list[Problem] = []
        self._folded = False
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(2, 0, 2, 0)
        self._column.setSpacing(5)
        self.setVisible(False)

    @property
    def problems(self) -> list[Problem]:
        """What is shown."""
        return list(self._problems)

    @property
    def blocking(self) -> list[Problem]:
        """Those that keep a training from working."""
        return [problem for problem in self._problems if problem.blocking]

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """Show these; the same ones are not drawn again."""
        if list(problems) == self._problems:
            return
        self._problems = list(problems)
        while (item := self._column.takeAt(0)) is not None:
            if (row := item.widget()) is not None:
                row.setParent(None)
                row.deleteLater()
        for problem in problems:
            self._column.addWidget(self._row(problem))
        self.fold(self._folded)

    @property
    def summary(self) -> str:
        """How much there is, in words: "1 thing to mend, 2 hints"."""
        blocking = len(self.blocking)
        counts = {"thing to mend": blocking, "hint": len(self._problems) - blocking}
        return ", ".join(_count(number, what) for what, number in counts.items() if number)

    def fold(self, folded: bool) -> None:
        """Hide the list, or show it again."""
        self._folded = folded
        self.setVisible(bool(self._problems) and not folded)
        self.changed.emit()

    def buttons(self) -> dict[str, QPushButton]:
        """Return the buttons by their titles; for scripts."""
        return {button.text(): button for button in self.findChildren(QPushButton)}

    def _row(self, problem: Problem) -> QWidget:
        mark, colour = _BLOCKING if problem.blocking else _WARNING
        sign = QLabel(mark)
        set_style(sign, f"color: {colour}; font-weight: bold;")
        sign.setToolTip("Training has to wait for this." if problem.blocking else "Good to know.")
        text = WrappedLabel(problem.text)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        inner = QVBoxLayout()
        inner.setSpacing(2)
        inner.addWidget(text)
        if problem.fix is not None:
            inner.addWidget(self._button(problem.fix_title, problem.fix), 0, Qt.AlignLeft)
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(inner, 1)
        return row

    def _button(self, title: str, fix: Fix) -> QPushButton:
        button = QPushButton(title)
        button.clicked.connect(lambda *_: self.fix_asked.emit(fix))
        return button


def _count(number: int, what: str) -> str:
    noun, space, rest = what.partition(" ")
    return f"{number} {noun}{'' if number == 1 else 's'}{space}{rest}"
