"""The demo: a small J-Net learns to separate touching cells, in the window, in about a minute.

``python -m napari_jnet.plugin.demo --output DIR`` writes a synthetic sequence, trains on its first
part, predicts the second, which the network has not seen, and scores it.  It presses the same
buttons as a user, through the widgets' public methods.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_jnet.plugin.virtual_screen import has_screen, run_on_virtual_screen

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QDockWidget

    from napari_jnet.events import Scores


PLUGIN = "napari-jnet"


MARK = ".napari-jnet-demo"


# Small enough for a minute on one core, beside the window; the cells are about 30 pixels wide.
SMALL_JNET: dict[str, Any] = {
    "network.resolution_levels": (-3, -2, -1),
    "network.structure": ((6, 24, 3), (2, 8, 3), (2, 8, 3)),
    "training.patch_size": 96,
    "training.batches_per_epoch": 16,
}


MADE = (
    "cells",
    "run",
    "02_RES",
    "probability.tif",
    "distance.tif",
    "instances.tif",
    "history.csv",
    "metrics.json",
    "screenshot.png",
)


WINDOW = (1600, 980)


DOCK_WIDTH = 370


SIDE_BY_SIDE = 1500


"""Width of the window from which the two docks stand beside each other, in pixels."""


def prepare_output(folder: Path) -> None:
    """Make the output folder, or clear what an earlier demo left in it.

    Raises
    ------
    ValueError
        If the folder holds something that no demo has made.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; the demo needs a folder. Give another --output.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).exists():
        raise ValueError(
            f"{folder} is not empty and not from an earlier demo; the demo overwrites its folder. "
            "Give another --output."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in MADE:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    (folder / MARK).write_text("written by napari-jnet demo; its next run clears this folder\n")


def score_lines(scores: Scores) -> list[str]:
    """Return the scores as a reader wants them."""
    names = {"SEG": scores.seg, "DET": scores.det, "IoU": scores.iou}
    values = "   ".join(f"{name} {value:.3f}" for name, value in names.items() if value is not None)
    found = scores.objects - scores.missed
    return [
        f"{values}   (1 is perfect)",
        f"{found} of {scores.objects} cells found in {len(scores.frames)} unseen frames",
    ]


class Demo:
    """The steps of the demo, each started by the end of the one before.

    Parameters
    ----------
    viewer
        A napari viewer; the demo adds layers and docks to it.
    output
        Folder for everything that is written.
    minutes
        Time for training.
    on_end
        Called once, with the exit status.
    changes
        Changes to the configuration of the training, as ``{"section.field": value}``.
    """

    def __init__(
        self,
        viewer: Viewer,
        output: Path,
        minutes: float,
        on_end: Callable[[int], None],
        changes: dict[str, Any] | None = None,
    ) -> None:
        self.viewer = viewer
        self.output = output
        self.minutes = minutes
        self.changes = SMALL_JNET | (changes or {})
        self.ended = False
        self._on_end = on_end

    def start(self) -> None:
        """Write and open the sequence, and start the training."""
        self._step(self._train)

    def _step(self, step: Callable[[], None]) -> None:
        # An exception that leaves a slot ends in napari's handler, and the demo would never end.
        try:
            step()
        except Exception as error:  # noqa: BLE001 - told to the user, with the exit status
            self._end(1, f"The demo failed: {error}")

    def _end(self, status: int, words: str) -> None:
        if self.ended:
            return
        self.ended = True
        print(words, file=sys.stderr if status else sys.stdout, flush=True)
        self._on_end(status)

    def _train(self) -> None:
        from napari_jnet.synthetic import write_cells_sequence

        self.dataset = write_cells_sequence(self.output / "cells")
        image, labels = self._open("01")
        labels.contour = 1  # the preview grows inside the outlines
        self._train_dock, train = self.viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
        self.train_widget = train
        train.set_image(image)
        train.set_labels(labels)
        train.set_values(
            network="jnet",
            preset="jnet",
            minutes=self.minutes,
            run_folder=self.output / "run",
            changes=self.changes,
        )
        train.finished.connect(lambda outcome: self._step(lambda: self._predict(outcome)))
        print(f"Training a small J-Net for {self.minutes:g} min ...", flush=True)
        train.start()

    def _open(self, sequence: str) -> tuple[Layer, Layer]:
        from napari.layers import Image, Labels

        from napari_jnet.plugin.reader import path_layers

        layers = [
            getattr(self.viewer, f"add_{kind}")(data, **options)
            for data, options, kind in path_layers(self.dataset / sequence)
        ]
        image = next(layer for layer in layers if isinstance(layer, Image))
        labels = next(layer for layer in layers if isinstance(layer, Labels))
        return image, labels

    def _predict(self, outcome: str) -> None:
        if outcome != "done":
            said = self.train_widget.message.text
            self._end(1, f"The training has {outcome}; the demo ends here. {said}")
            return
        shutil.copyfile(self.output / "run" / "history.csv", self.output / "history.csv")
        for layer in self.viewer.layers:
            layer.visible = False
        image, labels = self._open("02")
        labels.visible = False
        dock, predict = self.viewer.window.add_plugin_dock_widget(PLUGIN, "Predict")
        self.predict_widget = predict
        self._arrange(dock)
        predict.set_image(image)
        predict.set_model(self.output / "run")
        predict.finished.connect(lambda outcome: self._step(lambda: self._score(outcome)))
        print("Predicting every frame of sequence 02 ...", flush=True)
        predict.run(all_frames=True)

    def _arrange(self, predict_dock: QDockWidget) -> None:
        from qtpy.QtCore import Qt

        window = self._train_dock.parent()
        if window.width() < SIDE_BY_SIDE:
            window.tabifyDockWidget(self._train_dock, predict_dock)
            predict_dock.raise_()
        else:
            docks = [self._train_dock, predict_dock]
            window.splitDockWidget(*docks, Qt.Horizontal)
            window.resizeDocks(docks, [DOCK_WIDTH, DOCK_WIDTH], Qt.Horizontal)

    def _score(self, outcome: str) -> None:
        from napari_jnet.evaluation.evaluate import evaluate
        from napari_jnet.events import Scores
        from napari_jnet.project.open import open_stack

        if outcome != "done":
            said = self.predict_widget.message.text
            self._end(1, f"The prediction has {outcome}; the demo ends here. {said}")
            return
        self.predict_widget.export(self.output)
        stack = open_stack(self.dataset, sequence="02")
        *_, scores = evaluate(self.output / "02_RES", stack)
        assert isinstance(scores, Scores)  # the last event
        lines = score_lines(scores)
        (self.output / "metrics.json").write_text(
            json.dumps(dataclasses.asdict(scores), indent=2), encoding="utf-8"
        )
        self._show(lines)
        self.viewer.screenshot(str(self.output / "screenshot.png"), canvas_only=False, flash=False)
        self._end(0, "\n".join([*lines, f"Everything is in {self.output}."]))

    def _show(self, lines: Sequence[str]) -> None:
        segmentation, distance, cells = self.predict_widget.layers
        segmentation.contour = 1
        distance.opacity, distance.visible = 0.4, True
        cells.opacity = 0.5
        self.viewer.dims.set_current_step(0, 0)
        overlay = self.viewer.canvas.overlays.text
        overlay.text = "\n".join(lines)
        overlay.position = "top_left"
        overlay.visible = True


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="napari-jnet demo", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder to write")
    parser.add_argument("--minutes", type=float, default=1.0, help="time for training")
    parser.add_argument(
        "--no-stay", dest="stay", action="store_false", help="close the window at the end"
    )
    parser.add_argument(
        "--no-window",
        dest="window",
        action="store_false",
        help="run on a virtual screen, as on a machine without a screen",
    )
    return parser.parse_args(argv)


def show(output: Path, minutes: float, stay: bool) -> int:
    """Run the demo in a new napari window; return the exit status."""
    import napari
    from qtpy.QtCore import QTimer
    from qtpy.QtGui import QGuiApplication

    viewer = napari.Viewer(title="napari-jnet demo")
    screen = QGuiApplication.primaryScreen().availableGeometry()
    viewer.window.resize(min(WINDOW[0], screen.width()), min(WINDOW[1], screen.height()))
    status: list[int] = []

    def end(code: int) -> None:
        status.append(code)
        if stay:
            print("Close the window to end the demo.", flush=True)
        else:
            QTimer.singleShot(0, viewer.close)

    demo = Demo(viewer, output, minutes, end)
    QTimer.singleShot(0, demo.start)
    napari.run()
    if not status:
        print("The window was closed before the demo was done.", file=sys.stderr)
        return 1
    return status[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return 0 if it came to its end, 1 if not, 2 if it could not start."""
    options = arguments(argv)
    output = options.output.resolve()
    try:
        if options.minutes <= 0:
            raise ValueError(
                f"--minutes is {options.minutes:g}; it must be more than 0, such as 1."
            )
        if options.window and has_screen():
            prepare_output(output)
            return show(output, options.minutes, options.stay)
        module = [sys.executable, "-m", "napari_jnet.plugin.demo", "--no-stay"]
        return run_on_virtual_screen(
            [*module, "--output", str(output), "--minutes", str(options.minutes)]
        )
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(main())
