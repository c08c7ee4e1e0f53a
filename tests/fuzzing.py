"""How many examples hypothesis tries."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("long", deadline=None, print_blob=True)
settings.register_profile("quick", settings.get_profile("long"), max_examples=20)


def examples(most: int) -> settings:
    """Return settings for so many examples in the profile ``long``, for a fifth in ``quick``."""
    return settings(max_examples=most * settings.default.max_examples // 100)
