"""All frames: their table, the way to the next one, and what each is used for."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QPushButton, QVBoxLayout

from napari_jnet.plugin.annotate.frames_model import FramesModel
from napari_jnet.plugin.annotate.frames_table import FramesTable
from napari_jnet.plugin.annotate.next_frame import choose_next
from napari_jnet.plugin.annotate.part import AnnotatePart, row_of
from napari_jnet.plugin.session import Lifetime, Session

__all__ = ["FramesPart"]


class FramesPart(AnnotatePart):
    """The table of frames and the button to the next frame worth annotating.

    Parameters
    ----------
    session
        Of the viewer.
    lifetime
        Ends the listening.
    """

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__(session, lifetime)
        self.model = FramesModel(self._book, lifetime)
        self.table = FramesTable(self.model)
        self.table.frame_wanted.connect(session.go_to)
        self.table.role_wanted.connect(self._role_wanted)
        self.next_button = QPushButton("Next frame to annotate")
        self.next_button.setToolTip(
            "Go where annotating helps most: the frame with the worst score, else the least "
            "certain prediction, else the frame farthest from annotated ones."
        )
        self.next_button.clicked.connect(lambda: self.attempt(self.next_frame))
        self.only_check = QCheckBox("Only annotated")
        self.only_check.setToolTip("List annotated frames only.")
        self.only_check.toggled.connect(self.model.set_only_annotated)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        column.addLayout(row_of(self.next_button, self.only_check))
        lifetime.connect(session.viewer.dims.events.current_step, self._show_frame)
        lifetime.connect(session.image_changed, self._show_frame)
        self._show_frame()

    def next_frame(self) -> int:
        """Show the frame where annotating helps most, say why, and return its position.

        Raises
        ------
        ValueError
            If there is no image.
        """
        count = len(self._book)
        if not count:
            raise ValueError("There is no image to annotate; open one first.")
        facts = [self.model.facts(p) for p in range(count)]
        annotated = self._book.annotated
        position, why = choose_next(
            count,
            annotated,
            self.position(),
            scores={f.position: f.score for f in facts if f.score is not None},
            uncertainty={f.position: f.uncertainty for f in facts if f.uncertainty is not None},
        )
        self._session.go_to(position)
        done = f"{len(annotated)} of {count} frames are annotated."
        self.said.emit(f"{self._book.frame_name(facts[position].number)}: {why}. {done}")
        return position

    def set_role(self, number: int, role: str) -> None:
        """Say what a frame is used for, by its frame number.

        Raises
        ------
        ValueError
            If there is no such frame, or no such role.
        """
        numbers = self._book.numbers
        if number not in numbers:
            there = f"frames run from {numbers[0]} to {numbers[-1]}" if numbers else "open an image"
            raise ValueError(f"There is no frame {number}; {there}.")
        self._book.set_role(numbers.index(number), role)

    def _role_wanted(self, positions: list[int], role: str) -> None:
        self.attempt(lambda: self._book.set_roles(dict.fromkeys(positions, role)))

    def _show_frame(self, _event: Any = None) -> None:
        self.table.show_position(self.position())
