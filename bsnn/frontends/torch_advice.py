"""What to write instead of an operation that has no spiking form."""

from __future__ import annotations

from bsnn.frontends.advice import ACTIVATION, PRODUCT

__all__ = ["advice"]

_ADVICE = {
    "norm": "Its statistics are those of each image. Use nn.BatchNorm2d, which is folded.",
    "softmax": "Return the logits: the largest of them is the largest probability too.",
    "product": PRODUCT,
    "interpolate": "Use a strided nn.Conv2d or a pooling layer.",
    "upsample": "Use a strided nn.Conv2d or a pooling layer.",
    "attention": "Spiking neurons add weighted spikes; products of values have no form.",
    "pad": "It does not pad with zeros, and only zero padding has a spiking form.",
    "conv3d": "Only one and two axes are convolved.",
}
for _name in (
    "tanh", "gelu", "silu", "elu", "leaky", "hardswish", "softplus", "prelu", "mish", "sigmoid",
    "threshold", "abs", "where", "gt", "sign",
):  # fmt: skip
    _ADVICE[_name] = ACTIVATION


def advice(name: str) -> str:
    """What to write instead of an operation that has no counterpart."""
    for part, text in _ADVICE.items():
        if part in name.lower():
            return text
    return (
        "It has no spiking form. Convolutions, dense layers, BatchNorm, ReLU and clipped ReLU, "
        "pooling, sums, concatenation, and what only moves values have one."
    )
