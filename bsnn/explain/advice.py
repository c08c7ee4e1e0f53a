"""Changes of a conversion, tried on the images at hand.

Each change answers one or more causes of error. Those that answer the causes that weigh most are
tried: the changed network is computed on the same images.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bsnn.conversion import SpikingModel
from bsnn.explain.causes import Situation
from bsnn.explain.changes import CHANGES, Changed
from bsnn.explain.measures import LayerComparison

__all__ = ["Advice", "Outcome", "advise"]

# Changes that are tried: each computes the whole network once.
_TRIED = 4

# A cause with less than this part of an error is not looked at.
_LEAST_SHARE = 0.05


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a network does on the images.

    Attributes
    ----------
    agreement : float
        Fraction of images with the same class as in the trained network.
    accuracy : float or None
        Fraction of images classified as labelled; None without labels.
    output_error : float
        RMSE of the last layer's values, relative to their root mean square.
    layer_error : float or None
        The same of the first layer that departs; None where it is not asked for.
    """

    agreement: float
    accuracy: float | None
    output_error: float
    layer_error: float | None = None

    def at(self, layer: LayerComparison) -> Outcome:
        """Return the outcome with the error of a layer."""
        return dataclasses.replace(self, layer_error=layer.relative_error)

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in dataclasses.asdict(self).items()
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Advice:
    """A change that was tried on the images.

    Attributes
    ----------
    change : str
        Name in `CHANGES`.
    cause : str
        The cause for which it was tried.
    text : str
        What to do.
    layer : str
        The layer whose error is told: the first that departs, else the last.
    before, after : Outcome
        Without and with the change, on the images that were compared.
    model : SpikingModel
        The changed network, as it was tried; `bsnn.SpikingModel.save` keeps it.
    """

    change: str
    cause: str
    text: str
    layer: str
    before: Outcome
    after: Outcome
    model: SpikingModel

    @property
    def agreement_gain(self) -> float:
        """By how much the fraction of images with the same class in both networks grows."""
        return self.after.agreement - self.before.agreement

    @property
    def helps(self) -> bool:
        """Say whether more images have the right class, or as many with a smaller error."""
        smaller = self.after.output_error < self.before.output_error
        return self.agreement_gain > 0 or (self.agreement_gain == 0 and smaller)

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "change": self.change,
            "cause": self.cause,
            "text": self.text,
            "helps": self.helps,
            "layer": self.layer,
            "agreement_gain": self.agreement_gain,
            "before": self.before.summary(),
            "after": self.after.summary(),
        }

    def __str__(self) -> str:
        before, after = self.before, self.after
        errors = [math.nan if e.layer_error is None else e.layer_error for e in (before, after)]
        return (
            f"{self.text}: same class {100 * before.agreement:.2f} -> {100 * after.agreement:.2f} "
            f"%, error of {self.layer} {100 * errors[0]:.3g} -> "
            f"{100 * errors[1]:.3g} %, of the output {100 * before.output_error:.3g} -> "
            f"{100 * after.output_error:.3g} %"
        )


def advise(
    situation: Situation,
    images: np.ndarray,
    layers: Mapping[str, LayerComparison],
    watched: str,
    before: Outcome,
    outcome: Callable[[Changed], Outcome],
) -> tuple[Advice, ...]:
    """Try what answers the causes that weigh most; return it, the best first.

    Parameters
    ----------
    situation : Situation
        What is compared.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``, float64; scales are looked for with them.
    layers : mapping of str to LayerComparison
        What was found.
    watched : str
        The first layer that departs; the last layer if none does.
    before : Outcome
        Of the network as it is.
    outcome : callable
        Returns what a changed network does on the images.
    """
    model = situation.model
    places = (layers[watched], layers[model.output.name])
    weights = {
        cause: max(place.share(cause) for place in places) for cause in layers[watched].causes
    }
    tried: dict[str, Advice] = {}
    for cause in sorted(weights, key=weights.__getitem__, reverse=True):
        # what answers this cause alone comes first
        for change in sorted(CHANGES.values(), key=lambda change: len(change.causes)):
            if weights[cause] < _LEAST_SHARE or cause not in change.causes:
                continue
            if change.name in tried or len(tried) == _TRIED:
                continue
            changed = change.make(model, images)
            if changed is not None:
                after = outcome(changed)
                tried[change.name] = Advice(
                    change.name, cause, changed.text, watched, before, after, changed.model
                )
    return tuple(sorted(tried.values(), key=lambda a: (-a.after.agreement, a.after.output_error)))
