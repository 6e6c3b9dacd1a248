"""The three modes of the original J-Net's script, train, eval and vis, with the files that it writes."""

from __future__ import annotations

import dataclasses
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from napari_jnet.device import choose_device, describe_device
from napari_jnet.events import BatchEnd, Message, TrainingStart
from napari_jnet.files import FolderLock, atomic_write, clean, make_folder
from napari_jnet.inference.tiling import run_network
from napari_jnet.io.marks import MARK
from napari_jnet.io.stack import AnnotatedFrame, Stack, annotated_frames
from napari_jnet.legacy.flags import Flags
from napari_jnet.model import ModelFileError, load_model, load_state, read_checkpoint, save_whole
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.project.open import open_stack
from napari_jnet.training.losses import loss_function, mean_known
from napari_jnet.training.run import TrainingState
from napari_jnet.training.sampler import FullFrameDataset, load_full_frames
from napari_jnet.training.targets import Targets

BEST_TRAINING = "model_best_train_train"
BEST_VALIDATION = "model_best_validation_eval"
LAST = "model_last"
FINAL = "model_final"
STOPPED = "Stopped after epoch"  # begins the file that says why a training stopped
PATIENCE = 10  # validations without improvement before an early stop


@dataclass(frozen=True)
class OriginalScores:
    """The quantities that the original reports: means over known pixels."""

    loss: float  # BCE + MSE, the distance not truncated
    l1_seg: float  # mean |probability - target|
    l1_dist: float  # mean |distance - target| in pixels, both truncated at dt_bound


@dataclass(frozen=True)
class OriginalEpoch:
    """One epoch; its checkpoints are already written."""

    epoch: int  # from 1
    training: OriginalScores
    validation: OriginalScores | None
    learning_rate: float
    elapsed_s: float
    saved: tuple[str, ...]  # names of the checkpoints


@dataclass(frozen=True)
class ImageDone:
    """One image of eval or vis; its pictures are already written."""

    label: str  # "01_t002"
    scores: OriginalScores | None  # None for vis


@dataclass(frozen=True)
class Finished:
    """The end of a job."""

    average: OriginalScores | None = None  # of eval, over images
    suggestions: tuple[tuple[str, str], ...] = ()  # purpose and command line


OriginalEvent = Message | TrainingStart | BatchEnd | OriginalEpoch | ImageDone | Finished


@dataclass(frozen=True, eq=False)
class NamedImage:
    """One image of a stack, read on demand."""

    stack: Stack
    number: int
    label: str  # in the names of files: "01_t002"

    def annotated(self, partial_truth: str) -> AnnotatedFrame:
        """Read the image with its gold ground truth; raise `ValueError` without one."""
        frame = annotated_frames(self.stack, "gold", [self.number])[0]
        if partial_truth == "background":
            frame = dataclasses.replace(frame, labels=np.maximum(frame.labels, 0))
        return frame


def named_images(flags: Flags) -> Iterator[NamedImage]:
    """Yield the images, in the order of the flag; raise `ValueError` for those that are not there."""
    for sequence, frames in flags.images_idx:
        if not frames and flags.mode != "vis":
            continue
        stack = open_stack(Path(flags.dataset_root), sequence=sequence)
        if stack.axes != "TYX":
            raise ValueError(
                f"{stack.name} has the axes {stack.axes}; this command takes sequences of grey 2-D "
                "frames. Use napari-jnet train."
            )
        for number in [int(frame) for frame in frames] or stack.frame_numbers:
            if number not in stack.frame_numbers:
                stack.frame(number)  # raises
            yield NamedImage(stack, number, f"{sequence}_t{number:0{stack.digits}d}")


