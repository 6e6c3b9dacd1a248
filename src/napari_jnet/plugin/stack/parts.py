"""Parts of the first step: the offer to go on, the image in words, and what is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_jnet.data.stack import Stack
from napari_jnet.plugin.forms import WrappedLabel, small_label
from napari_jnet.plugin.keeping.offers import go_on
from napari_jnet.plugin.keeping.remedy_button import RemedyButton
from napari_jnet.plugin.layer_combos import LayerCombo
from napari_jnet.plugin.layers import (
    choose_axes,
    current_index,
    image_stack,
    layer_choices,
    spatial_ndim,
    stored_axes,
)
from napari_jnet.plugin.session import Lifetime, Session
from napari_jnet.plugin.theme import set_style

__all__ = ["ImagePart", "OfferBanner", "SavedPart", "size_words"]

_NARROW = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
_TOOLTIP = Qt.ItemDataRole.ToolTipRole
_LONG = 90  # characters of a line in the menu
_AXES = {
    "TYX": "frames over time",
    "ZYX": "sections of a volume",
    "CYX": "channels of one image",
    "TZYX": "volumes over time (T, Z, Y, X)",
    "TCYX": "frames over time with channels (T, C, Y, X)",
    "CTYX": "channels, each with frames over time (C, T, Y, X)",
    "ZCYX": "sections with channels (Z, C, Y, X)",
    "CZYX": "channels, each with sections (C, Z, Y, X)",
}
_ASK = "choose what it is…"


def size_words(stack: Stack) -> str:
    """Say how many frames of what size: "84 frames over time, each 512 × 512, uint8"."""
    count = len(stack)
    size = " × ".join(str(n) for n in stack.shape)
    if count == 1:
        return f"a single image, {size}, {stack.dtype}"
    words = {"T": "frames over time", "Z": "sections of a volume"}.get(stack.axes[0], "images")
    return f"{count} {words}, each {size}, {stack.dtype}"


class OfferBanner(QFrame):
    """Offers to go on with a project of the image, the newest first; hidden where there is none."""

    failed = Signal(object)  # the exception

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self._session = session
        self.setFrameShape(QFrame.Shape.StyledPanel)
        set_style(self, "OfferBanner { border: 1px solid @accent; border-radius: 4px; }")
        self.text = WrappedLabel()
        self.combo = QComboBox()
        self.combo.setToolTip("The projects of this image, the newest first.")
        self.combo.setSizeAdjustPolicy(_NARROW)
        self.combo.setMinimumContentsLength(12)
        self.go_on_button = QPushButton("Go on")
        self.go_on_button.setToolTip("Bring back what is painted, the model and the last training.")
        self.go_on_button.clicked.connect(self.go_on)
        self.anew_button = QPushButton("Start anew")
        self.anew_button.setToolTip(
            "Begin without it. The project stays as it is; Projects of this image, below, has it."
        )
        self.anew_button.clicked.connect(self.start_anew)
        row = QHBoxLayout()
        row.addWidget(self.go_on_button)
        row.addWidget(self.anew_button)
        column = QVBoxLayout(self)
        column.addWidget(self.text)
        column.addWidget(self.combo)
        column.addLayout(row)
        lifetime.connect(session.offer_changed, self._show)
        self._show()

    def go_on(self, *_: Any) -> None:
        """Go on with the project, as the button does; what goes wrong is told by `failed`."""
        if self._session.offer is None:  # pressed twice
            return
        try:
            go_on(self._session, self.combo.currentData(), failed=self.failed.emit)
        except ValueError as error:
            self.failed.emit(error)

    def start_anew(self, *_: Any) -> None:
        """Leave the project alone, as the button does."""
        self._session.keeper.offers.decline()

    def _show(self, _offer: Any = None) -> None:
        offer = self._session.offer
        self.setVisible(offer is not None)
        if offer is None:
            return
        others = [one for one in self._session.projects if one.words and not one.problem]
        offers = [offer, *(one for one in others if one.path != offer.path)]
        self.combo.clear()
        for one in offers:
            self.combo.addItem(f"{one.path.name}: {one.words}", one.path)
            self.combo.setItemData(self.combo.count() - 1, str(one.path), _TOOLTIP)
        several = len(offers) > 1
        self.combo.setVisible(several)
        words = f"in {len(offers)} projects. Which one?" if several else f"{offer.words}."
        self.text.setText(f"You have worked on this image before{' ' if several else ': '}{words}")
        self.setToolTip("" if several else str(offer.path))


class ImagePart(QWidget):
    """The image that is worked on, in words; its first axis can be corrected."""

    def __init__(self, session: Session, lifetime: Lifetime) -> None:
        super().__init__()
        self._session = session
        self.combo = LayerCombo(session, "image", lifetime)
        self.combo.setToolTip("The image that all steps work on.")
        self.words = small_label()
        self.axis_combo = QComboBox()
        self.axis_combo.setToolTip(
            "What the sliders run through. It names the frames (t002 or z002), and channels are "
            "learned from together, as parts of a frame; it is kept with the project and the results."
        )
        self.axis_combo.activated.connect(self._set_axis)
        self.shown = small_label()
        self._form = form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(4)
        form.addRow("Image", self.combo)
        form.addRow(self.words)
        form.addRow("It holds", self.axis_combo)
        form.addRow(self.shown)
        lifetime.connect(session.image_changed, self.refresh)
        dims = session.viewer.dims.events
        for emitter in (dims.current_step, dims.order):
            lifetime.connect(emitter, self._show_frame)
        self.refresh()

    def set_axis(self, axis: str) -> None:
        """Say what the image holds: "t", "z", or all its axes, such as "TCYX"."""
        axes = f"{axis.upper()}YX" if len(axis) == 1 else axis.upper()
        self.axis_combo.setCurrentIndex(self.axis_combo.findData(axes))
        self._set_axis()

    def refresh(self, _image: Any = None) -> None:
        """Describe the image anew."""
        stack, words = self._stack()
        self.words.setText(words)
        several = stack is not None and len(stack) > 1
        image = self._session.image
        choices = () if image is None else layer_choices(image)
        present = "" if stack is None or image is None else stored_axes(image)
        asked = bool(choices) and (stack is None or present in choices)
        label = self._form.labelForField(self.axis_combo)
        for part in (self.axis_combo, label):
            if part is not None:
                part.setVisible(asked)
        with QSignalBlocker(self.axis_combo):
            self.axis_combo.clear()
            for axes in choices:
                self.axis_combo.addItem(_AXES[axes], axes)
            if asked and not present:
                self.axis_combo.insertItem(0, _ASK, "")
            self.axis_combo.setCurrentIndex(max(self.axis_combo.findData(present), 0))
        self.shown.setVisible(several)
        self._show_frame()

    def _stack(self) -> tuple[Stack | None, str]:
        image = self._session.image
        if image is None:
            return None, "No image yet: choose a path above, or drop it here."
        try:
            stack = image_stack(image)
        except ValueError as error:
            return None, str(error)
        return stack, size_words(stack)

    def _show_frame(self, _event: Any = None) -> None:
        image, viewer = self._session.image, self._session.viewer
        if image is None or viewer is None or spatial_ndim(image) < 3:
            return
        book = self._session.book
        position = current_index(viewer, image)[0]
        if position < len(book):
            number = book.numbers[position]
            self.shown.setText(f"Shown: frame {number} ({position + 1} of {len(book)})")

    def _set_axis(self, _index: int = 0) -> None:
        axes, image = self.axis_combo.currentData(), self._session.image
        if not axes or image is None:
            return
        choose_axes(image, axes)
        labels, told = axes.replace("C", "").lower(), self._session.annotation
        if told is not None and told.ndim == len(labels) > 2:
            told.axis_labels = tuple(labels)
        # whoever has looked at the image looks again: it is another stack now
        self._session.image_changed.emit(image)


class SavedPart(QWidget):
    """Whether what is painted is saved, and where; and the other projects of the image."""

    failed = Signal(object)  # the exception

    def __init__(
        self, session: Session, lifetime: Lifetime, show_folder: Callable[[Path], Any] | None = None
    ) -> None:
        super().__init__()
        self._session = session
        self._embedded = False
        self._show_folder = show_folder or _show_folder
        self.saved = WrappedLabel()
        self.folder = small_label()
        self.folder_button = QToolButton()
        self.folder_button.setText("Open folder")
        self.folder_button.setToolTip("Show the project's folder in the file manager.")
        self.folder_button.clicked.connect(self.open_folder)
        self.projects_button = QToolButton()
        self.projects_button.setToolTip("All that was painted on this image: choose what to open.")
        self.projects_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.projects_button.setMenu(QMenu(self.projects_button))
        row = QHBoxLayout()
        row.addWidget(self.folder, 1)
        row.addWidget(self.folder_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.saved)
        column.addWidget(RemedyButton(session, lifetime))
        column.addLayout(row)
        column.addWidget(self.projects_button)
        lifetime.connect(session.projects_changed, self._show_projects)
        lifetime.connect(session.offer_changed, self._show)
        lifetime.connect(session.book.changed, self._show)
        self._show_projects()
        lifetime.connect(session.saving_changed, self._show)
        lifetime.connect(session.project_changed, self._show)
        self._show()

    def embed(self) -> None:
        """Leave it to the workbench to say how the saving stands."""
        self._embedded = True
        self._show()

    def open_folder(self, *_: Any) -> None:
        """Show the project's folder in the file manager."""
        if self._session.project is not None:
            self._show_folder(self._session.project.path)

    def open_project(self, path: Path) -> None:
        """Bring back a project of the image, as the menu does; problems are told by `failed`."""
        try:
            go_on(self._session, path, failed=self.failed.emit)
        except ValueError as error:
            self.failed.emit(error)

    def _show_projects(self, _what: Any = None) -> None:
        listed = self._session.projects
        menu = self.projects_button.menu()
        assert menu is not None
        menu.clear()
        menu.setToolTipsVisible(True)
        for one in listed:
            here = self._session.keeper.layer_of(one.path) is not None
            problem = "open here" if here else one.problem
            state = " ".join(filter(None, (one.words, f"({problem})" if problem else "")))
            title = f"{one.path.name}: {state or 'nothing painted'}"
            action = menu.addAction(title if len(title) < _LONG else f"{title[:_LONG]}…")
            assert action is not None
            action.setToolTip(f"{one.path}\n{one.problem}".strip())
            action.setEnabled(here or not one.problem)
            action.triggered.connect(lambda _=False, path=one.path: self.open_project(path))
        self.projects_button.setText(f"Projects of this image: {len(listed)}")
        self.projects_button.setVisible(bool(listed))

    def _show(self, _what: Any = None) -> None:
        saving, project = self._session.saving, self._session.project
        nothing = "Nothing painted yet: the first stroke starts a project."
        if self._session.book.totals.frames:
            nothing = "Not in a project yet: the next stroke starts one, with all that is painted."
        elif self._session.offer is not None:
            nothing = (
                "Go on with what you painted before, above; or the first stroke starts a project."
            )
        text = saving.text or nothing
        self.saved.setText(text[:1].upper() + text[1:])
        self.saved.setVisible(not (self._embedded and saving.text))
        set_style(self.saved, "color: @error;" if saving.failed else "")
        path = None if project is None else project.path
        self.folder.setVisible(path is not None)
        self.folder_button.setVisible(path is not None)
        if path is not None:
            self.folder.setText(_short(path))
            self.folder.setToolTip(str(path))
            self.saved.setToolTip(str(path))


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def _show_folder(path: Path) -> None:
    QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
