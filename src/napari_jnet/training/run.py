"""State of a training run: weights, optimizer, averaged weights, learning rate, clock and files."""

from __future__ import annotations

import copy
import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_jnet.config import Config, TrainingConfig
from napari_jnet.device import choose_device, has_bfloat16
from napari_jnet.events import EpochEnd, Message
from napari_jnet.files import OutputError, reading, write_recovery_copy
from napari_jnet.hardware import is_memory_full
from napari_jnet.io.run_folder import RunFolder
from napari_jnet.io.stack import AnnotatedFrame
from napari_jnet.model import (
    Model,
    first_error,
    load_model,
    load_state,
    move,
    read_checkpoint,
    save_checkpoint,
)
from napari_jnet.networks import build_network
from napari_jnet.networks.base import SegmentationNetwork
from napari_jnet.training.distributed import agree, distribute, is_first, process, processes
from napari_jnet.training.losses import dice_sums, loss_function
from napari_jnet.training.sampler import (
    FrameStore,
    FullFrameDataset,
    draw_batch,
    epoch_pixels,
    load_frames,
)
from napari_jnet.training.targets import Targets
from napari_jnet.training.validate import SCORING_SHARE, Validation, ValidationScores

WARM_UP = 0.02  # fraction of the training in which the rate rises from zero (cosine only)
_SHORT_STEP_S = 0.02  # below this float32 is fast enough, and a measurement uncertain
_WORTHWHILE = 1.1  # bfloat16 must be so many times as fast
AVERAGED_PARTS = 4  # of the steps so far, one in so many is averaged, about
SAVE_SHARE = 0.012  # of the time that saving may take; with the save at the end it is below 2 %
_SAVING = "saving"  # the topic of messages
WRITING_SPEED = 2e8  # bytes a second, assumed until the first save is measured


def run_step(network: torch.nn.Module, levels: Sequence[Tensor], *, bfloat16: bool) -> Tensor:
    """Run a network on a batch, (N, C, h, w) for each level; float32, with gradients."""
    levels = [level.contiguous(memory_format=torch.channels_last) for level in levels]
    with torch.autocast(levels[0].device.type, torch.bfloat16, enabled=bfloat16):
        output: Tensor = network(levels)
    return output.float()


