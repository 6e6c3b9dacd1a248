"""Cells anew from the stored maps when a threshold changes: the visible frame, then the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_jnet.config import InstanceConfig
from napari_jnet.plugin.predict.results import Results
from napari_jnet.plugin.worker import JobMaker, Relay

__all__ = ["Renewal"]


@dataclass(frozen=True, eq=False)
class _Renewed:
    position: int
    cells: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Wish:
    results: Results
    config: InstanceConfig
    positions: tuple[int, ...]


class Renewal:
    """Runs the latest wish only: a new one replaces the one under way.

    The visible frame has a thread of its own: it never waits for another frame, however large the
    stack.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._shown, self._others = Relay(), Relay()
        self._on_error = on_error
        self._wish: _Wish | None = None  # of the visible frame, as soon as it can begin
        self._rest: _Wish | None = None  # of the others, when the visible one is there

    @property
    def running(self) -> bool:
        """Whether cells are being renewed."""
        return self._shown.running or self._others.running

    def close(self) -> None:
        """Stop and wait."""
        self._wish = self._rest = None
        self._shown.close()
        self._others.close()

    def request(
        self, results: Results, config: InstanceConfig, positions: Collection[int] | None = None
    ) -> None:
        """Renew the cells of predicted frames that nobody painted on; of all, or at positions."""
        wanted = set(results.done) if positions is None else set(positions) & set(results.done)
        self._wish = _Wish(results, config, tuple(sorted(wanted - results.edited)))
        self._rest = None
        self._others.stop()
        if not self._shown.running:
            self._begin()

    def _begin(self, _value: Any = None) -> None:
        wish, self._wish = self._wish, None
        if wish is None:
            self._begin_others()
            return
        shown = wish.results.shown()
        self._rest = _Wish(wish.results, wish.config, _without(wish.positions, shown))
        if shown not in wish.positions:
            self._begin_others()
            return
        self._run(self._shown, wish, (shown,), self._begin)

    def _begin_others(self, _value: Any = None) -> None:
        if self._rest is None or self._others.running or self._shown.running:
            return
        rest, self._rest = self._rest, None
        if rest.positions:
            self._run(self._others, rest, rest.positions, self._begin_others)

    def _run(
        self,
        relay: Relay,
        wish: _Wish,
        positions: Sequence[int],
        go_on: Callable[..., None],
    ) -> None:
        results, config = wish.results, wish.config

        def write(event: _Renewed) -> None:
            # painted on, or wished otherwise, meanwhile
            if event.position not in results.edited and not relay.stopping:
                results.write_cells(event.position, event.cells, config.segmentation_threshold)

        def failed(error: Exception) -> None:
            self._on_error(error)
            go_on()

        job = _separating(results, config, positions)
        relay.start(job, write, go_on, failed, go_on)


def _separating(results: Results, config: InstanceConfig, positions: Sequence[int]) -> JobMaker:
    def job() -> Generator[_Renewed, None, None]:
        from napari_jnet.instances import separate

        for position in positions:
            yield _Renewed(position, separate(*results.maps(position), config, results.bound))

    return job


def _without(positions: tuple[int, ...], position: int) -> tuple[int, ...]:
    return tuple(p for p in positions if p != position)
