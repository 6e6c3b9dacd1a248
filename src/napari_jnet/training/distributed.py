"""Training by several processes, as torchrun starts them; in a single process all of this does nothing.

Every process draws the same batches and computes its share of each.  Sums over pixels (losses, statistics
of batch normalization) are taken over all processes, so that a step equals that of one process.
"""

from __future__ import annotations

import gc
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.parallel import DistributedDataParallel

from napari_jnet.hardware import is_memory_full


@contextmanager
def process_group() -> Iterator[int]:
    """Join the processes that torchrun has started; yields the number of this one, 0 for a single one.

    They talk by gloo, and on NVIDIA GPUs by nccl; each takes the GPU of its number on its machine.  Raises
    `ValueError` where a machine has fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) < 2 or "RANK" not in os.environ:
        yield 0
        return
    backend, local = "gloo", int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        gpus = torch.cuda.device_count()
        if local >= gpus:
            raise ValueError(
                f"Process {local + 1} on this machine has no GPU: there are {gpus}. Start at most {gpus} "
                "processes here (--nproc-per-node), or hide the GPUs: CUDA_VISIBLE_DEVICES=''."
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    # Its functions have the present group as a default argument: imported later, they would keep it, and its
    # threads beyond the end of Python, where these may abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group(backend)
    try:
        yield process()
    finally:
        dist.destroy_process_group()
        gc.collect()  # DistributedDataParallel has the group, and refers to itself


def processes() -> int:
    """Return how many processes train."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process decides, writes and prints."""
    return process() == 0


def share(count: int) -> slice:
    """Return which images of a batch this process computes."""
    number, size = process(), processes()
    return slice(number * count // size, (number + 1) * count // size)


def agree(value: float, *, leaving: bool = False) -> float:
    """Return the value of the first process; raises `ConnectionError` if one of them is leaving.

    Every process must ask at the same places.
    """
    if processes() == 1:
        return value
    answer = torch.tensor([value if is_first() else 0.0, float(leaving)], dtype=torch.float64)
    dist.all_reduce(answer)
    if answer[1] and not leaving:
        raise ConnectionError(
            "Another process of this training was stopped; what was trained is saved. Continue with --resume."
        )
    return float(answer[0])


def leave() -> None:
    """Tell the others, where they next agree, that this process stops."""
    with suppress(RuntimeError):  # they are gone
        agree(0.0, leaving=True)


@contextmanager
def together() -> Iterator[None]:
    """Tell the others when this process closes its generator; losing one of them is a `ConnectionError`."""
    try:
        yield
    except GeneratorExit:
        leave()
        raise
    except RuntimeError as error:
        if processes() == 1 or is_memory_full(error):
            raise
        raise ConnectionError(
            "This process cannot go on without the others of its training, of which one has ended or failed. "
            f"What was saved is in the run; continue with --resume. (It says: {str(error).splitlines()[0]})"
        ) from error


def from_first(make: Callable[[], Any]) -> Any:
    """Return what this makes in the first process, the only one that calls it; it can be pickled."""
    values = [make() if is_first() else None]
    if processes() > 1:
        dist.broadcast_object_list(values)
    return values[0]


class _Sum(Function):
    """The sum over the processes.  Each has the same loss, of which the gradients are averaged later."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Return the sum."""
        value = value.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        return _Sum.forward(ctx, gradient)


def summed(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, with gradients."""
    if processes() == 1:
        return value
    result: Tensor = _Sum.apply(value)  # type: ignore[no-untyped-call]
    return result


class _BatchNorm(nn.BatchNorm2d):
    """Batch normalization over the images of all processes; torch's own one refuses the CPU."""

    def forward(self, image: Tensor) -> Tensor:
        """Normalize (N, C, H, W); statistics are float32."""
        if not self.training:
            return super().forward(image)
        assert self.weight is not None
        values, axes = image.float(), (0, 2, 3)
        count = values.new_full((1,), values[:, 0].numel())
        sums = summed(torch.cat([values.sum(axes), count]))
        count = sums[-1]
        mean = sums[:-1] / count
        centred = values - mean[:, None, None]
        variance = summed(centred.square().sum(axes)) / count
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalized.to(image.dtype)


def distribute(network: nn.Module) -> nn.Module:
    """Return what to call in the place of a network, which it changes: it then trains in all processes."""
    if processes() == 1:
        return network
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _BatchNorm  # same weights and names
    # Buffers are equal already: the statistics are over all processes.
    return DistributedDataParallel(network, forward_sync_buffers=False)
