"""The dock widget that trains a network on the painted labels of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent

from napari_jnet.config import Config
from napari_jnet.config.plans import Hardware
from napari_jnet.events import EpochEnd
from napari_jnet.plugin.forms import small_label
from napari_jnet.plugin.job_widget import JobWidget
from napari_jnet.plugin.keys import bind_keys
from napari_jnet.plugin.session import Session, TrainingStatus, same
from napari_jnet.plugin.train.advisor import Advisor
from napari_jnet.plugin.train.buttons import TrainButtons
from napari_jnet.plugin.train.checks import TrainingChecks
from napari_jnet.plugin.train.feed import FrameFeed, labels_now
from napari_jnet.plugin.train.footer import HintsLine, TrainFooter
from napari_jnet.plugin.train.forms import TrainForms
from napari_jnet.plugin.train.jobs import DeviceFound, Past, training
from napari_jnet.plugin.train.monitor import TrainingMonitor
from napari_jnet.plugin.train.painted_meanwhile import PaintedMeanwhile
from napari_jnet.plugin.train.preflight import Problem, TrainingFacts
from napari_jnet.plugin.train.preview import PlacedPreview, PreviewLayer, PreviewSource
from napari_jnet.plugin.train.recipes import train_command, train_script
from napari_jnet.plugin.train.round_end import Rounds
from napari_jnet.plugin.train.run_places import RunPlaces
from napari_jnet.plugin.worker import Relay, window_threads

if TYPE_CHECKING:
    import napari

__all__ = ["TrainWidget"]


class TrainWidget(JobWidget):
    """Trains a network in the background; the window stays alive.

    Parameters
    ----------
    napari_viewer
        The viewer whose layers are learned from.
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(napari_viewer)
        session, lifetime = self._session, self._lifetime
        self._source: PreviewSource | None = None
        self._preview: PreviewLayer | None = None
        self._feed: FrameFeed | None = None
        self._run: Path | None = None
        self._stop_asked = False
        self._hardware = Hardware(cores=window_threads())
        groups = self._group("Learn from"), self._group("Train")
        self._setup = [form.parentWidget() for form in groups]
        self.forms = TrainForms(*groups, session, lifetime)
        self.learn_from = self.forms.learn_from
        self.image_combo = self.learn_from.image_combo
        self.labels_combo = self.learn_from.labels_combo
        self.network_form, self.run_form = self.forms.network, self.forms.run
        self.monitor = TrainingMonitor(self.progress, self.message)
        self.plot, self.score_line = self.monitor.plot, self.monitor.score_line
        forms = (self.network_form, self.run_form)
        self.checks = TrainingChecks(
            session, lifetime, forms, self._facts, self._checked, self.show_error
        )
        self.rounds = Rounds(session, self._relay)
        self._meanwhile = PaintedMeanwhile(session.book, lifetime)
        self._places = RunPlaces(session, lifetime, self.run_form, self._refuse)
        self._lower_part()
        self.advisor = Advisor(
            session,
            lifetime,
            self.network_form,
            device_found=self._device_found,
            past_found=self._past_found,
            busy=lambda: self.running,
        )
        lifetime.connect(napari_viewer.dims.events.current_step, self._follow_viewer)
        lifetime.connect(session.fine_tuning.changed, self._model_changed)
        lifetime.connect(session.annotation_changed, self._other_labels)
        self.network_form.changed.connect(self._ask)
        lifetime.at_end(lambda: session.fine_tuning.ask({}))
        lifetime.connect(session.training_changed, self._training_changed)
        lifetime.at_end(_forget(session, self._relay))
        bind_keys(session, {"train": self.press}, lifetime)
        self._model_changed()

    def _lower_part(self) -> None:
        self.device_line = small_label("Device: looking…")
        self.buttons = TrainButtons(self.stop_button, self.command, self.script)
        self.train_button = self.buttons.train
        self.buttons.train.clicked.connect(lambda: self.start())
        self.buttons.fine_tune.clicked.connect(lambda: self.start(fine_tune=True))
        self.buttons.go_on.clicked.connect(self.go_on)
        self.buttons.pause.clicked.connect(self.toggle_pause)
        self.buttons.copied.connect(lambda what: self.message.say(f"{what} copied."))
        self.buttons.failed.connect(self.show_error)
        self.column.insertWidget(0, self.rounds.panel)  # news: seen without scrolling
        for part in (self.checks.list, self.device_line, self.monitor):
            self.column.addWidget(part)
        self.column.addStretch(1)
        self.hints_line = HintsLine(self.checks.list, self._area)
        outer = self.layout()
        assert outer is not None
        outer.addWidget(TrainFooter(self.hints_line, self.buttons, self.progress, self.message))
        self._set_running(False)

    # what scripts use

    @property
    def running(self) -> bool:
        """Whether a training is under way, or its project is being made."""
        return self._relay.running or self._places.waiting

    @property
    def paused(self) -> bool:
        """Whether a training rests."""
        return self._relay.paused

    def set_image(self, layer: Any) -> None:
        """Choose the image layer."""
        self.learn_from.image_combo.set_layer(layer)

    def set_labels(self, layer: Any) -> None:
        """Choose the labels layer."""
        self.learn_from.labels_combo.set_layer(layer)

    def set_values(self, **values: Any) -> None:
        """Fill in the form; see `TrainForms.set_values`."""
        self.forms.set_values(**values)
        self._ask()
        self.checks.now()

    def start(self, *, fine_tune: bool = False) -> None:
        """Start training, as the buttons do; problems are said in the widget.

        Parameters
        ----------
        fine_tune
            Whether to go on from the model of the session, with all that is painted now.
        """
        if self.running:
            return
        try:
            start_from = self.forms.start_from(fine_tune=fine_tune)
            blocking = [problem for problem in self.checks.now() if problem.blocking]
            if blocking:
                raise ValueError(blocking[0].text)
            self._refuse_second()
            resume = self.run_form.resume and not fine_tune
            config = self.network_form.config(fine_tune=start_from is not None, resume=resume)
            self._places.find(
                lambda run: self._begin(run, config, resume=resume, start_from=start_from)
            )
        except (ValueError, OSError) as error:
            self._refuse(error)

    def go_on(self, *_: Any) -> None:
        """Go on with the last training that was stopped, for the time it had left."""
        run = self.buttons.resumable
        if self.running or run is None:
            return
        try:
            computer = self.network_form.computer()
        except ValueError as error:
            self._refuse(error)
            return
        self._begin(run, computer, resume=True, start_from=None)

    def _refuse_second(self) -> None:
        if self._trains_elsewhere:
            raise ValueError("A training runs in another Train window; stop it there first.")

    @property
    def _trains_elsewhere(self) -> bool:
        return self._session.training.state != "idle" and not self.running

    def press(self) -> None:
        """Do what comes next, for the key: fine-tune where that can work, else train."""
        self.start(fine_tune=self._session.fine_tuning.possible)

    def toggle_pause(self, *_: Any) -> None:
        """Let the training rest, or go on."""
        if not self._relay.running or self._relay.stopping:
            return
        paused = not self._relay.paused
        self._relay.pause() if paused else self._relay.unpause()
        self.buttons.show_paused(paused)
        self.progress.setFormat("paused · %p %" if paused else "going on…")
        self._tell("paused" if paused else "running")

    def stop(self) -> None:
        """Ask the training to stop; `finished` follows."""
        if self._relay.running:
            self._stop_asked = True
            self.buttons.pause.setEnabled(False)
            self._tell("stopping")
        super().stop()

    def command(self, *, fine_tune: bool = False) -> str:
        """Return the line for a terminal that does what Train would do; see `script`."""
        return train_command(self.forms.recipe(fine_tune=fine_tune))

    def script(self, *, fine_tune: bool = False) -> str:
        """Return a Python script that does what Train would do.

        Raises
        ------
        ValueError
            If there is no project that the labels are saved in, or no model to fine-tune.
        """
        return train_script(self.forms.recipe(fine_tune=fine_tune))

    # what a training is made of

    def _begin(self, run: Path, config: Config, *, resume: bool, start_from: Path | None) -> None:
        image = self._session.image
        try:
            self._refuse_second()
            self._feed = feed = FrameFeed(labels_now(self._session))
        except (ValueError, OSError) as error:
            self._refuse(error)
            return
        self._run, self._stop_asked = run, False
        self._device = config.training.device
        self._preview = PreviewLayer(self._viewer, image, self._preview)
        self._source = PreviewSource(image, ())
        self._preview.follow(self._source)
        self.monitor.begin()
        self.rounds.begin(run)
        self._meanwhile.begin(feed)
        job = training(feed, run, config, resume, start_from, self._source)
        self._start(job, f"training on {image.name}")
        self._tell("running")

    def _refuse(self, error: Exception) -> None:
        self._set_running(False)
        self.show_error(error)
        self.finished.emit("failed")

    def _facts(self) -> TrainingFacts:
        return self.forms.facts(self._hardware)

    # what changes around the form

    def _checked(self, problems: list[Problem]) -> None:
        self.buttons.set_blocking([problem for problem in problems if problem.blocking])
        self.buttons.set_model(self._session.model, self._session.fine_tuning.why_not)

    def _model_changed(self, _path: Any = None) -> None:
        self.checks.now()  # tells the buttons too
        if self._session.model is not None:
            self.run_form.offer_model(self._session.model)

    def _ask(self) -> None:
        self._session.fine_tuning.ask(self.forms.asked())

    def _other_labels(self, _layer: Any) -> None:
        """Let go of the runs of other labels; those of these labels' project are read then."""
        self.advisor.present = None
        self.buttons.offer(None)
        panel = self.rounds.panel  # what it says and offers is of the labels that were learned from
        panel.setVisible(bool(panel.text) and same(self.rounds.labels(), self._session.annotation))

    def _training_changed(self, status: TrainingStatus) -> None:
        """Offer nothing while another widget trains, and what there is then."""
        elsewhere = self._trains_elsewhere
        if elsewhere != self.buttons.elsewhere:
            self.buttons.set_elsewhere(elsewhere)
            if not elsewhere and status.state == "idle":
                self.advisor.read_runs()

    def _follow_viewer(self, _event: Any = None) -> None:
        if self.running and self._preview is not None and self._source is not None:
            self._preview.follow(self._source)

    def showEvent(self, event: QShowEvent) -> None:
        """Look the device up once the widget is on the screen: this is the first use of torch."""
        super().showEvent(event)
        QTimer.singleShot(0, self.advisor.ask)

    def _device_found(self, found: DeviceFound | Exception) -> None:
        if isinstance(found, Exception):
            self.device_line.setText(f"Device: unknown ({found})")
            return
        if not self.running:
            self.device_line.setText(f"Device: {found.line}")
        self._hardware = found.hardware
        self.network_form.set_hardware(found.hardware)

    def _past_found(self, past: Past) -> None:
        if not self.running:
            self.plot.show_earlier(past.earlier)
            self.buttons.offer(past.last)

    # what the training tells

    def _tell(self, state: str, outcome: str = "") -> None:
        self._session.training = TrainingStatus(
            state,
            self._run,
            self.monitor.epoch,
            self.monitor.part,
            outcome,
            self.rounds.labels,
        )

    def _on_event(self, event: Any) -> None:
        if isinstance(event, PlacedPreview):
            if self._preview is not None:
                self._preview.show(event)
            return
        self.monitor.take(event)
        if self._relay.paused:  # the last events before the rest
            self.progress.setFormat("paused · %p %")
        if self.monitor.device:
            self.device_line.setText(f"Device: {self.monitor.device}")
        if isinstance(event, EpochEnd):
            self._tell(self._session.training.state)

    def _set_running(self, running: bool) -> None:
        super()._set_running(running)
        if hasattr(self, "buttons"):  # the base class begins with this
            self.buttons.set_running(running)
            for group in self._setup:  # the curves need the room, and nothing there acts now
                group.setVisible(not running)
            self.checks.list.fold(running)
            bar = self._area.verticalScrollBar()
            assert bar is not None
            bar.setValue(0)

    def _end(self, outcome: str) -> None:
        self._source = None
        self._meanwhile.end()
        if outcome == "stopped" and self._run is not None:
            self.monitor.stopped(self._run, self._session.project)
        if outcome == "failed" or self._feed is None:
            self._ended(outcome)
            return
        seen = not self.left and (outcome == "done" or self._stop_asked)
        self.buttons.pause.setEnabled(False)
        self.stop_button.setEnabled(True)
        self.stop_button.setText("Skip")
        self.progress.setFormat("comparing with the model before…")
        self.rounds.end(self._feed, self._device, compare=seen, then=lambda: self._ended(outcome))

    def _ended(self, outcome: str) -> None:
        self._feed = None
        self._tell("idle", outcome)
        self.checks.now()
        if same(self.rounds.labels(), self._session.annotation):
            self.advisor.present = self._run
        self.advisor.read_runs()
        super()._end(outcome)
        if outcome != "failed" and self.rounds.panel.isHidden():  # else that is the news
            self.bring_into_sight(self.plot)


def _forget(session: Session, relay: Relay) -> Callable[[], None]:
    """Return what says, when the widget is gone with its training, that nothing is trained."""

    def forget() -> None:
        if relay.running:
            session.training = TrainingStatus(run=session.training.run, outcome="stopped")

    return forget
