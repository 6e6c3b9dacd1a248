"""What a prediction tells, taken into the layers and the book of the viewer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari_jnet.config import Config, InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.events import FrameLeftOut, FramePrediction, Notice
from napari_jnet.plugin.predict.batch import BatchFrame
from napari_jnet.plugin.predict.jobs import (
    ClassPixels,
    Exported,
    LayerWanted,
    ModelReady,
    Unsure,
)
from napari_jnet.plugin.predict.overlays import Visibility
from napari_jnet.plugin.predict.results import Results, add_results
from napari_jnet.plugin.predict.scopes import Work
from napari_jnet.plugin.predict.told import Told
from napari_jnet.plugin.session import Session, same
from napari_jnet.plugin.ui.form import Form

__all__ = ["Arrival"]

Target = tuple[Any, Stack, Work]
Progress = Callable[[int, int, str], None]


class Arrival:
    """Takes the events of one job after the other; used in the window's thread.

    Parameters
    ----------
    session
        Of the viewer; learns the results.
    visibility
        Of the overlays.
    separation
        The sliders; they take the thresholds of the model until somebody moves them.
    progress
        Is told frames done, frames in all, and words.

    Attributes
    ----------
    results
        Of the last prediction into layers, or None.
    told
        What there is to say at the end.
    """

    def __init__(
        self,
        session: Session,
        visibility: Visibility,
        separation: Form,
        progress: Progress,
    ) -> None:
        self.results: Results | None = None
        self.told = Told()
        self._session, self._visibility = session, visibility
        self._separation, self._progress = separation, progress
        self._target: Target | None = None
        self._sent: InstanceConfig | None = None
        self._used = InstanceConfig()

    def expect(
        self, target: Target | None, sent: InstanceConfig | None = None, first: str = ""
    ) -> None:
        """Say what the next job is of.

        Parameters
        ----------
        target
            Image layer, stack and what of it; None where no layer changes.
        sent
            The thresholds that the job uses; None for those of the model.
        first
            What is said first at the end.
        """
        self._target, self._sent, self.told = target, sent, Told(first)

    def take(self, event: Any) -> None:
        """Take one event."""
        handlers: dict[type, Callable[[Any], None]] = {
            FramePrediction: self._frame,
            FrameLeftOut: self._left_out,
            Unsure: self._unsure,
            ClassPixels: lambda counted: self.told.count_classes(counted.pixels),
            Notice: lambda notice: self.told.add(notice.text),
            ModelReady: self._model_ready,
            LayerWanted: self._layer_wanted,
            BatchFrame: self._batch_frame,
            Exported: lambda e: self._progress(e.done, e.count, f"written {e.done} of {e.count}"),
        }
        handlers[type(event)](event)

    def text(self, stopped: bool) -> str:
        """Return what there is to say at the end."""
        part = self._target is not None and self._target[2].region is not None
        return self.told.text(part, stopped)

    def to_renew(self) -> list[int] | None:
        """Return positions to separate anew at the end: regions that met, or moved sliders.

        None for all positions.
        """
        if self._target is None or self.results is None:
            return []
        if self._separation.touched and self._sent != self._separation.config.instances:
            return None
        return [p for p, regions in self.results.parts.items() if len(regions) > 1]

    def _model_ready(self, event: ModelReady) -> None:
        if not self._separation.touched:
            self._separation.config = Config(instances=event.instances)
        self._used = self._sent or event.instances
        self.told.device = event.device
        if self._target is None:
            return
        image, stack, work = self._target
        before, positions = self.results, work.positions(stack)
        if before is not None:  # who shows what was found in them hears that they become others
            self._session.results_changed.emit(before)
        self.results = add_results(
            self._session.viewer,
            before,
            image,
            stack,
            event.bound,
            event.key,
            positions,
            event.answer,
        )
        event.missing.extend(self.results.missing)
        event.taken.set()
        self._visibility.show_in(positions)
        self._visibility.put_preview_away()
        if before is not None and before is not self.results and before.edited:
            self.told.add("The cells that you painted on are kept in the earlier layers.")

    def _layer_wanted(self, event: LayerWanted) -> None:
        assert self.results is not None
        self.results.make(event.name)
        event.made.set()

    def _frame(self, event: FramePrediction) -> None:
        assert self.results is not None
        self.results.write(event, self._used.segmentation_threshold)
        self._session.results = self.results
        if event.position in self.results.edited:
            self.told.add("What you painted on while this ran is kept as it is, without new cells.")
        self.told.count(int(event.instances.max(initial=0)))
        self._further(event.count)

    def _left_out(self, event: FrameLeftOut) -> None:
        self.told.left_out.append(event)
        self._further(event.count)

    def _further(self, count: int) -> None:
        done = self.told.frames + len(self.told.left_out)
        self._progress(done, count, f"frame {done} of {count}")

    def _unsure(self, event: Unsure) -> None:
        assert self._target is not None
        book = self._session.book  # of the image that is worked on
        if same(self._target[0], self._session.image) and event.position < len(book):
            book.set_uncertainty({event.position: event.bits})

    def _batch_frame(self, event: BatchFrame) -> None:
        self.told.count(event.cells)
        self.told.count_classes(event.classes)
        words = f"{event.stack}: frame {event.done} of {event.count}"
        self._progress(event.done, event.count, words)