def make_optimizer(config: TrainingConfig, network: torch.nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer of the weights of a network."""
    weights, rate, decay = network.parameters(), config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, momentum=config.momentum, weight_decay=decay)
    optimizer = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
    return optimizer(weights, lr=rate, weight_decay=decay)


_Count = Annotated[int, Field(ge=0, lt=10**12)]
_Number = Annotated[float, Field(ge=-math.inf)]  # not NaN
_Seconds = Annotated[float, Field(ge=0, lt=1e12)]


@dataclasses.dataclass
class Counters:
    """Counters of a training, all saved in ``last.pt``."""

    step: _Count = 0  # optimizer steps
    epoch: _Count = 0  # finished ones
    batch: _Count = 0  # finished ones of the present epoch
    patches_at_once: _Count = 0  # that fit into the memory; 0 for a whole batch
    loss_sum: _Seconds = 0.0  # of the present epoch
    elapsed_s: _Seconds = 0.0
    validation_s: _Seconds = 0.0  # of these
    best_score: _Number = -math.inf
    best_loss: _Number = math.inf  # of that epoch on the same validation frames
    best_epoch: _Count = 0
    scored: list[str] = dataclasses.field(default_factory=list)  # `Validation.names` then
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class _Schedule:
    """The state of the plateau schedule."""

    best: _Number
    num_bad_epochs: _Count
    cooldown_counter: _Count
    last_epoch: _Count


@dataclasses.dataclass(kw_only=True)
class _Saved(Counters):
    """The numbers in ``last.pt``."""

    schedule: _Schedule


class TrainingState(Counters):
    """Network, optimizer, schedule and random state: with the configuration, all of ``last.pt``."""

    def __init__(self, config: Config, device: torch.device) -> None:
        super().__init__()
        self.config = config
        training = config.training
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            network = build_network(config.network)
        self.network = move(network, device).train()
        # Statistics of batch normalization too: those of the last few batches make scores jump.
        self._average = AveragedModel(self.network, use_buffers=True).eval()
        self._average.n_averaged += 1  # else the first update would be a copy
        self.optimizer = make_optimizer(training, self.network)
        # as the original J-Net
        self.plateau = ReduceLROnPlateau(self.optimizer, factor=0.75, patience=20, cooldown=10)
        self.generator = torch.Generator().manual_seed(training.seed)
        self.best: dict[str, Tensor] | None = None  # weights that ``model.pt`` has not yet
        self._trained: torch.nn.Module = self.network

    @property
    def averaged(self) -> SegmentationNetwork:
        """The network that is validated and saved.

        Its weights and statistics are the moving averages of those that training changes, which are steadier
        than those of any one step, or the last ones (``training.average_weights`` off).
        """
        module = self._average.module
        assert isinstance(module, SegmentationNetwork)
        return module

    @property
    def learning_rate(self) -> float:
        """The present learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def set_learning_rate(self, progress: float) -> None:
        """Set the learning rate for this fraction of the training; no effect with plateau."""
        training, factor = self.config.training, 1.0
        if training.schedule == "plateau":
            return
        if training.schedule == "cosine":
            warm_up = max(min(progress / WARM_UP, 1.0), 0.01)
            factor = warm_up * (0.5 * (1 + math.cos(math.pi * progress)))
        elif training.schedule == "step":
            factor = training.step_factor ** (self.epoch // training.step_epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * factor

    def output(self, levels: Sequence[Tensor], *, bfloat16: bool = False) -> Tensor:
        """Run the network on a batch, (N, C, h, w) for each level; float32, with gradients."""
        with self._seeded_dropout():
            return run_step(self._trained, levels, bfloat16=bfloat16)

    def distribute(self) -> None:
        """Train the network in all processes that torchrun has started."""
        self._trained = distribute(self.network)

    def optimize(self, loss: Tensor) -> None:
        """Do one optimizer step on the loss of a whole batch."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.apply_gradients()

    def apply_gradients(self) -> None:
        """Do one optimizer step, and move the averaged weights a little towards the new ones."""
        self.optimizer.step()
        self.step += 1
        averaged = self.config.training.average_weights
        decay = self.step / (self.step + AVERAGED_PARTS) if averaged else 0.0
        self._average.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self._average.update_parameters(self.network)

    @contextmanager
    def all_or_nothing(self, *, undo: bool = False) -> Iterator[None]:
        """Put back what drawing and computing a batch changes, if that fails: a resumed training repeats it.

        With ``undo`` it is put back in any case.
        These are the random state and the statistics of batch normalization.
        """
        drawn, done = self.generator.get_state(), False
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        try:
            yield
            done = not undo
        finally:
            if not done:
                self.generator.set_state(drawn)
                with torch.no_grad():
                    for changed, before in zip(self.network.buffers(), statistics, strict=True):
                        changed.copy_(before)

    @contextmanager
    def _seeded_dropout(self) -> Iterator[None]:
        """Draw dropout from the generator, so that a resumed training is reproducible."""
        if not self.network.config.dropout:
            yield
            return
        device = next(self.network.parameters()).device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            seed = int(torch.randint(2**31, (1,), generator=self.generator))
            torch.manual_seed(seed + process())
            yield

    def end_epoch(self, train_loss: float) -> None:
        """Count the epoch; lower the rate if the loss has stopped falling (plateau only)."""
        self.epoch, self.batch, self.loss_sum = self.epoch + 1, 0, 0.0
        if self.config.training.schedule == "plateau":
            self.plateau.step(train_loss)

    @property
    def is_finite(self) -> bool:
        """Whether all weights are finite: a finite loss is that of the step before."""
        return all(bool(weight.isfinite().all()) for weight in self.network.parameters())

    def keep_best(self) -> None:
        """Copy the present averaged weights, which are kept unless later ones are better."""
        self.best = {name: value.clone() for name, value in self.averaged.state_dict().items()}

    def model_content(self, config: Config, *, best: bool = False) -> dict[str, Any]:
        """Return all that prediction needs, of the present network or of the best one."""
        return {
            "config": config.to_dict(),
            "network": self.best if best else self.averaged.state_dict(),
            "history": self.history[: self.best_epoch] if best else self.history,
        }

    def full_content(self, config: Config, split: dict[str, list[str]]) -> dict[str, Any]:
        """Return the content of ``last.pt``: all that a resumed training and prediction need."""
        return {
            **self.model_content(config),
            "split": split,
            "training": {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": {"epochs": self.epoch}
                | {f.name: getattr(self.plateau, f.name) for f in dataclasses.fields(_Schedule)},
                "generator": self.generator.get_state(),
                **({"best": self.best} if self.best and not self._is_best else {}),
                **{name: getattr(self, name) for name in vars(Counters())},
            },
        }

    def restore(self, content: dict[str, Any], path: Path) -> None:
        """Restore the state in the content of ``last.pt``."""
        saved = content["training"]
        if "best" in saved:
            load_state(self.averaged, saved["best"], path)
            self.keep_best()
        load_state(self.averaged, content["network"], path)
        load_state(self.network, saved["network"], path)
        # torch raises nearly anything for a state of another shape
        with reading(path, "a training", "it is damaged. Start a new training from its model."):
            try:
                numbers = vars(TypeAdapter(_Saved).validate_python(saved))
            except ValidationError as error:
                raise ValueError(first_error(error)) from error
            self.plateau.load_state_dict(vars(numbers.pop("schedule")))
            vars(self).update(numbers)
            self.generator.set_state(saved["generator"])
            _check_optimizer(self.optimizer, saved["optimizer"])
            self.optimizer.load_state_dict(saved["optimizer"])
        if self._is_best:
            self.keep_best()

    @property
    def _is_best(self) -> bool:
        """Whether the present averaged weights are those of the best epoch."""
        return self.epoch == self.best_epoch and not self.batch

    def start_from(self, path: Path) -> None:
        """Start from the weights of another model."""
        content = read_checkpoint(path)
        load_state(self.network, content["network"], path)
        load_state(self.averaged, content["network"], path)

    def start(self, logits: Tensor) -> None:
        """Start from these initial logits, and from published weights of a part where these are given."""
        self.network.set_initial_logits(logits)
        if pretrained := self.config.training.pretrained:
            self.network.load_pretrained(Path(pretrained))
        self.averaged.load_state_dict(self.network.state_dict())


def _check_optimizer(optimizer: torch.optim.Optimizer, saved: Any) -> None:
    """Raise `ValueError` for a state that torch would load but fail with at the next step."""
    for known, group in zip(
        optimizer.state_dict()["param_groups"], saved["param_groups"], strict=True
    ):
        for name, value in known.items():
            if type(group[name]) is not type(value):
                raise ValueError(f"{name} of its optimizer is {group[name]!r}")
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, state in saved["state"].items():
        for name, value in state.items():
            fits = isinstance(value, Tensor) and value.shape in ((), weights[number].shape)
            if value is not None and not fits:
                raise ValueError(f"{name} of its optimizer does not fit its weights")


class TensorBoardLogger:
    """Writes the numbers of each epoch into ``RUN/tensorboard``; `ValueError` without TensorBoard."""

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ValueError(
                "training.tensorboard is on, but the package tensorboard is not installed. "
                "Run pip install tensorboard, or switch it off; history.csv has the same numbers."
            ) from error
        make: Any = SummaryWriter  # its types depend on whether tensorboard is there
        self._writer = make(str(run / "tensorboard"))
        self.close = self._writer.close

    def write(self, event: EpochEnd) -> None:
        """Write one epoch without the scores that do not apply; classes are counted from 0."""
        for name, value in dataclasses.asdict(event).items():
            if isinstance(value, tuple):
                scores = {f"{name}/{number}": score for number, score in enumerate(value)}
            else:
                scores = {} if name in ("epoch", "best") else {name: value}
            for title, score in scores.items():
                if score is not None:
                    self._writer.add_scalar(title, score, event.epoch)
        self._writer.flush()


class TrainingSession:
    """A run while it trains in this process: settings, data, state, clock and files."""

    store: FrameStore | FullFrameDataset
    validation: Validation
    split: dict[str, list[str]]
    logger: TensorBoardLogger | None = None
    preview: Callable[[], NDArray[Any] | None] | None = None
    new_frames: Callable[[], Sequence[AnnotatedFrame] | None] | None = None
    previewed_at = float("-inf")

    def __init__(self, folder: RunFolder, config: Config) -> None:
        self.folder, self.config = folder, config
        training = config.training
        self.device = choose_device(training.device)
        self.state = TrainingState(config, self.device)
        self.loss = loss_function(training.loss)
        self.messages: list[Message] = []  # for the user, not yielded yet
        self.save_failed = self.diverged = False
        self.start_clock()

    def log(self, event: EpochEnd) -> None:
        """Write an epoch for TensorBoard, for as long as its file can be written."""
        if self.logger is None:
            return
        try:
            self.logger.write(event)
        except OSError as error:
            self.logger = None
            text = f"TensorBoard gets no more numbers: {error}. They are in history.csv too."
            self.messages.append(Message(text))

    def use_frames(
        self, training: Sequence[AnnotatedFrame], validation: Sequence[AnnotatedFrame]
    ) -> None:
        """Load training and validation frames; `ValueError`, and no change, if they cannot be used."""
        config = self.config
        store = load_frames(training, self.state.network.levels, self.device, config)
        pixels = epoch_pixels(store, config)
        self.validation = Validation(
            validation, config, self.device, store.class_weights, trained=pixels
        )
        self.store = store
        self.split = {
            "training": [frame.name for frame in training],
            "validation": [frame.name for frame in validation],
        }

    @property
    def bfloat16(self) -> bool:
        """Whether the forward pass is in bfloat16."""
        return self.config.training.precision == "bfloat16"

    def choose_precision(self) -> str:
        """Decide between float32 and bfloat16 by a few steps, where the configuration leaves it open.

        The configuration has the choice then, so that a resumed training keeps it; weights and random
        state do not change.  Returns what was measured, for the user; "" where nothing was.
        """
        if self.config.training.precision != "auto":
            return ""
        chosen, text = "float32", ""
        if agree(has_bfloat16(self.device)):
            seconds = self._step_seconds()
            if agree(seconds["float32"] >= _SHORT_STEP_S):
                gain = agree(seconds["float32"] / seconds["bfloat16"])
                chosen = "bfloat16" if gain > _WORTHWHILE else "float32"
                text = f"Trains in {chosen}: bfloat16 is {gain:.1f} times as fast here."
        self.config = self.state.config = self.config.replace({"training.precision": chosen})
        return text

    def _step_seconds(self) -> dict[str, float]:
        """Measure a step of one patch in each precision, on a copy of the network."""
        network = copy.deepcopy(self.state.network)
        one = self.config.replace({"training.batch_size": 1})
        batch = draw_batch(self.store, one, self.dt_bound, torch.Generator().manual_seed(0))
        levels = self.config.network.resolution_levels
        if max(batch[0][-1].shape[-2:]) <= 2 ** (
            levels[-1] - levels[0]
        ):  # one pixel cannot be normalized
            return {"float32": 0.0, "bfloat16": 0.0}
        seconds = dict.fromkeys(("float32", "bfloat16"), float("inf"))
        for turn in range(3):
            for precision in seconds:
                started = time.perf_counter()
                with torch.random.fork_rng(devices=[]):
                    output = run_step(network, batch[0], bfloat16=precision == "bfloat16")
                loss = self.loss(output, batch[1], one.network.classes, self.dt_bound)
                loss.backward()  # type: ignore[no-untyped-call]
                if self.device.type == "cuda":
                    torch.cuda.synchronize(self.device)
                if turn:  # the first one prepares
                    seconds[precision] = min(seconds[precision], time.perf_counter() - started)
        return seconds

    def compute_gradients(self, levels: Sequence[Tensor], targets: Targets) -> Tensor:
        """Set the gradients of a batch; return its loss, still on the device.

        Where the memory does not hold the batch, half as many patches are computed at once, from now on:
        their gradients add up to the same, but the batch normalization sees less.  For Dice, of which the
        gradient depends on the whole batch, the parts run once more before.  Raises `ValueError`
        where it does not hold one.
        """
        state, count = self.state, len(targets.known)
        alone = processes() == 1  # of several, each would have parts of its own
        while True:
            at_once = (alone and state.patches_at_once) or count
            parts = [slice(first, first + at_once) for first in range(0, count, at_once)]
            state.optimizer.zero_grad(set_to_none=True)
            try:
                with state.all_or_nothing():
                    dice = self._dice_sums(levels, targets, parts)
                    losses = [self._add_gradients(levels, targets, part, dice) for part in parts]
                return torch.stack(losses).sum()
            except (MemoryError, RuntimeError) as error:
                if not is_memory_full(error) or not alone:
                    raise
            # outside of the handler, as the error holds what was computed
            if at_once == 1:
                side = levels[-1].shape[-1]
                raise ValueError(
                    f"A single patch of {side} x {side} pixels does not fit into the memory of the device "
                    f"({self.device.type}). Choose a smaller training.patch_size, such as {side // 2}, a "
                    "network with fewer network.channels, or another training.device."
                )
            state.patches_at_once = at_once // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _dice_sums(
        self, levels: Sequence[Tensor], targets: Targets, parts: Sequence[slice]
    ) -> Tensor | None:
        """Return the sums of the whole batch that the gradients of its parts need, of each output.

        None if they need none.
        """
        training, classes = self.config.training, self.config.network.classes
        if len(parts) == 1 or not training.loss.startswith("dice"):
            return None
        with torch.no_grad(), self.state.all_or_nothing(undo=True):
            sums = []
            for part in parts:
                known = targets.cut(part)
                outputs = torch.split(self._output(levels, part)[:, :classes], len(known.known))
                sums.append(torch.stack([dice_sums(output, known) for output in outputs]))
        return torch.stack(sums).sum(dim=0)

    def _output(self, levels: Sequence[Tensor], part: slice) -> Tensor:
        return self.state.output([level[part] for level in levels], bfloat16=self.bfloat16)

    def _add_gradients(
        self, levels: Sequence[Tensor], targets: Targets, part: slice, dice: Tensor | None
    ) -> Tensor:
        """Add the gradients of a part of a batch; return its share of the loss."""
        output = self._output(levels, part)
        if len(levels[0][part]) < len(targets.known):
            targets = targets.part(part, dice)
        loss = self.loss(output, targets, self.config.network.classes, self.dt_bound)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def start_clock(self) -> None:
        """Count the time of this session from now on, after that of earlier ones."""
        self.started = time.monotonic() - self.state.elapsed_s
        self.saved, self.saved_at = self._position, time.monotonic()
        # weights, average and two moments, and model.pt; a tenth of a second does not matter
        size = 5 * 4 * self.state.network.parameter_count()
        self._saving_s = max(size / WRITING_SPEED - 0.1, 0.0)

    def rescore_best(self) -> None:
        """Score the model that is kept on the present frames, so that later epochs compare with it."""
        state, validation = self.state, self.validation
        state.scored = validation.names
        if state.best_epoch and validation.best_by != "last":
            if state.best is None:
                best = load_model(self.folder.model, device=self.device.type)
            else:
                best = dataclasses.replace(self.model, network=copy.deepcopy(state.averaged))
                best.network.load_state_dict(state.best)
            scores = validation.run(best)
            score = scores.by(validation.best_by)
            state.best_score = -math.inf if score is None else score
            state.best_loss = math.inf if scores.loss is None else scores.loss

    @property
    def dt_bound(self) -> float:
        """Truncation distance, in pixels of the full frame."""
        assert self.config.targets.dt_bound is not None
        return self.config.targets.dt_bound

    @property
    def model(self) -> Model:
        """The present averaged network, to predict with."""
        return Model(self.state.averaged, self.config, self.folder.model, self.device)

    def progress(self) -> float:
        """Return the fraction of the budget that is used, 0 to 1."""
        training, state = self.config.training, self.state
        state.elapsed_s = agree(time.monotonic() - self.started)
        used = []
        if training.epochs is not None:
            used.append((state.epoch + state.batch / training.batches_per_epoch) / training.epochs)
        if training.minutes is not None:
            used.append(state.elapsed_s / (60 * training.minutes))
        return min(max(used), 1.0)

    @property
    def out_of_patience(self) -> bool:
        """Whether the score has not improved for ``training.patience`` epochs."""
        patience, state = self.config.training.patience, self.state
        # an epoch without scores does not stop the training
        scored = not self.validation.frames or (
            bool(state.history) and state.history[-1]["validation_loss"] is not None
        )
        return scored and 0 < patience <= state.epoch - state.best_epoch

    def validate(self) -> ValidationScores:
        """Score the present model if it is due: in the first epoch, the last, and some in between.

        Where epochs are the budget, work is counted, so that a resumed training scores the same ones;
        where minutes are, the clock decides.
        """
        state = self.state
        due = self.progress() >= 1 or state.epoch % self.validation.interval == 0
        if self.config.training.epochs is None and self.progress() < 1:
            due = state.validation_s <= SCORING_SHARE * state.elapsed_s
        if not due:
            return ValidationScores()
        started = time.monotonic()
        scores = self.validation.run(self.model)
        state.validation_s += agree(time.monotonic() - started)
        return scores

    @property
    def _position(self) -> tuple[int, int]:
        return self.state.step, self.state.epoch

    def save_if_due(self, every_s: float = 0.0) -> None:
        """Save if the last save is so many seconds ago, and what it took is `SAVE_SHARE` of these.

        Weights that are not finite are not saved.
        """
        since = time.monotonic() - self.saved_at
        due = since >= max(every_s, self._saving_s / SAVE_SHARE)
        if due and is_first() and self.state.is_finite:
            with self.surviving_full_disk():
                self.save()

    @contextmanager
    def surviving_full_disk(self) -> Iterator[None]:
        """Go on where files cannot be written, which is said once; a later save writes all of them."""
        try:
            yield
        except OSError as error:
            if not self.save_failed:
                text = f"{error} The training goes on, and tries again at its next save."
                self.messages.append(Message(text, _SAVING, is_problem=True))
            self.save_failed = True

    def save(self) -> None:
        """Save everything that is not saved yet; ``last.pt`` comes first, see `complete_files`."""
        if (self.saved == self._position and not self.save_failed) or not is_first():
            return
        started = time.monotonic()
        try:
            if self.diverged or not self.state.is_finite:
                self.save_best()
                if self.state.history:
                    self.folder.write_history(self.state.history)
            else:
                content = self.state.full_content(self.config, self.split)
                save_checkpoint(self.folder.last, content)
                self.complete_files()
            if self.save_failed:
                self.folder.write_start(self.config, self.split)
        finally:  # what failed took its time too
            self.saved_at = time.monotonic()
            self._saving_s = self.saved_at - started
        self.saved = self._position
        if self.save_failed:
            self.messages.append(Message(f"{self.folder.path} is saved again.", _SAVING))
        self.save_failed = False

    def finish(self) -> None:
        """Save at the end; raises `OutputError`, which says where else everything is, if there is a place."""
        if self.logger is not None:
            with suppress(OSError):
                self.logger.close()
        try:
            self.save()
        except OSError as error:
            raise OutputError(f"{error} {self._save_elsewhere()}".rstrip()) from error

    def _save_elsewhere(self) -> str:
        """Save a recovery copy, and say where; where there is no room for it, only the best model."""
        own = self.folder

        def write(path: Path) -> Path:
            self.folder, self.save_failed = RunFolder(path, resume=False), True  # writes all files
            try:
                with closing(self.folder):
                    if self.state.best is None and own.model.is_file():
                        shutil.copyfile(own.model, self.folder.model)
                    self.save()
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
            return path

        try:
            path = write_recovery_copy(write)
        except OSError:
            self.folder = own
            with suppress(OSError):
                self.save_best()  # needs a quarter of the space
            return ""
        return (
            f"The training is saved in {path} instead: use it there, or free some space and move its files "
            f"into {own.path}."
        )

    def save_best(self) -> None:
        """Write ``model.pt`` if there are better weights."""
        if self.state.best is not None and is_first():
            content = self.state.model_content(self.config, best=True)
            save_checkpoint(self.folder.model, content)
            self.state.best = None

    def complete_files(self) -> None:
        """Write ``model.pt`` and ``history.csv`` as they belong to ``last.pt``.

        A process that was killed between the three may have left the others behind.
        """
        if not is_first():
            return
        state = self.state
        self.save_best()
        if not self.folder.model.exists():
            save_checkpoint(self.folder.model, state.model_content(self.config))
        if state.history:
            self.folder.write_history(state.history)
