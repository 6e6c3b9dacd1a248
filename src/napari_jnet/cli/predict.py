"""``napari-jnet predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_jnet.cli.common import (
    Axes,
    Series,
    choose_frames,
    find_model,
    open_and_tell,
    own_stack,
    parse_levels,
)
from napari_jnet.cli.console import console, fail, stop_signal

if TYPE_CHECKING:
    from napari_jnet.config import InstanceConfig, PredictionConfig
    from napari_jnet.io.stack import Stack
    from napari_jnet.model import Model


def predict(
    model: Annotated[
        Path, typer.Argument(help="Run folder, model.pt, project, or original J-Net file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.")],
    stack: Annotated[
        Path | None, typer.Argument(help="Stack to segment; of a project's model, its own stack.")
    ] = None,
    sequence: Annotated[
        str | None, typer.Option(help="Sequence of a CTC dataset, or test.")
    ] = None,
    axes: Axes = None,
    series: Series = None,
    frames: Annotated[
        str | None, typer.Option(help="Frames to predict, such as 2,5,21 or 0-20; default all.")
    ] = None,
    segmentation_threshold: Annotated[
        float | None, typer.Option(help="Probability above which a pixel is cell.")
    ] = None,
    seed_threshold: Annotated[
        float | None, typer.Option(help="Distance of a cell's core, as a part of the bound.")
    ] = None,
    min_size: Annotated[int | None, typer.Option(help="Smallest object kept, in pixels.")] = None,
    tile: Annotated[
        int | None, typer.Option(help="Side of the tiles in pixels; 0 takes whole frames.")
    ] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Overlap of tiles that are averaged, such as 0.5.")
    ] = None,
    tta: Annotated[
        int | None,
        typer.Option(
            help="Test-time augmentation: average over 4 flips, or 8 flips and quarter turns."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    resolution_levels: Annotated[
        str | None,
        typer.Option(metavar="[-2,-1,0]", help="Of an original J-Net file, which lacks them."),
    ] = None,
    dt_bound: Annotated[
        float | None, typer.Option(help="Of an original J-Net file, which lacks it, in pixels.")
    ] = None,
) -> None:
    """Segment a stack with a trained network and separate its objects.

    Writes probability.tif, distance.tif and instances.tif into DIR, and for a CTC sequence a result
    folder such as 02_RES with masks and res_track.txt.  Ctrl-C stops after the frame; what is
    written stays.  A frame that cannot be read is left out; the others are written, and the exit
    status is 2.
    """
    levels = parse_levels(resolution_levels)
    stack = own_stack(model) if stack is None else stack
    numbers = choose_frames(frames, stack)
    model = find_model(model)

    opened = open_and_tell(stack, sequence=sequence, axes=axes, series=series)
    _check_frames(opened, numbers)

    from napari_jnet.model import IncompleteCheckpoint, load_model

    try:
        loaded = load_model(model, resolution_levels=levels, dt_bound=dt_bound, device=device)
    except IncompleteCheckpoint as error:
        options = " and ".join(f"--{name.replace('_', '-')}" for name in error.missing)
        raise ValueError(f"{error} The options are {options}.") from error
    given: dict[str, Any] = {
        "segmentation_threshold": segmentation_threshold,
        "seed_threshold": seed_threshold,
        "min_size": min_size,
    }
    given = {name: value for name, value in given.items() if value is not None}
    separation = loaded.config.instances.changed(**given)
    given = {"tile": tile, "overlap": overlap, "tta": tta}
    given = {name: value for name, value in given.items() if value is not None}
    settings = loaded.config.prediction.changed(**given)
    _run(loaded, opened, output, numbers, separation, settings)


def _check_frames(stack: Stack, numbers: tuple[int, ...] | None) -> None:
    for number in numbers or ():
        if number not in stack.frame_numbers:
            raise ValueError(
                f"{stack.name} has no frame {number}; its {len(stack)} frames run from "
                f"{stack.frame_numbers[0]} to {stack.frame_numbers[-1]}."
            )


def _run(
    model: Model,
    stack: Stack,
    output: Path,
    numbers: tuple[int, ...] | None,
    separation: InstanceConfig,
    settings: PredictionConfig,
) -> None:
    from rich.progress import Progress

    from napari_jnet.device import describe_device
    from napari_jnet.events import FrameSkipped, Notice, summarize_skipped
    from napari_jnet.inference.predict import predict as prediction
    from napari_jnet.io.results import ResultWriter

    out = console()
    out.print(f"Device: {describe_device(model.device)}")
    frames, objects = 0, 0
    left: list[FrameSkipped] = []
    total = len(stack if numbers is None else numbers)
    with (
        stop_signal() as stop,
        ResultWriter(output, stack, numbers) as writer,
        Progress(console=out, transient=True, disable=not out.is_terminal) as bar,
    ):
        task = bar.add_task("first frame", total=total)
        events = prediction(
            model,
            stack,
            frames=numbers,
            instances=separation,
            prediction=settings,
            on_error="skip",
        )
        for event in events:
            if isinstance(event, Notice):
                out.print(f"Note: {event.text}")
                continue
            if isinstance(event, FrameSkipped):
                left.append(event)
            else:
                writer.write(event)
                frames += 1
                objects += int(event.instances.max(initial=0))
            done = frames + len(left)
            bar.update(task, completed=done, description=f"frame {event.number}")
            if stop.asked and done < total:
                break
    if writer.notice:
        out.print(f"Note: {writer.notice}")
    if frames:
        out.print(f"{objects} objects in {frames} of {total} frames: {output!s}")
    else:
        out.print(f"No frame was predicted; {output!s} is as it was.")
    if stop.asked and frames + len(left) < total:
        raise typer.Exit(stop.status)
    if left:
        fail(f"Error: {' '.join(summarize_skipped(left))}")
