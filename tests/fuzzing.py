"""How many examples hypothesis tries, and what several tests draw."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from torch import nn

settings.register_profile("long", deadline=None, print_blob=True)
settings.register_profile("quick", settings.get_profile("long"), max_examples=20)


def examples(most: int) -> settings:
    """Return settings for so many examples in the profile ``long``, for a fifth in ``quick``."""
    return settings(max_examples=most * settings.default.max_examples // 100)


@st.composite
def convolutions(draw, channels: int) -> nn.Conv2d:
    """Draw a convolution of any geometry for maps of at least five by five."""
    groups = draw(st.sampled_from([1, channels]))
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    return nn.Conv2d(
        channels,
        groups * draw(st.integers(1, 2)),
        kernel,
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        padding=(draw(st.integers(0, 2)), draw(st.integers(0, 2))),
        dilation=1 if max(kernel) > 2 else draw(st.integers(1, 2)),
        groups=groups,
        bias=draw(st.booleans()),
    )