def compare(output: Tensor, targets: Targets, dt_bound: float) -> tuple[Tensor, Tensor]:
    """Return the loss, a scalar with a gradient, and the three scores without one, (3,).

    ``output`` is (N, 2, H, W), logits and distance in pixels; scores are means over the known pixels.
    """
    loss = loss_function("bce+mse")(output, targets, 1, dt_bound)
    with torch.no_grad():
        segmentation = (output[:, 0].sigmoid() - targets.segmentation).abs()
        distance = (output[:, 1].clamp(min=0, max=dt_bound) - targets.distance).abs()
        l1_seg = mean_known(segmentation, targets.known)
        l1_dist = mean_known(distance, targets.distance_known)
        return loss, torch.stack((loss.detach(), l1_seg, l1_dist))


def _average(scores: Sequence[tuple[Tensor, int]]) -> OriginalScores:
    """Return the mean of scores, weighted by numbers of images; this reads them from the device."""
    total = sum((values * count for values, count in scores), torch.zeros(()))
    return OriginalScores(*(total / sum(count for _, count in scores)).tolist())


def train(flags: Flags) -> Generator[OriginalEvent, None, None]:
    """Train a J-Net: whole frames, the original's augmentations, schedule and checkpoints.

    Raise `ValueError` or `OSError` before anything is trained, if the flags, the images or the folder cannot
    be used.  Closing the generator stops the training; ``model_last`` then has the weights of the last
    epoch.
    """
    structure = choose_structure(flags)
    _refuse_overwriting(flags)
    frames = [image.annotated(flags.partial_truth) for image in named_images(flags)]
    config = flags.config(structure)
    device = choose_device(config.training.device)
    seed = flags.seed if flags.seed >= 0 else secrets.randbelow(2**31)
    state = TrainingState(config.replace({"training.seed": seed}), device)
    if flags.model_file:
        path = Path(flags.model_file)
        load_state(state.network, read_checkpoint(path)["state_dict"], path)
    chosen, kept = _split(frames, flags.validation_percentage, state.generator)
    folder, levels = Path(flags.output_dir), state.network.levels
    make_folder(folder)
    training = load_full_frames(chosen, levels, device, config)
    validation = load_full_frames(kept, levels, device, config) if kept else None
    with FolderLock(folder):
        clean(folder, locked=True)
        yield TrainingStart(
            device=describe_device(device),
            training_frames=tuple(frame.name for frame in chosen),
            validation_frames=tuple(frame.name for frame in kept),
            parameters=state.network.parameter_count(),
            dt_bound=flags.dt_bound,
            distance=config.describe_distance(),
            start_epoch=0,
            batches_per_epoch=-(-len(chosen) * flags.dataset_len_multiplier // flags.batch_size),
        )
        yield from _run(flags, folder, state, training, validation)


def _split(
    frames: list[AnnotatedFrame], fraction: float, generator: torch.Generator
) -> tuple[list[AnnotatedFrame], list[AnnotatedFrame]]:
    """Keep int(fraction * n) random frames for validation."""
    count = int(fraction * len(frames))
    if count == len(frames):
        raise ValueError(
            f"--validation_percentage {fraction:g} keeps all {len(frames)} image(s) for validation; at "
            "least one must be for training. Choose a smaller fraction."
        )
    chosen = set(torch.randperm(len(frames), generator=generator).tolist()[:count])
    return (
        [frame for index, frame in enumerate(frames) if index not in chosen],
        [frame for index, frame in enumerate(frames) if index in chosen],
    )


def _run(
    flags: Flags,
    folder: Path,
    state: TrainingState,
    training: FullFrameDataset,
    validation: FullFrameDataset | None,
) -> Generator[OriginalEvent, None, None]:
    """Train to the end; save the weights, also if closed or failed in between."""
    started, best = time.monotonic(), {BEST_TRAINING: math.inf, BEST_VALIDATION: math.inf}
    without = 0  # validations since the best one
    try:
        for epoch in range(1, flags.num_epochs + 1):
            rate = state.learning_rate
            scores = yield from _train_epoch(flags, state, training, started)
            validated = None
            if validation is not None:
                validated = validate(state.network, validation, flags.dt_bound)
            state.end_epoch(scores.loss)
            names = [LAST]
            if scores.loss < best[BEST_TRAINING]:
                best[BEST_TRAINING] = scores.loss
                names.append(BEST_TRAINING)
            if validated is not None:
                without += 1
                if validated.loss < best[BEST_VALIDATION]:
                    best[BEST_VALIDATION], without = validated.loss, 0
                    names.append(BEST_VALIDATION)
            if epoch % flags.save_model_frequency == 0:
                names.append(f"model_{epoch}")
            for name in names:
                save_original(folder / name, state.network)
            elapsed = time.monotonic() - started
            yield OriginalEpoch(epoch, scores, validated, rate, elapsed, tuple(names))
            if flags.non_decreasing_output_file and without >= PATIENCE:
                note = (
                    f"{STOPPED} {epoch}: {PATIENCE} validations without improvement on "
                    f"{best[BEST_VALIDATION]:.6f}."
                )
                with atomic_write(Path(flags.non_decreasing_output_file)) as partial:
                    partial.write_text(note + "\n", encoding="utf-8")
                yield Message(note)
                break
    except ArithmeticError:
        raise  # keep the last saved weights: these are not finite
    except BaseException:
        save_original(folder / LAST, state.network)
        raise
    for name in (LAST, FINAL):
        save_original(folder / name, state.network)
    file = str(folder / BEST_TRAINING)
    yield Finished(
        suggestions=(
            ("score the best network", flags.command("eval", file)),
            ("see its maps of every frame", flags.command("vis", file, every_frame=True)),
        )
    )


def _train_epoch(
    flags: Flags, state: TrainingState, training: FullFrameDataset, started: float
) -> Generator[OriginalEvent, None, OriginalScores]:
    """Train on each frame dataset_len_multiplier times, in random order; the last batch may be smaller."""
    state.network.train()
    count, total = len(training), []
    order = torch.randperm(count * flags.dataset_len_multiplier, generator=state.generator) % count
    batches = torch.split(order, flags.batch_size)
    for frames in batches:
        levels, targets = training.draw(frames.tolist(), flags, state.generator)
        loss, values = compare(state.output(levels), targets, flags.dt_bound)
        state.optimize(loss)
        total.append((values, len(frames)))
        state.batch += 1
        progress = (state.epoch + state.batch / len(batches)) / flags.num_epochs
        elapsed = time.monotonic() - started
        remaining = elapsed / progress - elapsed
        yield BatchEnd(state.epoch + 1, state.batch, None, progress, elapsed, remaining)
    scores = _average(total)
    if not math.isfinite(scores.loss):
        raise ArithmeticError(
            f"The loss is not finite in epoch {state.epoch + 1}, so training cannot continue. "
            "Start again with a smaller --learning_rate."
        )
    return scores


def validate(
    network: SegmentationNetwork, frames: FullFrameDataset, dt_bound: float
) -> OriginalScores:
    """Score a network on frames without augmentation."""
    network.eval()
    total = []
    for frame in range(len(frames)):
        levels, targets = frames.without_augmentation(frame)
        total.append((compare(run_network(network, levels), targets, dt_bound)[1], 1))
    return _average(total)


def evaluate(flags: Flags) -> Generator[OriginalEvent, None, None]:
    """Predict images and write the maps; in mode eval score them too.

    Loss and L1s are means over the pixels of an image; the average is over images.  Raise `ValueError` or
    `OSError` if the flags, an image or the folder cannot be used.
    """
    choose_structure(flags)
    images = [*named_images(flags)]
    model = load_model(
        flags.model_file,
        resolution_levels=flags.resolution_levels,
        dt_bound=flags.dt_bound,
        device="cuda" if flags.cuda else "cpu",
    )
    folder, device = Path(flags.output_dir), model.device
    make_folder(folder)
    yield Message(f"Device: {describe_device(device)}")
    total = []
    for image in images:
        scores = None
        if flags.mode == "eval":
            frame = image.annotated(flags.partial_truth)
        else:
            pixels = image.stack.frame(image.number)
            frame = AnnotatedFrame(image.label, pixels, np.zeros(pixels.shape[:2], np.int32))
        dataset = load_full_frames([frame], model.network.levels, device, model.config)
        pyramid, targets = dataset.without_augmentation(0)
        output = run_network(model.network, pyramid)
        if flags.mode == "eval":
            values = compare(output, targets, flags.dt_bound)[1]
            total.append((values, 1))
            scores = OriginalScores(*values.tolist())
        _write_png(folder / f"seg_{image.label}.png", output[0, 0].sigmoid(), 1.0, flags)
        _write_png(folder / f"dist_{image.label}.png", output[0, 1].relu(), flags.dt_bound, flags)
        yield ImageDone(image.label, scores)
    if flags.mode == "vis":
        yield Finished()
        return
    command = flags.command("vis", flags.model_file, every_frame=True)
    yield Finished(_average(total), (("see the maps of every frame", command),))


def _write_png(path: Path, values: Tensor, top: float, flags: Flags) -> None:
    """Write a map, 8-bit, from 0 to ``top``, or (``png_scaling``) from its smallest to its largest value."""
    bottom = 0.0
    if flags.png_scaling == "image":
        bottom, top = float(values.min()), float(values.max())
    scaled = (values - bottom) / max(top - bottom, 1e-12) * 255
    grey = scaled.clamp(0, 255).round().to(torch.uint8).cpu().numpy()
    mark = PngInfo()
    mark.add_text(MARK, "a map")  # a result, which is not read as an image of a folder
    with atomic_write(path) as partial:
        Image.fromarray(grey).save(partial, format="PNG", pnginfo=mark)


def save_original(path: Path, network: SegmentationNetwork) -> None:
    """Write a J-Net as the original does, with its keys.

    The counters of batches, which torch added later, are omitted: no version of torch needs them, and those
    of 2018 refuse them.  For the same reason the file has torch's older format.
    """
    state = OrderedDict(
        (name, value.detach().cpu().contiguous())
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    )
    content = {
        "batchnorm_momentum": network.config.batchnorm_momentum,
        "structure": [list(part) for part in network.config.structure],
        "state_dict": state,
    }
    save_whole(path, content, legacy=True)


def _refuse_overwriting(flags: Flags) -> None:
    """Raise `ValueError` if the training would overwrite its own input, or a file of something else."""
    if flags.model_file:
        numbered = (f"model_{epoch}" for epoch in range(1, flags.num_epochs + 1))
        for name in (LAST, FINAL, BEST_TRAINING, BEST_VALIDATION, *numbered):
            path = Path(flags.output_dir) / name
            if path.exists() and path.samefile(flags.model_file):
                raise ValueError(
                    f"--model_file {flags.model_file} would be overwritten: the training writes {path}. "
                    "Choose another --output_dir."
                )
    note = Path(flags.non_decreasing_output_file)
    if not note.name or not note.exists():
        return
    if not note.is_file() or not note.read_bytes().startswith(STOPPED.encode()):
        raise ValueError(
            f"--non_decreasing_output_file {note} exists already and would be overwritten. Choose "
            "another name, or move it away."
        )


def choose_structure(flags: Flags) -> tuple[tuple[int, ...], ...]:
    """Return the structure of ``--model_file``, or of ``--structure`` without one; they may not differ."""
    if not flags.model_file:
        return flags.structure
    content = read_checkpoint(Path(flags.model_file))
    if "structure" not in content:
        raise ModelFileError(
            f"{flags.model_file} is not a checkpoint in the format of the original J-Net. Choose "
            f"{BEST_TRAINING} or another one of its kind, or use napari-jnet predict."
        )
    structure = tuple(tuple(part) for part in content["structure"])
    if flags.structure and flags.structure != structure:
        raise ValueError(
            f"--structure is {[list(part) for part in flags.structure]}, the network of --model_file has "
            f"{[list(part) for part in structure]}. Leave --structure out."
        )
    return structure
