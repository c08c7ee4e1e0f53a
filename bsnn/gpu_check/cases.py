"""The networks on which CUDA and C++ have to agree, by name.

A case is one entry in `CASES`. It is a function that is given a prefix for all names, so that
several networks can be simulated as one, and returns a `Part`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.conversion.gates import AVERAGE, GATES
from bsnn.gpu_check.models import cnn, rate_model, residual_net, small_cnn, ttfs_model
from bsnn.gpu_check.parts import DT, Part, RatePart, TtfsPart
from bsnn.gpu_check.scenes import RandomPart, delays, fixed_order
from bsnn.graph import Graph
from bsnn.network.builder import build
from bsnn.network.neuron_models import NEURON_MODELS

__all__ = ["CASES", "RANDOM", "Case"]

_GraphMaker = Callable[[str, np.random.Generator], Graph]


@dataclasses.dataclass(frozen=True)
class Case:
    """A network.

    Attributes
    ----------
    name : str
        As in `CASES`.
    about : str
        What it has that others have not.
    make : callable
        Returns its objects on the active device; takes the prefix of all their names.
    """

    name: str
    about: str
    make: Callable[[str], Part]

    def part(self) -> Part:
        """Return its objects, made on the active device."""
        return self.make(f"{self.name}_")


def _ttfs(
    prefix: str,
    make: _GraphMaker = cnn,
    *,
    images: int = 3,
    built_for: int | None = None,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Part:
    model = ttfs_model(make, prefix, **(settings or {}))
    return TtfsPart(build(model, images=built_for or images, dt=DT, **options), images)


def _rate(
    prefix: str,
    make: _GraphMaker = cnn,
    *,
    images: int = 2,
    built_for: int | None = None,
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Part:
    model = rate_model(make, prefix, **(settings or {}))
    return RatePart(build(model, images=built_for or images, dt=DT, **options), images)


def _gate(name: str) -> Case:
    make = partial(
        _rate, make=small_cnn, settings={"encoder": "regular", "gate": name}, images=3, batch=3
    )
    return Case(f"gate_{name}", f"max-pooling by the gate {name}", make)


_CASES = (
    Case("ttfs_calendar", "time to first spike, form calendar, float64", _ttfs),
    Case(
        "ttfs_event",
        "form event, spikes rounded, read out by first spike",
        partial(_ttfs, form="event", settings={"rounding": True, "read_out": "first-spike"}),
    ),
    Case("ttfs_trace", "form trace", partial(_ttfs, form="trace")),
    Case(
        "ttfs_batch",
        "float32, 6 images in batches of 4, read out by first spike",
        partial(
            _ttfs, images=6, batch=4, precision="float32", settings={"read_out": "first-spike"}
        ),
    ),
    Case(
        "ttfs_event_batch",
        "form event, float32, 3 images in one batch of 4",
        partial(_ttfs, form="event", built_for=4, batch=4, precision="float32"),
    ),
    Case(
        "ttfs_trace_batch",
        "form trace, float32, batches of 2",
        partial(_ttfs, form="trace", batch=2, precision="float32"),
    ),
    Case(
        "ttfs_synapses",
        "explicit synapses, batches of 2",
        partial(_ttfs, connectivity="synapses", batch=2),
    ),
    Case(
        "ttfs_residual",
        "residual network: delays of windows",
        partial(_ttfs, make=residual_net, batch=2),
    ),
    Case(
        "ttfs_residual_synapses",
        "residual network, explicit synapses, one image at a time",
        partial(_ttfs, make=residual_net, connectivity="synapses", one_at_a_time=True, images=2),
    ),
    Case("rate_constant", "rate coding, constant currents, reset by subtraction", _rate),
    Case(
        "rate_regular",
        "regular spikes, reset to zero, float32, 6 images in batches of 4, read out by count",
        partial(
            _rate,
            images=6,
            batch=4,
            precision="float32",
            settings={"encoder": "regular", "reset": "zero", "read_out": "count"},
        ),
    ),
    Case(
        "rate_poisson",
        "Poisson spikes, neuron groups, thresholds by channel, a lowest potential",
        partial(
            _rate,
            form="neuron-group",
            seed=7,
            settings={
                "encoder": "poisson",
                "by_channel": True,
                "potential_floor": -0.5,
                "initial_potential": 0.5,
            },
        ),
    ),
    Case(
        "rate_poisson_batch",
        "Poisson spikes, float32, batches of 2, balanced thresholds",
        partial(
            _rate,
            images=3,
            batch=2,
            precision="float32",
            seed=8,
            settings={"encoder": "poisson", "balance": "thresholds", "reset": "zero"},
        ),
    ),
    Case(
        "rate_synapses",
        "explicit synapses, neuron groups, batches of 2",
        partial(
            _rate,
            form="neuron-group",
            connectivity="synapses",
            batch=2,
            images=3,
            settings={"encoder": "regular"},
        ),
    ),
    Case(
        "rate_residual",
        "residual network",
        partial(_rate, make=residual_net, batch=2, settings={"encoder": "regular"}),
    ),
    Case(
        "rate_refractory",
        "neurons of differential equations with a refractory period, batches of 2",
        partial(
            _rate,
            # without a leak no sum is rounded
            neuron=NEURON_MODELS["lif"].with_parameters(
                tau=np.inf * b2.second, refractory_period=3 * DT
            ),
            batch=2,
            images=3,
            settings={"encoder": "regular"},
        ),
    ),
    Case(
        "rate_disturbed",
        "Poisson spikes, lost and delayed ones, dead neurons",
        partial(
            _rate,
            perturbations={"loss": 0.2, "delay": 2, "dead": 0.2},
            batch=2,
            images=3,
            seed=9,
            settings={"encoder": "poisson"},
        ),
    ),
    Case(
        "ttfs_disturbed",
        "lost spikes, dead neurons, thresholds that differ, float32, batches of 2",
        partial(
            _ttfs,
            perturbations={"loss": 0.2, "dead": 0.2, "threshold_spread": 0.1},
            batch=2,
            precision="float32",
            seed=10,
        ),
    ),
    *map(_gate, (*GATES, AVERAGE)),
    Case("delays", "Convolution, Dense and Synapses with delays", delays),
    Case("fixed_order", "deterministic=True, and statements that are more than sums", fixed_order),
)

#: Networks that compute the same on all devices, by name.
CASES: dict[str, Case] = {case.name: case for case in _CASES}

#: The one whose random numbers are the device's own.
RANDOM = Case("random", "Brian2's own random numbers", RandomPart)
