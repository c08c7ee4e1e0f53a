"""When a conversion is good, and when it is broken."""

from __future__ import annotations

import dataclasses

from bsnn.errors import SettingsError

__all__ = ["VERDICTS", "Thresholds"]

#: Verdicts, the best first.
VERDICTS = ("good", "lossy", "broken")


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """What a verdict depends on.

    Attributes
    ----------
    good : float
        Fraction of images with the same class in both networks from which on a conversion is good.
    broken : float
        Fraction below which it is broken; between the two it is lossy.
    layer_error : float
        Error of a layer, relative to its activations' root mean square, above which it departs.

    Raises
    ------
    SettingsError
        A value is out of range.
    """

    good: float = 0.98
    broken: float = 0.9
    layer_error: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.broken <= self.good <= 1:
            raise SettingsError(
                f"The thresholds of the verdict are {self.broken:g} (broken below) and "
                f"{self.good:g} (good from): both are fractions from 0 to 1, and the first is not "
                "above the second."
            )
        if not self.layer_error > 0:
            raise SettingsError(
                f"The relative error from which a layer departs is {self.layer_error:g}; it is "
                "positive."
            )

    def verdict(self, agreement: float) -> str:
        """Return one of `VERDICTS`."""
        if agreement >= self.good:
            return "good"
        return "lossy" if agreement >= self.broken else "broken"
