"""The network in time-to-first-spike coding, and what it computes in closed form."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any

import numpy as np

from bsnn.conversion.model import Decoded, SpikingModel, Tick, register_coding
from bsnn.conversion.pixels import is_within, refusal
from bsnn.conversion.populations import population_levels
from bsnn.conversion.time_code import decode, pixel_levels, reached_scale, rounding_charge

__all__ = ["FIRST_CODING", "READ_OUTS", "CodedImages", "TtfsModel"]

#: How a class is read from the last layer: its largest potential, or its earliest spike.
READ_OUTS = ("potential", "first-spike")

#: Coding of files that name none: they are from when there was no other.
FIRST_CODING = "ttfs"


@dataclasses.dataclass(frozen=True)
class CodedImages:
    """Spikes and potentials of a batch, in closed form.

    Attributes
    ----------
    levels : dict of str to numpy.ndarray
        By population, the level of each neuron's spike (see `bsnn.conversion.time_code`);
        shape ``(n, *shape)``. The read-out is left out unless it spikes.
    values : dict of str to numpy.ndarray
        By population, what these spikes stand for, in the units of the trained network.
    potentials : dict of str to numpy.ndarray
        By population of neurons, the potential at the end of the silent stage, without the
        rounding charge; for the read-out, the logits.
    """

    levels: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    potentials: dict[str, np.ndarray]


@register_coding
@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TtfsModel(SpikingModel):
    """A trained network coded by the times of single spikes (López-Randulfe et al. 2022).

    Attributes
    ----------
    steps : int
        Time steps in a window, in which each neuron spikes at most once.
    scales : dict of str to float
        By population, the value that a spike in the first step stands for. It is also the
        threshold of the population's neurons, whose potentials are in the units of the trained
        network's values.
    rounding : bool
        Whether neurons start with half a step's charge, so that spike times are rounded.
    """

    rounding: bool = False
    read_out: str = "potential"

    coding = "ttfs"
    title = "time-to-first-spike coding"
    read_outs = READ_OUTS
    pipelined = True
    timed = True
    read_each_step = False
    # the potential and its slope
    state_words = 2
    refused = MappingProxyType(
        {
            "source": "its layers read in which step of a window a spike comes, each in a window "
            "of its own. Convert the network to rate coding (bsnn.convert_to_rate).",
            "synapses": "there the time of a spike is its value, each neuron spikes once for an "
            "image, and a synapse that delays a spike or remembers the last one reads it wrongly. "
            "Convert the network to rate coding (bsnn.convert_to_rate).",
            "NIR": "the neurons of NIR have no windows and no closed threshold. Convert the "
            "trained network to rate coding (bsnn.convert_to_rate, or bsnn convert --coding rate).",
            "pooling block": "the pooling block is for rate coding. Convert the network to that "
            "(bsnn.convert_to_rate, or bsnn convert --coding rate).",
            "refit": "only rates can be fitted by a threshold; here the time of the spike is the "
            "value.",
        }
    )

    def spikes(self, name: str) -> bool:
        return self.populations[name].role != "read_out" or self.read_out == "first-spike"

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Return the levels of images (see `bsnn.conversion.time_code`); float64."""
        images, scale = self.check_images(images), self.scales[self.input.name]
        return pixel_levels(images, scale, self.steps, self.rounding)

    def decode(self, name: str, recorded: np.ndarray) -> np.ndarray:
        if recorded.dtype.kind != "f":
            recorded = recorded.astype(np.float32)
        return decode(recorded, self.scales[name], self.steps)

    def count_spikes(self, recorded: np.ndarray) -> np.ndarray:
        return recorded > 0

    def spike_worth(self, steps: np.ndarray) -> np.ndarray:
        return self.steps - steps

    def reference(
        self,
        images: np.ndarray,
        *,
        seed: int = 0,
        streams: np.ndarray | None = None,
        dtype: type = np.float64,
        tick: Tick | None = None,
    ) -> Decoded:
        coded, output = self.code(np.asarray(images, dtype)), self.output.name
        reached = coded.potentials[output].reshape(len(images), -1)
        levels = coded.levels.get(output)
        classes = self.classes(reached, None if levels is None else levels.reshape(reached.shape))
        return Decoded({output: coded.potentials[output], **coded.values}, classes)

    def facts(self) -> list[tuple[str, str]]:
        return [
            *super().facts(),
            ("windows from image to class", str(self.output.depth)),
            ("spike times", "rounded" if self.rounding else "floored"),
        ]

    def conversion_options(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "rounding": self.rounding,
            "read_out": self.read_out,
            "input_scale": self.scales[self.input.name],
        }

    @property
    def largest_recorded(self) -> int:
        return self.steps

    @property
    def decided_by_spikes(self) -> bool:
        # by the earliest
        return self.spikes(self.output.name)

    @property
    def read_out_offset(self) -> float:
        return self.initial_charge(self.output.name)

    def check_pixels(self, extremes: np.ndarray) -> None:
        limits = (0, self.scales[self.input.name])
        if not is_within(float(extremes.min()), float(extremes.max()), limits):
            raise refusal(extremes, limits)

    def expected_spikes(self, images: np.ndarray) -> dict[str, float]:
        levels = self.code(images).levels
        return {name: np.count_nonzero(level) / len(images) for name, level in levels.items()}

    def bias(self, name: str) -> np.ndarray:
        """Return the potential from which the neurons of a population start, at rest.

        The biases, carried through the linear layers, plus the rounding charge if there is one;
        float64, of the population's shape.
        """
        return self.input_of_silence(name) + self.initial_charge(name)

    def threshold(self, name: str) -> float:
        """Return from which potential on a neuron spikes at once."""
        return reached_scale(self.scales[name])

    def initial_charge(self, name: str) -> float:
        """Return the charge above the bias with which the neurons of a population start."""
        rounds = self.rounding and self.spikes(name)
        return rounding_charge(self.scales[name], self.steps) if rounds else 0.0

    def code(self, images: np.ndarray) -> CodedImages:
        """Return the spikes of a batch in closed form, without a simulation.

        Parameters
        ----------
        images : numpy.ndarray
            Shape ``(n, *input_shape)``, values from 0 to the input's scale; float64 images are
            computed in float64, others in float32.
        """
        coded: dict[str, np.ndarray] = {}
        potentials: dict[str, np.ndarray] = {}
        known: dict[str, np.ndarray] = {self.graph.input.name: self.check_images(images)}
        for name, population in self.populations.items():
            if population.role == "max_pool":
                # the pooling passes spikes on: their times are compared, not coded again
                source = coded[population.projections[0].source]
                coded[name] = self.graph[population.layer].forward(source)
                known[population.layer] = decode(coded[name], self.scales[name], self.steps)
                continue
            value = self.graph.evaluate(population.potential_layer, known)
            if population.role in ("neurons", "read_out"):
                potentials[name] = value
            if not self.spikes(name):
                continue
            coded[name] = population_levels(
                population, value, self.scales[name], self.steps, self.rounding
            )
            known[population.layer] = decode(coded[name], self.scales[name], self.steps)
        values = {
            name: known[population.layer]
            for name, population in self.populations.items()
            if name in coded
        }
        return CodedImages(coded, values, potentials)

    def conversion_tree(self) -> dict[str, Any]:
        return {
            "steps_per_window": self.steps,
            "rounding": self.rounding,
            "scales": {
                "unit": "value of the trained network that a spike in the first step stands for; "
                "also the threshold of the neurons",
                **self.scales,
            },
        }

    @classmethod
    def fields_from_tree(cls, tree: dict[str, Any]) -> dict[str, Any]:
        scales = dict(tree["scales"])
        scales.pop("unit", None)
        return {
            "steps": tree["steps_per_window"],
            "rounding": bool(tree["rounding"]),
            "scales": scales,
        }

    def check(self) -> None:
        super().check()
        for name in self.populations:
            scale = self.scales[name]
            if not isinstance(scale, (float, int)) or not np.isfinite(scale) or scale <= 0:
                raise ValueError(f"{scale!r} for {name!r}; a number is needed")
