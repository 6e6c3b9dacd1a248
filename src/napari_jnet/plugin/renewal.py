"""Cells anew from the stored maps when a threshold changes: first the visible frame."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig
from napari_jnet.plugin.results import Results
from napari_jnet.plugin.worker import Relay

__all__ = ["Renewal"]


@dataclass(frozen=True, eq=False)
class _Renewed:
    position: int
    cells: NDArray[np.int32]


class Renewal:
    """Runs the latest wish only: a new one replaces the one under way."""

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._relay = Relay()
        self._on_error = on_error
        self._wish: tuple[Results, InstanceConfig] | None = None

    @property
    def running(self) -> bool:
        """Whether cells are being renewed."""
        return self._relay.running

    def close(self) -> None:
        """Stop and wait."""
        self._wish = None
        self._relay.close()

    def request(self, results: Results, config: InstanceConfig) -> None:
        """Renew the cells of all predicted frames that nobody painted on."""
        self._wish = results, config
        if self._relay.running:
            self._relay.stop()
        else:
            self._begin()

    def _begin(self, _value: Any = None) -> None:
        if self._wish is None:
            return
        results, config = self._wish
        self._wish = None
        shown = results.shown()
        order = sorted(set(results.done) - results.edited, key=lambda p: (p != shown, p))

        def job() -> Generator[_Renewed, None, None]:
            from napari_jnet.instances import separate

            for position in order:
                yield _Renewed(position, separate(*results.maps(position), config, results.bound))

        def write(event: _Renewed) -> None:
            # painted on meanwhile: the brush wins
            if event.position not in results.edited:
                results.write_cells(event.position, event.cells, config.segmentation_threshold)

        self._relay.start(
            job, write, self._begin, self._failed, self._begin, title="separating cells"
        )

    def _failed(self, error: Exception) -> None:
        self._on_error(error)
        self._begin()
