"""Brian2 scripts of bsnn's objects: delays, sums in a fixed order, and random numbers.

As in `bsnn.gpu_check.models`, no sum is rounded.
"""

from __future__ import annotations

from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.pooling import AveragePooling, MaxPooling
from bsnn.brian.spiking_groups import CalendarGroup, OnePassGroup
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.gpu_check.parts import DT, Outcome, Part, ScenePart

__all__ = ["PROBABILITY", "RandomPart", "delays", "fixed_order"]

_STEPS = 40
_WINDOW_STEPS = 8
_SHAPE = (3, 6, 5)
_SIZE = 3 * 6 * 5

#: With which the neurons of `RandomPart` spike.
PROBABILITY = 0.25


def _kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-40, 64, shape) / 64


def _source(prefix: str) -> CalendarGroup:
    """Neurons that spike once a window, or not at all, in a step that depends on the input."""
    return CalendarGroup(
        _SIZE,
        "spike_step : integer\nphase : integer (constant)",
        f"spike_step = (phase + 5*(t_in_timesteps//{_WINDOW_STEPS})) % {_WINDOW_STEPS + 3}",
        window_steps=_WINDOW_STEPS,
        name=f"{prefix}source",
    )


def _neurons(prefix: str, name: str, size: int) -> OnePassGroup:
    return OnePassGroup(
        size, "v : 1", update="", threshold="v >= 2", reset="v -= 2", order=1,
        name=f"{prefix}{name}",
    )  # fmt: skip


def _part(objects: list[Any], source: CalendarGroup, stored: int = 0) -> Part:
    return ScenePart(
        objects,
        steps=_STEPS,
        source=source,
        phases=_WINDOW_STEPS + 3,
        stored_connections=stored,
    )


def delays(prefix: str) -> Part:
    """Connections of each kind whose spikes arrive steps later, several of them from one group."""
    rng = np.random.default_rng(4)
    source = _source(prefix)
    convolved = _neurons(prefix, "convolved", 4 * 4 * 3)
    dense = _neurons(prefix, "dense", 12)
    explicit = b2.NeuronGroup(
        20, "v : 1", threshold="v >= 2", reset="v -= 2", name=f"{prefix}explicit"
    )
    back = _neurons(prefix, "back", 9)
    synapses = []
    for number, (pre, post, delay) in enumerate(
        [(source, explicit, 5), (source[10:40], explicit[3:15], 1), (explicit, back, 3)]
    ):
        synapses.append(
            b2.Synapses(
                pre, post, "w : 1 (constant)", on_pre="v_post += w", delay=delay * DT,
                name=f"{prefix}synapses_{number}", namespace={},
            )
        )  # fmt: skip
        i, j = np.nonzero(rng.random((len(pre), len(post))) < 0.4)
        synapses[-1].connect(i=i, j=j)
        synapses[-1].w = _kernel(rng, len(i))
    connections = [
        Convolution(source, convolved, _kernel(rng, 4, 3, 3, 3), "v_post += w",
                    source_shape=_SHAPE, padding=0, delay=2 * DT, namespace={},
                    name=f"{prefix}conv"),
        Dense(source, dense, _kernel(rng, 12, _SIZE), "v_post += w", delay=7 * DT, namespace={},
              name=f"{prefix}dense_late"),
        Dense(convolved, dense, _kernel(rng, 12, len(convolved)), "v_post += w", namespace={},
              name=f"{prefix}dense_at_once"),
    ]  # fmt: skip
    targets = [convolved, dense, explicit, back]
    objects = [source, *targets, *connections, *synapses]
    return _part(objects, source, sum(len(made) for made in synapses))


def fixed_order(prefix: str) -> Part:
    """Connections with ``deterministic=True``, and statements that are more than a sum."""
    rng = np.random.default_rng(5)
    source = _source(prefix)
    plain = _neurons(prefix, "plain", 4 * 6 * 5)
    largest = _neurons(prefix, "largest", 2 * 3 * 2)
    mean = _neurons(prefix, "mean", 4 * 5 * 4)
    last = OnePassGroup(
        7, "v : 1\nlabel : integer", update="", threshold="v >= 2", reset="v -= 2", order=1,
        name=f"{prefix}last",
    )  # fmt: skip
    fixed: dict[str, Any] = {"deterministic": True, "namespace": {}}
    connections = [
        Convolution(source, plain, _kernel(rng, 4, 3, 3, 3), "v_post += w", source_shape=_SHAPE,
                    padding=1, name=f"{prefix}conv_plain", **fixed),
        Convolution(source, largest, _kernel(rng, 2, 3, 1, 1), "v_post += w", source_shape=_SHAPE,
                    pool=MaxPooling(2, stride=2), name=f"{prefix}conv_max", **fixed),
        Convolution(source, mean, _kernel(rng, 4, 3, 1, 1), "v_post += 4*w", source_shape=_SHAPE,
                    pool=AveragePooling(2, stride=1), name=f"{prefix}conv_mean", **fixed),
        Dense(plain, last, _kernel(rng, 7, len(plain)), "v_post += w", name=f"{prefix}dense",
              **fixed),
        Dense(source, last, _kernel(rng, 7, _SIZE),
              "v_post = clip(v_post + w, -2, 2)\nlabel_post = i", namespace={},
              name=f"{prefix}dense_ordered"),
    ]  # fmt: skip
    label = WindowRecorder(
        last, "label", window_steps=1, windows=_STEPS, dtype=np.int32, name=f"{prefix}label"
    )
    return _part([source, plain, largest, mean, last, *connections, label], source)


class RandomPart(Part):
    """Neurons that spike in each step with one probability, by Brian2's own random numbers."""

    _NEURONS = 4096

    def __init__(self, prefix: str) -> None:
        group = b2.NeuronGroup(
            self._NEURONS,
            "spike_count : integer",
            threshold=f"rand() < {PROBABILITY}",
            reset="spike_count += 1",
            name=f"{prefix}neurons",
        )
        self._recorder = WindowRecorder(
            group, "spike_count", window_steps=1, windows=_STEPS, dtype=np.int32,
            name=f"{prefix}recorded",
        )  # fmt: skip
        self._group = group
        self.objects = [group, self._recorder]
        self.duration = _STEPS * DT

    def inputs(self, rng: np.random.Generator) -> np.ndarray:
        return np.zeros(0)

    def presentation(self, inputs: np.ndarray) -> dict[Any, np.ndarray]:
        return {}

    def outcome(self) -> Outcome:
        """Return in which steps each neuron spikes."""
        spikes = np.diff(self._recorder.values, axis=0, prepend=0)
        return Outcome({"spikes": spikes}, {self._group.name: int(spikes.sum())})
