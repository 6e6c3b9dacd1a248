"""Whether the model of a viewer can go on learning from its labels: said before it is offered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_jnet.config import Config
from napari_jnet.data.fitting import misfit
from napari_jnet.data.readable import read_json
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.forms import words
from napari_jnet.plugin.layers import image_stack
from napari_jnet.plugin.torch_loading import load_torch

__all__ = ["FineTuning"]

_DECIDED = {"in_channels", "distance_scale", "legend"}  # by the frames and the loss
_AUTOMATIC = {
    "resolution_levels",
    "dt_bound",
    "classes",
}  # by the frames, where they have their default
_TITLES = {
    "name": "Network",
    "structure": "Network",
    "resolution_levels": "Training resolution",
    "dt_bound": "Distance bound",
}


class FineTuning:
    """Knows the network of the session's model; the labels are asked when somebody asks.

    Parameters
    ----------
    session
        Of the viewer.

    Attributes
    ----------
    changed
        Emitted when another model is there, or one is read.
    """

    changed = Signal()

    def __init__(self, session: Any) -> None:
        self._session = session
        self._config: Config | None = None
        self._asked: dict[str, Any] = {}
        self._refused = ""
        self._background = Background("napari-jnet start model")
        session.model_changed.connect(self._read)

    @property
    def possible(self) -> bool:
        """Whether Fine-tune can work now."""
        return self._config is not None and not self.misfit

    def ask(self, settings: Mapping[str, Any]) -> None:
        """Know what somebody has chosen of the network and the targets, as ``section.field``."""
        if settings != self._asked:
            self._asked = dict(settings)
            self.changed.emit()

    @property
    def misfit(self) -> str:
        """Why the model cannot learn from the labels, and what to do; "" if it can, or none is known."""
        session, config = self._session, self._config
        if config is None or session.image is None or session.annotation is None:
            return self._refused
        book = session.book
        cells = book.kind is LabelKind.INSTANCES
        painted = () if cells else (len(book.facts(p).pixels) for p in book.annotated)
        return self._other_network(config) or misfit(
            config.network,
            _name(session.model),
            kind=LabelKind.INSTANCES if cells else LabelKind.CLASSES,
            largest=max(painted, default=1) - 1,
            channels=_channels(session.image),
        )

    @property
    def why_not(self) -> str:
        """Why Fine-tune cannot work now; "" if it can."""
        if self._session.model is None:
            return "There is no model to fine-tune yet; press Train first."
        if self._config is None and not self._refused:
            return f"{_name(self._session.model)} is still being read; press Fine-tune in a moment."
        return self.misfit

    def _other_network(self, config: Config) -> str:
        """Say which settings of the form ask for another network than the model has."""
        mine, default = config.to_dict(), Config().to_dict()
        others = []
        for name, value in json.loads(json.dumps(self._asked)).items():
            section, _, key = name.partition(".")
            automatic = key in _DECIDED or (key in _AUTOMATIC and value == default[section][key])
            if not automatic and value != json.loads(json.dumps(mine[section][key])):
                others.append(_TITLES.get(key) or words(key))
        if not others:
            return ""
        named = ", ".join(dict.fromkeys(others))
        return (
            f"{_name(self._session.model)} has another network than is chosen above ({named}). Choose what "
            "it has, or train from scratch."
        )

    def _read(self, _path: str = "") -> None:
        """Read what kind of network the model is: of a run at once, of a single file in a thread."""
        path = self._session.model
        self._config, self._refused = None, ""
        if path is not None:
            try:
                self._config = _of_run(path)
            except (OSError, ValueError, TypeError, AttributeError):
                self._read_file(path)
        self.changed.emit()

    def _read_file(self, path: Path) -> None:
        def read() -> Config:
            load_torch()
            from napari_jnet.checkpoint import read_start

            return read_start(path)

        def told(found: Config | Exception) -> None:
            if path != self._session.model:
                return
            if isinstance(found, Exception):
                self._refused = str(found)
            else:
                self._config = found
            self.changed.emit()

        self._background.submit(read, told, told)


def _of_run(path: Path) -> Config:
    """Read the configuration of a run; raises where there is none that can be read."""
    folder = path.parent if path.name == "model.pt" else path
    if not (folder / "model.pt").is_file():
        raise FileNotFoundError(folder)
    return Config.from_saved(read_json(folder / "config.json"))


def _name(path: Path) -> str:
    if path.name == "model.pt":
        path = path.parent
    return f"run {path.name}" if path.name.isdigit() else path.name


def _channels(image: Any) -> int:
    try:
        stack = image_stack(image)
    except ValueError:  # said where it is trained on
        return 1
    return int(stack.shape[-1]) if stack.axes.endswith("C") else 1
