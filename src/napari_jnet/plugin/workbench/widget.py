"""The workbench: all steps in one dock, what to do next above them, how things stand below."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QScrollArea, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.forms import MessageLine, dropped_path
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.keeping.remedy_button import RemedyButton
from napari_jnet.plugin.session import Lifetime, session
from napari_jnet.plugin.workbench.guide import (
    GuidePanel,
    Spotlight,
    find_button,
    remember_guide,
    sample_image,
    wants_guide,
)
from napari_jnet.plugin.workbench.hints import Facts, Hint, advise, step_states
from napari_jnet.plugin.workbench.parts import HintLine, StatusRow, StepsRow
from napari_jnet.plugin.workbench.situation import Situation
from napari_jnet.plugin.workbench.steps import STEPS, Step, make_widget, step_named

if TYPE_CHECKING:
    import napari

__all__ = ["Workbench"]

_WIDTH = 410  # the widest step needs that: below it scrolls sideways


class Workbench(QWidget):
    """Stack, Annotate, Train, Predict, Evaluate and Measure, one shown at a time.

    Parameters
    ----------
    napari_viewer
        The viewer that all steps work on.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.setAcceptDrops(True)
        # napari leaves room below a dock that does not say that it wants the height
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._viewer = napari_viewer
        self._session = session(napari_viewer)
        self._docked = False
        self._lifetime = lifetime = Lifetime()
        self.destroyed.connect(lambda *_: lifetime.end())
        self._pages: dict[str, QWidget] = {}
        self._kind = LabelKind.INSTANCES  # of what is painted
        self.hint_line = HintLine(self._go)
        self.steps_row = StepsRow(self._go)
        self._stack = QStackedWidget()
        self.status_row = StatusRow(self._go, RemedyButton(self._session, lifetime))
        self.guide = GuidePanel()
        self.spotlight = Spotlight(self)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(4)
        column.addWidget(self.hint_line)
        column.addWidget(self.guide)
        column.addWidget(self.steps_row)
        column.addWidget(self._stack, 1)
        column.addWidget(self.status_row)
        self._situation = Situation(self._session, lifetime, self._show_facts)
        lifetime.connect(self._session.step_changed, self.show_step)
        lifetime.connect(self._session.saving_changed, self.status_row.show_saving)
        lifetime.connect(self._session.training_changed, self.status_row.show_training)
        self.hint_line.help_button.clicked.connect(lambda: self.show_guide(self.guide.isHidden()))
        self.guide.closed.connect(lambda: self.show_guide(False))
        self.guide.sample_wanted.connect(self.open_sample)
        self.guide.setVisible(wants_guide())
        self.status_row.show_saving(self._session.saving)
        self.status_row.show_training(self._session.training)
        self._situation.look()
        self.show_step(self._session.step)

    @property
    def hint(self) -> Hint:
        """What to do next."""
        return self.hint_line.hint

    @property
    def current(self) -> str:
        """The name of the step that is shown."""
        return self._session.step

    @property
    def page(self) -> QWidget:
        """The widget of the step that is shown."""
        page = self._stack.currentWidget()
        assert page is not None
        return page

    def show_step(self, name: str) -> QWidget:
        """Show a step, and return its widget; it is made when it is first shown.

        Raises
        ------
        ValueError
            If there is no step of this name.
        """
        step = step_named(name)
        if name not in self._pages:
            self._pages[name] = self._make(step)
            self._stack.addWidget(self._pages[name])
        self._stack.setCurrentWidget(self._pages[name])
        self._session.step = name
        self.steps_row.choose(name)
        self.hint_line.at_step(name)
        self.status_row.at_step(name)
        self._explain()
        self._point()
        return self._pages[name]

    def show_guide(self, shown: bool) -> None:
        """Open or close the guide; napari remembers whether it opens by itself next time."""
        self.guide.setVisible(shown)
        remember_guide(shown)
        self._point()

    def open_sample(self) -> None:
        """Open the touching cells of the sample data, without their truth, to try everything on."""
        data, options = sample_image()
        self._viewer.add_image(data, **options)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take one file or folder that is dropped, whichever step is shown."""
        if event is not None and dropped_path(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Load what is dropped, in the step Stack."""
        self.show_step("stack").dropEvent(event)

    def sizeHint(self) -> QSize:
        """Ask for as much width as the steps need: the image is what one looks at."""
        return QSize(_WIDTH, super().sizeHint().height())

    def event(self, event: QEvent) -> bool:
        """Let the steps go when the dock is closed: alone, each stops its job."""
        if event.type() == QEvent.Type.ParentChange:
            docked = self.parent() is not None
            if self._docked and not docked:
                for page in self._pages.values():
                    page.setParent(None)
            elif docked and self._stack.count() < len(self._pages):
                self._take_back()
            self._docked = docked
        return super().event(event)

    def _take_back(self) -> None:
        for page in self._pages.values():
            self._stack.addWidget(page)
        self.show_step(self._session.step)

    def _go(self, name: str) -> None:
        self.show_step(name)

    def _make(self, step: Step) -> QWidget:
        try:
            page: QWidget = make_widget(step, self._viewer)
            if isinstance(page, JobWidget):
                page.embed()
        except Exception as error:  # noqa: BLE001 - one broken step must not take the others along
            page = _broken(step, error)
        return page

    def _show_facts(self, facts: Facts) -> None:
        self._kind = facts.kind
        self._explain()
        self.hint_line.show_hint(advise(facts))
        self.steps_row.show_states(step_states(facts))
        self.guide.offer_sample(not facts.image)
        self._point()

    def _explain(self) -> None:
        step = step_named(self._session.step)
        self.guide.show_step(STEPS.index(step) + 1, step, self._kind)

    def _point(self) -> None:
        """Ring what is to be pressed next, while the guide is open."""
        hint, target = self.hint, None
        if not self.guide.isHidden() and self._stack.count():
            here = hint.step == self._session.step
            target = find_button(self.page, hint.action) if here else None
            target = self.steps_row.buttons[hint.step] if not here else target
        if target is not self.spotlight.button and target is not None:
            self._bring_into_sight(target)
        self.spotlight.move_to(target)

    def _bring_into_sight(self, button: QWidget) -> None:
        for area in self.page.findChildren(QScrollArea):
            content = area.widget()
            if content is not None and content.isAncestorOf(button):
                area.ensureWidgetVisible(button)


def _broken(step: Step, error: Exception) -> QWidget:
    page = QWidget()
    column = QVBoxLayout(page)
    message = MessageLine()
    message.fail(
        f"The step {step.title} could not be opened: {type(error).__name__}: {error}. "
        "The other steps work on.",
        "".join(traceback.format_exception(error)),
    )
    column.addWidget(message)
    column.addStretch(1)
    return page
