"""Brian2 equations of the encoders, by which images enter a rate-coded network.

Input neurons hold ``value``, a pixel (after the network's normalisation) divided by the input's
scale, from the first step of an image on. What they emit in time is defined in
`bsnn.conversion.encoders`; the equations here emit the same.
"""

from __future__ import annotations

import dataclasses

from bsnn.brian.time_origin import MIDDLE_OF_STEP, STEP

__all__ = ["ENCODER_EQUATIONS", "INPUT_AT_START", "INPUT_MODEL", "EncoderEquations"]

#: The input neurons. ``noise_stream`` is the number of the image; random numbers depend on it, on
#: ``noise_seed``, and on step and neuron.
INPUT_MODEL = f"""
image_steps : integer (shared, constant)
image_count : integer (shared, constant)
noise_seed : 1 (shared, constant)
noise_stream : 1
value : 1
spike_count : integer
image_step = {STEP} % image_steps : integer (shared)
"""

#: In the first step of an image. After the last one nothing is shown.
INPUT_AT_START = f"""
value = image_values({MIDDLE_OF_STEP}, i)*int({STEP} < image_count*image_steps)
noise_stream = image_numbers({MIDDLE_OF_STEP}, i//input_size)
spike_count = 0
"""


@dataclasses.dataclass(frozen=True)
class EncoderEquations:
    """Equations of input neurons that encode their value.

    Attributes
    ----------
    threshold : str
        When a neuron spikes.
    weight : str
        What stands for the weight, ``w``, where a spike arrives.
    on_pre : str
        What a spike does to the first layer, if it is not what a spike does to a neuron.
    """

    threshold: str
    weight: str = "w*sign(value_pre)"
    on_pre: str = ""


#: By the name of the encoder, as in `bsnn.conversion.ENCODERS`.
ENCODER_EQUATIONS: dict[str, EncoderEquations] = {
    # the step has 64 bits, so that the number of a random number does not overflow
    "poisson": EncoderEquations(
        "spike_noise(noise_seed, noise_stream,"
        f" ({STEP} % image_steps)*input_size + i % input_size) < abs(value)"
    ),
    "regular": EncoderEquations(
        "floor(abs(value)*(image_step + 1)) > floor(abs(value)*image_step)"
    ),
    # the current is told once, and flows for as long as the image is shown
    "constant": EncoderEquations(
        "image_step == 0 and value != 0", on_pre="current_post += w*value_pre"
    ),
}
