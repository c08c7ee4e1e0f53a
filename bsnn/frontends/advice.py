"""What to say of operations that have no spiking form, whatever a network is written in."""

from __future__ import annotations

__all__ = ["ACTIVATION", "LARGER_OF_TWO", "PRODUCT"]

ACTIVATION = (
    "Spiking neurons here compute max(0, x), with a largest value if you like: train the network "
    "with ReLU, ReLU6 or another clipped ReLU."
)

PRODUCT = (
    "Values that depend on the images are multiplied by each other, as gates and attention do. "
    "Spiking neurons add weighted spikes: use a network without such products."
)

LARGER_OF_TWO = (
    "the larger or smaller of two values that both depend on the images has no form; a max-pooling "
    "or a ReLU has."
)
