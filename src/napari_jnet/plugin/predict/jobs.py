"""What Predict does in the worker thread: open a model, predict frames, write results."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_jnet.config import InstanceConfig
from napari_jnet.data.stack import Stack
from napari_jnet.events import FramePrediction, Notice
from napari_jnet.plugin.predict.result_layers import Answer
from napari_jnet.plugin.predict.results import Results
from napari_jnet.plugin.predict.scopes import Work
from napari_jnet.plugin.torch_loading import load_torch
from napari_jnet.plugin.worker import JobMaker, window_threads

if TYPE_CHECKING:
    from napari_jnet.checkpoint import Model

__all__ = [
    "ClassPixels",
    "Exported",
    "LayerWanted",
    "ModelReady",
    "ModelShelf",
    "Unsure",
    "class_pixels",
    "exporting",
    "facts_wanted",
    "opened_model",
    "predicting",
]

_PATIENCE_S = 0.5  # a window that closes answers no more


@dataclass(frozen=True)
class ModelReady:
    """The model is open; its frames follow."""

    key: tuple[Any, ...]
    bound: float
    instances: InstanceConfig
    device: str
    answer: Answer = field(default_factory=Answer)
    missing: list[str] = field(default_factory=list)  # layers to make, as the window answers
    taken: Event = field(default_factory=Event, compare=False)


@dataclass(frozen=True)
class LayerWanted:
    """Time to make one more result layer; one at a time, so that the window stays alive."""

    name: str
    made: Event = field(default_factory=Event, compare=False)


@dataclass(frozen=True)
class Unsure:
    """How unsure the network is of a frame, in bits a pixel."""

    position: int
    bits: float


@dataclass(frozen=True)
class ClassPixels:
    """How much of what is predicted belongs to each class."""

    pixels: dict[str, int]  # by name, background first


@dataclass(frozen=True)
class Exported:
    """One more frame is on disk."""

    done: int
    count: int


class ModelShelf:
    """Keeps the model that was opened last, so that the next frame does not open it again."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._model: Model | None = None

    def get(self, path: Path, facts: dict[str, Any]) -> tuple[tuple[Any, ...], Model]:
        """Open a model, in the worker thread; a file that has changed is opened anew."""
        from napari_jnet.checkpoint import load_model, model_file

        file = model_file(path)
        changed = file.stat().st_mtime_ns if file.exists() else 0
        key = (str(file), changed, facts["resolution_levels"], facts["dt_bound"])
        if self._model is None or key != self._key:
            self._model = None
            self._model, self._key = load_model(path, **facts), key
        return key, self._model


def facts_wanted(path: Path) -> tuple[tuple[str, ...], int]:
    """Return what a file of the original J-Net does not hold, see `missing_facts`; called in a thread."""
    load_torch()
    from napari_jnet.checkpoint import missing_facts

    return missing_facts(path)


def opened_model(shelf: ModelShelf, path: Path, facts: dict[str, Any]) -> tuple[ModelReady, Model]:
    """Open a model in the worker thread, and leave a core to the window."""
    load_torch()
    from napari_jnet.device import describe_device, use_threads

    use_threads(window_threads())
    key, model = shelf.get(path, facts)
    where = describe_device(model.device)
    network = model.config.network
    answer = Answer(network.classes, network.distance, model.config.targets.legend)
    return ModelReady(key, model.dt_bound, model.config.instances, where, answer), model


def class_pixels(prediction: FramePrediction, answer: Answer, threshold: float) -> dict[str, int]:
    """Count the pixels of each class, by its name; nothing where single cells are meant."""
    if not answer.areas:
        return {}
    if prediction.classes is not None:
        counts = np.bincount(prediction.classes.ravel(), minlength=len(answer.names))
    else:
        foreground = int((prediction.segmentation > threshold).sum())
        counts = np.array([prediction.segmentation.size - foreground, foreground])
    return {name: int(count) for name, count in zip(answer.names, counts, strict=False)}


def predicting(
    shelf: ModelShelf,
    path: Path,
    facts: dict[str, Any],
    stack: Stack,
    work: Work,
    instances: InstanceConfig | None,
) -> JobMaker:
    """Make the job that opens a model and predicts frames of a stack, or a region of them."""

    def job() -> Generator[Any, None, None]:
        load_torch()
        from napari_jnet.inference_readable import predict_readable
        from napari_jnet.uncertainty import frame_uncertainty

        ready, model = opened_model(shelf, path, facts)
        frames, region, shown = work.numbers, work.region, False
        for event in predict_readable(
            model, stack, frames=frames, instances=instances, region=region
        ):
            if isinstance(event, FramePrediction) and not shown:  # layers only for what is there
                yield from _ready_layers(ready)
                shown = True
            yield event
            if not isinstance(event, FramePrediction):
                continue
            threshold = (instances or ready.instances).segmentation_threshold
            if counted := class_pixels(event, ready.answer, threshold):
                yield ClassPixels(counted)
            if event.region is None:
                yield Unsure(event.position, frame_uncertainty(event.segmentation))

    return job


def _ready_layers(ready: ModelReady) -> Generator[ModelReady | LayerWanted, None, None]:
    yield ready
    ready.taken.wait(_PATIENCE_S)
    for name in ready.missing:
        wanted = LayerWanted(name)
        yield wanted
        wanted.made.wait(_PATIENCE_S)


def exporting(results: Results, folder: Path) -> Generator[Exported | Notice, None, None]:
    """Write the predicted frames of some results to a folder."""
    from napari_jnet.export import ResultWriter

    positions = sorted(results.done)
    numbers = [results.done[position] for position in positions]
    with ResultWriter(folder, results.stack, numbers) as writer:
        for written, position in enumerate(positions, start=1):
            writer.write(results.prediction(position))
            yield Exported(written, len(positions))
    if writer.notice:
        yield Notice(writer.notice)
