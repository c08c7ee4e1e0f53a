"""A training loop whose trainings are kept after each epoch, and gone on with."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from bsnn.errors import SettingsError
from bsnn.progress import progress_bar
from bsnn.training.keeping import TrainingFolder

__all__ = ["Outcome", "fit", "on_device"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a batch has given.

    Attributes
    ----------
    loss : torch.Tensor
        Of the classification, for the log.
    logits, labels : torch.Tensor
        From which the accuracy is counted.
    objective : torch.Tensor, optional
        What is made smaller, if it is more than the loss.
    further : dict of str to torch.Tensor
        Further numbers of which the log has the mean.
    """

    loss: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor
    objective: torch.Tensor | None = None
    further: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def on_device(net: nn.Module, device: str) -> Any:
    """Return a network on a device, its weights channel last: convolutions are faster so."""
    layout: Any = {"memory_format": torch.channels_last}
    return net.to(device, **layout)


def fit(
    net: nn.Module,
    out: str | os.PathLike[str],
    settings: Any,
    *,
    forward: Callable[[int, torch.Tensor], Outcome],
    images: int,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    memory: dict[str, dict] | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Any:
    """Train a network; after each epoch write a checkpoint and a line of the log.

    Parameters
    ----------
    net : torch.nn.Module
        Made after the seed was set.
    out : path
        Folder for ``checkpoint.pt`` (to resume from), ``weights.pt`` (the state dict) and
        ``log.jsonl`` (one line an epoch).
    settings : dataclass
        What determines the training; has ``epochs`` and ``batch_size``.
    forward : callable
        Given the number of the epoch, from 0, and the numbers of the images of a batch, returns an
        `Outcome`.
    images : int
        How many there are.
    optimiser, schedule
        PyTorch's; the schedule goes on after each batch.
    memory : dict of dict, optional
        What else training remembers; kept in the checkpoint and filled from it.
    resume : bool
        Go on from the checkpoint in `out`, if there is one.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    torch.nn.Module
        The trained network, in evaluation mode, on the CPU.

    Raises
    ------
    SettingsError
        The checkpoint was made with other settings, or the loss is no longer a number.
    """
    memory = memory or {}
    # after the seed: a checkpoint brings its own state of the random numbers
    folder = TrainingFolder(out, settings, resume=resume)
    parts = {"net": net, "optimiser": optimiser, "schedule": schedule}
    if folder.state is not None:
        for name, part in parts.items():
            part.load_state_dict(folder.state[name])
        for name, remembered in memory.items():
            remembered.update(folder.state[name])
    batches = -(-images // settings.batch_size)
    with progress_bar(disable=quiet) as progress:
        bar = progress.add_task("training", total=settings.epochs * batches)
        progress.advance(bar, folder.epochs_done * batches)
        for epoch in range(folder.epochs_done, settings.epochs):
            started, rate = time.perf_counter(), schedule.get_last_lr()[0]
            numbers: dict[str, list[float]] = {}
            correct = 0
            net.train()
            for batch in torch.randperm(images).split(settings.batch_size):
                outcome = forward(epoch, batch)
                optimiser.zero_grad(set_to_none=True)
                (outcome.loss if outcome.objective is None else outcome.objective).backward()
                optimiser.step()
                schedule.step()
                for name, value in {"loss": outcome.loss, **outcome.further}.items():
                    numbers.setdefault(name, []).append(value.item())
                correct += int((outcome.logits.argmax(1) == outcome.labels).sum())
                progress.advance(bar)
            line = {
                "epoch": epoch + 1,
                **{name: float(np.mean(values)) for name, values in numbers.items()},
                "training_accuracy": correct / images,
                "learning_rate": rate,
                "seconds": time.perf_counter() - started,
            }
            if not np.isfinite(line["loss"]):
                raise SettingsError(
                    f"The loss is {line['loss']} in epoch {epoch + 1}: the training has diverged. "
                    "Use a smaller learning rate."
                )
            folder.keep(line, {name: part.state_dict() for name, part in parts.items()} | memory)
            progress.update(bar, description=f"training, loss {line['loss']:.4f}")
    net.cpu()
    contiguous: Any = {"memory_format": torch.contiguous_format}
    net = net.to(**contiguous).eval()
    folder.finish(net.state_dict())
    return net
