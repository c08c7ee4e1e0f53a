"""The network in rate coding: integrate-and-fire neurons whose rates stand for activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from bsnn.conversion.encoders import ENCODERS
from bsnn.conversion.gates import AVERAGE, DEFAULT_GATE, gate_key
from bsnn.conversion.model import Decoded, SpikingModel, Tick, register_coding
from bsnn.conversion.pixels import FAR, advice, is_within, refusal
from bsnn.conversion.populations import (
    Population,
    Projection,
    per_channel,
    populations,
)
from bsnn.conversion.rate_dynamics import RateDynamics
from bsnn.errors import ConversionError, InputError
from bsnn.graph import AvgPool2d, Graph, MaxPool2d, are_counts

__all__ = ["BALANCES", "RATE_READ_OUTS", "RESETS", "RESIDUAL_RULES", "SETTINGS", "RateModel"]

#: What a spike leaves of the potential: what it was above the threshold, or nothing.
RESETS = ("subtract", "zero")

#: Where the scales go: into the weights, all thresholds being one (weight normalisation), or into
#: the thresholds, the weights being the trained ones (threshold balancing).
BALANCES = ("weights", "thresholds")

#: How a class is read: by the number of spikes, or by the potential of a last layer that integrates
#: and does not spike.
RATE_READ_OUTS = ("count", "potential")

#: Fields of a `RateModel` that conversion takes as they are.
SETTINGS = (
    "steps",
    "encoder",
    "reset",
    "balance",
    "residual",
    "gate",
    "initial_potential",
    "potential_floor",
    "read_out",
)

#: What holds where the branches of a residual network meet.
RESIDUAL_RULES = {
    "equal": "all that meet at a junction have one scale, the largest found",
    "one": "thresholds of one in all blocks (Sengupta et al. 2019, constraint 2)",
    "unequal": "thresholds as found, and spikes that count alike though they stand for different "
    "values (the paper's networks before constraint 2: wrong, for comparison)",
}


@register_coding
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RateModel(SpikingModel):
    """A trained network of integrate-and-fire neurons that code values by their rates.

    In each step a neuron's potential grows by its weighted input and its bias; if it has reached
    the threshold, the neuron spikes and the potential is reset. All layers act in the same step.
    A rate of ``r`` spikes a step stands for the value ``r * scale``.

    Attributes
    ----------
    steps : int
        Time steps for which an image is shown.
    scales : dict of str to float or numpy.ndarray
        By population, the value that one spike a step stands for; an array has one for each
        channel (of a flat population: for each neuron).
    encoder : str
        How images enter, a name in `bsnn.conversion.ENCODERS`.
    reset : str
        One of `RESETS`.
    balance : str
        One of `BALANCES`; both give the same spikes.
    residual : str
        A name in `RESIDUAL_RULES`.
    gate : str
        How max-pooling chooses the neuron of a window whose spikes pass: a name in
        `bsnn.conversion.GATES`, ``"average"`` (all pass, each with its share), or an expression
        over `bsnn.conversion.GATE_QUANTITIES`.
    initial_potential : float
        Potential at the beginning of an image, as a share of the threshold.
    potential_floor : float or None
        The lowest potential, in thresholds; None for none.
    fraction_bits : int or None
        Constant currents are rounded to multiples of ``2**-fraction_bits`` of the neuron's unit
        (see `bsnn.conversion.on_grid`); None leaves them as they are.
    threshold_factors : dict of str to float
        By population, by what the threshold is multiplied so that rates are right for neurons that
        are not the ideal ones (see `bsnn.refit_thresholds`); one where a population is not named.
    trace : dict of str to numpy.ndarray
        By population, the largest weighted input that Spike-Norm had met after each step, in the
        units of the trained network; empty for other normalisations.
    """

    encoder: str = "constant"
    reset: str = "subtract"
    balance: str = "weights"
    residual: str = "equal"
    gate: str = DEFAULT_GATE
    initial_potential: float = 0.0
    potential_floor: float | None = None
    fraction_bits: int | None = None
    threshold_factors: dict[str, float] = dataclasses.field(default_factory=dict)
    trace: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    coding = "rate"
    title = "rate coding"
    read_outs = RATE_READ_OUTS
    pipelined = False
    timed = False
    read_each_step = True
    refused = MappingProxyType({})

    @cached_property
    def populations(self) -> dict[str, Population]:
        """Populations by name, each after those that it reads."""
        return rate_populations(self.spiking_graph)

    @property
    def spiking_graph(self) -> Graph:
        return self._spiking_graph

    @cached_property
    def _spiking_graph(self) -> Graph:
        """The layers that the spiking network has: with average poolings, if the gate is that."""
        if self.gate != AVERAGE:
            return self.graph
        layers = [
            _averaged(layer) if isinstance(layer, MaxPool2d) else layer for layer in self.graph
        ]
        return Graph(layers, self.graph.output)

    def spikes(self, name: str) -> bool:
        role = self.populations[name].role
        if role == "input":
            return ENCODERS[self.encoder].spikes
        return role != "read_out" or self.read_out == "count"

    def decode(self, name: str, recorded: np.ndarray) -> np.ndarray:
        rates = recorded.astype(np.float64) / self.steps
        return rates * per_channel(self.scales[name], self.populations[name].shape)

    def count_spikes(self, recorded: np.ndarray) -> np.ndarray:
        return recorded

    def reference(
        self,
        images: np.ndarray,
        *,
        seed: int = 0,
        streams: np.ndarray | None = None,
        dtype: type = np.float64,
        tick: Tick | None = None,
    ) -> Decoded:
        dynamics = RateDynamics(self, images, seed, streams, dtype)
        sums = {
            name: np.zeros((len(images), *population.shape))
            for name, population in self.populations.items()
        }
        for _ in range(self.steps):
            for name, spikes in dynamics.step().items():
                sums[name] += spikes
            if tick is not None:
                tick()
        values = {
            name: count / self.steps * per_channel(self.scales[name], self.populations[name].shape)
            for name, count in sums.items()
        }
        output = self.output.name
        if not self.spikes(output):
            potential = dynamics.neurons(output).potential
            values[output] = potential.astype(np.float64) / self.steps
        return Decoded(values, values[output].reshape(len(images), -1).argmax(axis=1))

    def classes_by_steps(
        self, images: np.ndarray, furthest: int, *, seed: int = 0
    ) -> Iterator[np.ndarray]:
        dynamics, output = RateDynamics(self, images, seed), self.output
        reached: Any = 0.0
        for _ in range(furthest):
            spikes = dynamics.step()
            if self.spikes(output.name):
                scale = per_channel(self.scales[output.name], output.shape)
                reached = reached + spikes[output.name] * scale
            else:
                reached = dynamics.neurons(output.name).potential
            yield reached.reshape(len(images), -1).argmax(axis=1)

    @property
    def read_out_scale(self) -> float | np.ndarray:
        name = self.output.name
        return self.scales[name] if self.spikes(name) else self.unit(name)

    def facts(self) -> list[tuple[str, str]]:
        floor, bits = self.potential_floor, self.fraction_bits
        pooled = any(isinstance(layer, MaxPool2d) for layer in self.graph)
        return [
            *super().facts(),
            ("input", self.encoder),
            ("reset", self.reset),
            ("scales in the", self.balance),
            ("residual rule", self.residual),
            *([("gate of max-poolings", self.gate)] if pooled else []),
            ("initial potential", f"{self.initial_potential:g} thresholds"),
            ("lowest potential", "none" if floor is None else f"{floor:g} thresholds"),
            *([("bits after the point", str(bits))] if bits is not None else []),
        ]

    def conversion_options(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in SETTINGS},
            "channels": any(np.ndim(scale) for scale in self.scales.values()),
            "input_scale": self.scales[self.input.name],
        }

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return images as values that the encoder takes; float64, one for the input's scale."""
        return self.encoded_values(self.check_images(images)) / self.scales[self.input.name]

    @property
    def image_values(self) -> tuple[float, float]:
        """Lowest and highest value that images should have.

        Those of plain pixels, or of the calibration images where these are none. Of a network that
        does not say what it was calibrated with, as in older files, plain pixels are expected.
        """
        low, high = self.calibration.get("lowest", 0.0), self.calibration.get("highest", 0.0)
        return self.plain_values if is_within(low, high, self.plain_values) else (low, high)

    @property
    def plain_values(self) -> tuple[float, float]:
        """Lowest and highest value of pixels that were not normalised beforehand.

        Up to one, unless the network's own normalisation or the scale of its input say otherwise.
        """
        scale = 1.0 if self.normalises else float(self.scales[self.input.name])
        return 0.0, max(scale, self.graph.white)

    @property
    def normalises(self) -> bool:
        """Say whether the network normalises images before the input encodes them."""
        return self.input.layer != self.graph.input.name

    def encoded_values(self, images: np.ndarray) -> np.ndarray:
        """Return the values that the input encodes: images after a normalisation; float64."""
        known = {self.graph.input.name: images.astype(np.float64, copy=False)}
        return self.graph.evaluate(self.input.layer, known)

    def check_pixels(self, extremes: np.ndarray) -> None:
        scale = self.scales[self.input.name]
        largest = float(np.abs(self.encoded_values(extremes)).max())
        if ENCODERS[self.encoder].spikes and not is_within(0, largest, (0, scale)):
            raise InputError(
                f"The images have values up to {largest:g} (after normalisation), which need "
                f"{largest / scale:.3g} spikes a step: the encoder {self.encoder!r} encodes values "
                f"up to the input's scale, {scale:g}. {advice(extremes, self.plain_values)} If "
                "they are right, convert the network with a larger input_scale (--input-scale)."
            )
        expected, recorded = self.image_values, "lowest" in self.calibration
        limits = expected
        if expected != self.plain_values or not recorded:
            # images that are not plain pixels have no limits but these
            far = FAR * max(map(abs, expected))
            limits = (-far if expected[0] < 0 or not recorded else 0.0), far
        counts = expected[0] < 0 and are_counts(extremes)
        if counts or not is_within(float(extremes.min()), float(extremes.max()), limits):
            raise refusal(extremes, expected)

    def spike_amplitude(self, projection: Projection, target: Population) -> float | np.ndarray:
        """Return the value that a spike of a projection's source stands for at its target."""
        source = projection.source
        if self.residual == "unequal" and projection.joins:
            weighted = self._weighted_source(target)
            if source != weighted:
                # the channels of one are not those of the other
                return float(np.max(self.scales[weighted]))
        return self.scales[source]

    def unit(self, name: str) -> float | np.ndarray:
        """Return what a potential of one stands for, in the units of the trained network.

        In weight normalisation this is the neuron's own scale, in threshold balancing the scale of
        the population before, so that its weights stay as they were trained.
        """
        population = self.populations[name]
        if population.role == "input":
            return 1.0
        if self.balance == "weights":
            return self.scales[name]
        return self._incoming(population)

    def threshold(self, name: str) -> float | np.ndarray:
        """Return the threshold of a population, one number or one for each channel."""
        return self.threshold_factors.get(name, 1.0) * self.scales[name] / self.unit(name)

    def balanced_threshold(self, name: str) -> float | np.ndarray:
        """Return the threshold for trained weights and spikes of amplitude one."""
        return self.threshold(name) * self.unit(name) / self._incoming(self.populations[name])

    def weight_factor(self, projection: Projection, target: Population) -> float | np.ndarray:
        amplitude, unit = self.spike_amplitude(projection, target), self.unit(target.name)
        if not np.ndim(amplitude) and not np.ndim(unit):
            return amplitude / unit
        channels_in = self.populations[projection.source].shape[0]
        columns = np.broadcast_to(amplitude, channels_in)
        rows = np.broadcast_to(unit, target.shape[0])
        return columns / rows[:, np.newaxis]

    def bias(self, name: str) -> np.ndarray:
        """Return the current of each neuron in a step without input, in the population's shape."""
        unit = per_channel(self.unit(name), self.populations[name].shape)
        return self.input_of_silence(name) / unit

    def expected_spikes(self, images: np.ndarray) -> dict[str, float]:
        exact = self.spiking_graph.activations(self.check_images(images))
        expected = {}
        for name, population in self.populations.items():
            if self.spikes(name):
                scale = per_channel(self.scales[name], population.shape)
                rates = exact[population.layer] / scale
                rates = np.abs(rates) if population.role == "input" else np.maximum(rates, 0)
                expected[name] = float(np.minimum(rates, 1).sum()) * self.steps / len(images)
        return expected

    def conversion_tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "steps": self.steps,
            "encoder": self.encoder,
            "reset": self.reset,
            "balance": self.balance,
            "residual": self.residual,
            "initial_potential": self.initial_potential,
            "scales": {
                "unit": "value of the trained network that one spike a step stands for",
                **self.scales,
            },
        }
        if any(isinstance(layer, MaxPool2d) for layer in self.graph):
            tree["gate"] = self.gate
        if self.potential_floor is not None:
            tree["potential_floor"] = self.potential_floor
        if self.fraction_bits is not None:
            tree["fraction_bits"] = self.fraction_bits
        if self.threshold_factors:
            tree["threshold_factors"] = self.threshold_factors
        if self.trace:
            tree["trace"] = self.trace
        return tree

    @classmethod
    def fields_from_tree(cls, tree: dict[str, Any]) -> dict[str, Any]:
        scales = dict(tree["scales"])
        scales.pop("unit", None)
        names = ("steps", "encoder", "reset", "balance", "residual", "initial_potential")
        return {
            **{name: tree[name] for name in names},
            "scales": scales,
            # absent where there is no max-pooling
            "gate": tree.get("gate", cls.gate),
            "potential_floor": tree.get("potential_floor"),
            "fraction_bits": tree.get("fraction_bits"),
            "threshold_factors": dict(tree.get("threshold_factors", {})),
            "trace": dict(tree.get("trace", {})),
        }

    def check(self) -> None:
        super().check()
        for what, value, known in (
            ("encoder", self.encoder, ENCODERS),
            ("reset", self.reset, RESETS),
            ("balance", self.balance, BALANCES),
            ("residual rule", self.residual, RESIDUAL_RULES),
        ):
            if value not in known:
                raise ValueError(f"the {what} is {value!r}; known are {', '.join(known)}")
        if self.gate != AVERAGE:
            try:
                gate_key(self.gate)
            except ConversionError as error:
                raise ValueError(str(error)) from None
        if not 0 <= self.initial_potential < 1:
            raise ValueError(
                f"the initial potential is {self.initial_potential!r} thresholds; it lies from 0 "
                "to below 1"
            )
        if self.potential_floor is not None and not self.potential_floor <= 0:
            raise ValueError(
                f"the lowest potential is {self.potential_floor!r} thresholds; it is 0 or below"
            )
        for name, factor in self.threshold_factors.items():
            if name not in self.populations or not (np.isfinite(factor) and factor > 0):
                raise ValueError(f"the threshold of {name!r} is multiplied by {factor!r}")
        for name, population in self.populations.items():
            scale = np.asarray(self.scales[name])
            if scale.dtype.kind not in "fi" or not (np.isfinite(scale) & (scale > 0)).all():
                raise ValueError(f"{self.scales[name]!r} for {name!r}; a number is needed")
            if scale.ndim and scale.shape != population.shape[:1]:
                raise ValueError(
                    f"{scale.size} scales for {name!r}; one is needed, or {population.shape[0]}"
                )
            if population.role == "max_pool":
                source = population.projections[0].source
                if not np.array_equal(scale, self.scales[source]):
                    raise ValueError(
                        f"the scale of {name!r} is not that of {source!r}, whose spikes it passes"
                    )

    def _incoming(self, population: Population) -> float:
        """Value of a spike that arrives with the trained weights."""
        return float(np.max(self.scales[self._weighted_source(population)]))

    def _weighted_source(self, population: Population) -> str:
        """Source of the path with trained weights: at a junction not that of the shortcut."""
        weighted = [
            path
            for path in population.projections
            if any(self.spiking_graph[layer].arrays for layer in path.layers)
        ]
        return (weighted or list(population.projections))[0].source


def rate_populations(graph: Graph) -> dict[str, Population]:
    """Return the populations of a rate-coded network, by name.

    Raises
    ------
    ConversionError
        The network breaks a rule of the method: a max-pooling of values that no neuron stands for.
    """
    plan = populations(graph, normalised_input=True)
    for population in plan.values():
        if population.role == "max_pool" and plan[population.projections[0].source].role == "input":
            raise ConversionError(
                f"The max-pooling {population.layer!r} follows the input. In rate coding it "
                "chooses among neurons; pool the images before they are presented, and convert the "
                "network without this layer."
            )
    return plan


def _averaged(layer: MaxPool2d) -> AvgPool2d:
    """Return an average pooling in place of a max-pooling: elements of the padding do not count."""
    if layer.dilation != (1, 1):
        raise ConversionError(
            f"The max-pooling {layer.name!r} has a dilation of {layer.dilation}; with it the gate "
            f"{AVERAGE!r} is not offered."
        )
    return AvgPool2d(
        name=layer.name,
        inputs=layer.inputs,
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        ceil_mode=layer.ceil_mode,
        count_include_pad=False,
    )
