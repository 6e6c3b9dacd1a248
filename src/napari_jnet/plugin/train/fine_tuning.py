"""Whether the model of a viewer can go on learning from its labels: said before it is offered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from psygnal import Signal

from napari_jnet.config import Config, NetworkConfig
from napari_jnet.data.fitting import misfit
from napari_jnet.data.stack import LabelKind
from napari_jnet.plugin.background import Background
from napari_jnet.plugin.layers import image_stack
from napari_jnet.plugin.torch_loading import load_torch

__all__ = ["FineTuning"]


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
        self._network: NetworkConfig | None = None
        self._refused = ""
        self._background = Background("napari-jnet start model")
        session.model_changed.connect(self._read)

    @property
    def possible(self) -> bool:
        """Whether Fine-tune can work now."""
        return self._network is not None and not self.misfit

    @property
    def misfit(self) -> str:
        """Why the model cannot learn from the labels, and what to do; "" if it can, or none is known."""
        session, network = self._session, self._network
        if network is None or session.image is None or session.annotation is None:
            return self._refused
        book = session.book
        cells = book.kind is LabelKind.INSTANCES
        painted = () if cells else (len(book.facts(p).pixels) for p in book.annotated)
        return misfit(
            network,
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
        if self._network is None and not self._refused:
            return f"{_name(self._session.model)} is still being read; press Fine-tune in a moment."
        return self.misfit

    def _read(self, _path: str = "") -> None:
        """Read what kind of network the model is: of a run at once, of a single file in a thread."""
        path = self._session.model
        self._network, self._refused = None, ""
        if path is not None:
            try:
                self._network = _of_run(path)
            except (OSError, ValueError, TypeError, AttributeError):
                self._read_file(path)
        self.changed.emit()

    def _read_file(self, path: Path) -> None:
        def read() -> NetworkConfig:
            load_torch()
            from napari_jnet.checkpoint import read_start

            return read_start(path).network

        def told(found: NetworkConfig | Exception) -> None:
            if path != self._session.model:
                return
            if isinstance(found, Exception):
                self._refused = str(found)
            else:
                self._network = found
            self.changed.emit()

        self._background.submit(read, told, told)


def _of_run(path: Path) -> NetworkConfig:
    """Read the configuration of a run; raises where there is none that can be read."""
    folder = path.parent if path.name == "model.pt" else path
    if not (folder / "model.pt").is_file():
        raise FileNotFoundError(folder)
    return Config.from_dict(
        json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ).network


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
