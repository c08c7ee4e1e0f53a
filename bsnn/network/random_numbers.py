"""Random numbers by name in the strings of a neuron.

``uniform_NAME`` is a random number in [0, 1), ``normal_NAME`` one of mean zero and variance one.
Which it is depends on the seed of the network, the population, ``NAME``, the number of the image,
and what is counted within it; not on the target, nor on how images are dealt out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

import numpy as np

from bsnn.brian.time_origin import MIDDLE_OF_STEP, STEP
from bsnn.splitmix import splitmix_uniform

__all__ = [
    "NEURON",
    "NOISE_AT_START",
    "NOISE_AT_START_OF_WINDOW",
    "NOISE_MODEL",
    "STEP_AND_NEURON",
    "noise_seed",
    "random_names",
    "seeds_model",
    "step_noise_model",
    "uniform_of_neurons",
    "with_random_numbers",
]

_NAME = re.compile(r"\b(uniform|normal)_(\w+)\b")

#: What is counted within an image: a number for each step and neuron, or for each neuron.
STEP_AND_NEURON = f"(({STEP} % image_steps)*image_size + i % image_size)"
NEURON = "(i % image_size)"

# Of two numbers one of the normal distribution is made (Box and Muller 1958).
_DISTRIBUTIONS = {
    "uniform": "spike_noise(seed_{name}, noise_stream, {number})",
    "normal": "(sqrt(-2*log(1 - spike_noise(seed_{name}, noise_stream, 2*{number})))"
    "*cos(2*pi*spike_noise(seed_{name}, noise_stream, 2*{number} + 1)))",
}

#: The number of the image.
NOISE_MODEL = "noise_stream : 1"

#: Statement for the first step of an image.
NOISE_AT_START = f"noise_stream = image_numbers({MIDDLE_OF_STEP}, i//image_size)"

#: The same for the window in which a population encodes an image, in time-to-first-spike coding.
NOISE_AT_START_OF_WINDOW = (
    f"noise_stream = image_numbers({MIDDLE_OF_STEP} - first_window*window_steps*dt, i//image_size)"
)


def random_names(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the random numbers in some strings, each of which needs a seed."""
    return tuple(sorted({name for text in texts for _, name in _NAME.findall(text)}))


def step_noise_model(names: Iterable[str]) -> str:
    """Return the equations that random numbers which differ from step to step need."""
    return "\n".join(["image_steps : integer (shared, constant)", NOISE_MODEL, seeds_model(names)])


def seeds_model(names: Iterable[str]) -> str:
    """Return the parameters that random numbers of these names need."""
    return "\n".join(f"seed_{name} : 1 (shared, constant)" for name in names)


def with_random_numbers(text: str, number: str) -> str:
    """Put what draws random numbers in the place of their names; `number` is what is counted."""
    return _NAME.sub(
        lambda found: _DISTRIBUTIONS[found[1]].format(name=found[2], number=number), text
    )


def noise_seed(seed: int, population: str, name: str) -> int:
    """Return a seed for what is random in a population under a name; exact in float32."""
    stream = zlib.crc32(f"{population}/{name}".encode())
    return int(2**24 * float(splitmix_uniform(seed, stream, 0)))


def uniform_of_neurons(seed: int, population: str, name: str, size: int) -> np.ndarray:
    """Return a random number in [0, 1) for each neuron, the same for all images."""
    return splitmix_uniform(noise_seed(seed, population, name), 0, np.arange(size))
