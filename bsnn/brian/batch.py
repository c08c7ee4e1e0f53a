"""Images side by side in one group: how many there may be, and how messages speak of them.

A group that holds a batch has ``batch*size`` neurons, those of one image after those of another.
"""

from __future__ import annotations

from numbers import Integral

__all__ = ["check_countable", "checked_batch", "images"]

#: Brian2 numbers neurons, and the elements of an array, by int32. The threads of a GPU step beyond
#: the end of an array, by fewer than this leaves.
MOST = 2**31 - 2**20


def checked_batch(owner: str, batch) -> int:
    """Return a number of images, which is whole and at least one."""
    if isinstance(batch, bool) or not isinstance(batch, Integral) or batch < 1:
        raise ValueError(
            f"{owner}: batch is {batch!r}; a whole number of images, 1 or more, is expected."
        )
    return int(batch)


def check_countable(owner: str, what: str, count: int) -> None:
    """Refuse an array that is too large for its elements to be numbered."""
    if count > MOST:
        raise ValueError(
            f"{owner}: {what} would need an array of {count}, but Brian2 numbers its elements by "
            f"int32, here up to {MOST}. Simulate fewer images or neurons at a time."
        )


def images(batch: int, of) -> str:
    """Return ``of``, or how many images of it there are."""
    return f"{batch} images of {of}" if batch > 1 else str(of)
