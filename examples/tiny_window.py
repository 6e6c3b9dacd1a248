"""A napari widget that opens a stack, trains on its labels and predicts all its frames.

Run it with ``python examples/tiny_window.py``, or copy and change it: it uses napari, magicgui and the
public names of `napari_jnet` only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import Any

import magicgui.widgets as mw
import napari
import numpy as np
from napari.layers import Image, Labels
from napari.qt.threading import thread_worker
from napari.utils.notifications import show_info

import napari_jnet as nj

StartJob = Callable[[], Generator[Any, None, None]]


@thread_worker(ignore_errors=True)  # they are shown as the status
def run_in_thread(start: StartJob, stop: threading.Event) -> Iterator[Any]:
    """Yield the events of a job to the window until the job ends or is stopped.

    Closing its generator stops a job.  This is done here, in the thread of the job, because a
    training then saves what is needed to resume it.
    """
    try:
        with closing(start()) as events:
            for event in events:
                yield event
                if stop.is_set():
                    return
    except RuntimeError as error:  # every torch error; the worker would not report this type
        raise OSError(str(error)) from error


class TinyWindow(mw.Container):
    """Fields and buttons for one stack; predictions become layers.

    Parameters
    ----------
    viewer
        The viewer that shows the layers.
    settings
        Training settings besides the time, such as ``{"network.channels": 16}``.
    """

    def __init__(self, viewer: napari.Viewer, settings: dict[str, Any] | None = None) -> None:
        self._viewer = viewer
        self._settings = settings or {}
        self._stop = threading.Event()
        self.path = mw.FileEdit(mode="d", label="Stack")
        self.image = mw.create_widget(annotation=Image, label="Image")
        self.cells = mw.create_widget(annotation=Labels, label="Labelled cells")
        self.run_folder = mw.FileEdit(mode="d", label="Run folder", value="tiny-run")
        self.minutes = mw.FloatSpinBox(value=2.0, min=0.01, max=600.0, step=1.0, label="Minutes")
        self.progress = mw.ProgressBar(max=1000, label="Progress")
        self.status = mw.TextEdit(label="Status", value="Choose an image and its labels.")
        self.status.read_only = True
        self.open_button = mw.PushButton(text="Open stack")
        self.train_button = mw.PushButton(text="Train")
        self.predict_button = mw.PushButton(text="Predict all frames")
        self.stop_button = mw.PushButton(text="Stop", enabled=False)
        stack = (self.path, self.open_button, self.image, self.cells)
        model = (self.run_folder, self.minutes, self.train_button, self.predict_button)
        super().__init__(widgets=[*stack, *model, self.stop_button, self.progress, self.status])
        self.open_button.clicked.connect(self.open)
        self.train_button.clicked.connect(self.train)
        self.predict_button.clicked.connect(self.predict)
        self.stop_button.clicked.connect(self._stop.set)

    def open(self) -> None:
        """Add the frames of a stack, and its labels if it has any, as layers."""
        stack = nj.open_stack(self.path.value)
        frames = np.stack([stack.frame(number) for number in stack.frame_numbers])
        self.image.value = image = self._viewer.add_image(frames, name=stack.name)
        if stack.annotations:
            annotation = stack.annotation()
            labels = np.zeros(frames.shape[: image.ndim], np.int32)
            for number in annotation.frame_numbers:
                labels[stack.frame_numbers.index(number)] = annotation.frame(number)
            self.cells.value = self._viewer.add_labels(labels, name=f"{stack.name} labels")

    def train(self) -> None:
        """Train on the frames that have labels."""
        image, labels, run = self.image.value, self.cells.value, self.run_folder.value
        stack = nj.array_stack(image.data, name=image.name, labels=labels.data, kind="instances")
        settings = {"training.minutes": self.minutes.value, **self._settings}
        # one core is left to the window
        settings.setdefault("training.threads", max(1, (os.cpu_count() or 2) - 1))
        config = nj.preset("unet").replace(settings)
        self._run("Training", lambda: nj.train(nj.annotated_frames(stack), run, config))

    def predict(self) -> None:
        """Segment all frames; each is shown as soon as it is done."""
        image, run = self.image.value, self.run_folder.value
        stack = nj.array_stack(image.data, name=image.name)
        shape = image.data.shape[: image.ndim]  # without colours
        place = {"scale": image.scale, "translate": image.translate, "units": image.units}
        zeros = np.zeros(shape, np.float32)
        self._segmentation = self._viewer.add_image(
            zeros, name="segmentation", contrast_limits=(0, 1), visible=False, **place
        )
        self._instances = self._viewer.add_labels(zeros.astype(int), name="instances", **place)
        self._run("Prediction", lambda: nj.predict(nj.load_model(run), stack))

    def _run(self, name: str, start: StartJob) -> None:
        self._stop.clear()
        self._set_running(True, f"{name} starts ...")
        worker = run_in_thread(start, self._stop)
        worker.yielded.connect(self._show)
        worker.returned.connect(lambda _: self._set_running(False, f"{name} has ended."))
        worker.errored.connect(lambda error: self._set_running(False, str(error)))
        worker.start()

    def _set_running(self, running: bool, status: str) -> None:
        self.status.value = status
        self.stop_button.enabled = running
        for button in (self.open_button, self.train_button, self.predict_button):
            button.enabled = not running

    def _show(self, event: Any) -> None:
        match event:
            case nj.BatchEnd():
                self.progress.value = round(1000 * event.progress)
            case nj.EpochEnd():
                self.status.value = f"Epoch {event.epoch}, loss {event.train_loss:.4f}"
            case nj.FramePrediction():
                shown = {self._segmentation: event.segmentation, self._instances: event.instances}
                for layer, array in shown.items():
                    layer.data.reshape(event.count, *array.shape)[event.position] = array
                    layer.refresh()
                self.progress.value = round(1000 * (event.position + 1) / event.count)
            case nj.Message():
                show_info(event.text)


if __name__ == "__main__":
    viewer = napari.Viewer()
    viewer.window.add_dock_widget(TinyWindow(viewer), name="Tiny window")
    napari.run()
