"""Scales where the branches of a residual network meet."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bsnn.conversion.rate import RateModel

__all__ = ["Junctions"]


class Junctions:
    """Gives populations the scales that were found for them, after the model's residual rule.

    Parameters
    ----------
    model : RateModel
        Whose dictionary of scales is filled in, population after population.
    fixed : mapping of str to float
        Scales that are known, by population, whatever the rule.
    """

    def __init__(self, model: RateModel, fixed: Mapping[str, float | np.ndarray]) -> None:
        self._model = model
        self._fixed = fixed
        #: populations that meet at a junction, by each of them
        self._meeting: dict[str, set[str]] = {}
        #: populations in residual blocks, in order
        self._in_blocks: list[str] = []
        #: neurons that each max-pooling chooses from: it has their scale
        self._pooled: dict[str, str] = {}
        order = list(model.populations)
        for name, population in model.populations.items():
            if population.role == "max_pool":
                self._pooled[name] = self._neurons(population.projections[0].source)
            joined = (path.source for path in population.projections if path.joins)
            sources = {self._neurons(source) for source in joined} - set(fixed)
            if len(sources) < 2 or population.role == "read_out":
                continue
            together = set.union(*(self._meeting.get(s, {s}) for s in sources))
            self._meeting.update(dict.fromkeys(together, together))
            # from where the branches part to where they meet
            first = min(order.index(source) for source in sources)
            self._in_blocks += order[first : order.index(name) + 1]
        without = {model.input.name, *self._pooled}
        self._in_blocks = sorted(set(self._in_blocks) - without, key=order.index)

    def given(self, name: str) -> bool:
        """Say whether a population's scale is known, or given by the rule, whatever is found."""
        return name in self._fixed or (self._model.residual == "one" and name in self._in_blocks)

    def assign(self, name: str, found: float | np.ndarray) -> list[str]:
        """Set the scale of a population; return those whose scale is new, in their order.

        Max-poolings of their spikes get the same scale, and are not in the list.
        """
        changed = self._assign(name, found)
        scales = self._model.scales
        scales.update({pool: scales[n] for pool, n in self._pooled.items() if n in changed})
        return changed

    def _assign(self, name: str, found: float | np.ndarray) -> list[str]:
        model = self._model
        scales = model.scales
        if name in self._fixed:
            scales[name] = self._fixed[name]
            return [name]
        if self.given(name):
            # thresholds of one: in units of what enters the blocks
            before = model.populations[self._in_blocks[0]].projections[0].source
            # the channels before are not the channels here
            scales[name] = float(np.max(scales[before]))
            return [name]
        scales[name] = found
        if model.residual != "equal" or name not in self._meeting:
            return [name]
        # channels of one branch are not those of another: one scale holds for all of them
        done = self._done(name)
        largest = max(float(np.max(scales[other])) for other in done)
        changed = [
            other for other in done if other == name or not np.array_equal(scales[other], largest)
        ]
        for other in changed:
            scales[other] = largest
        return changed

    def undecided(self, later: list[str]) -> list[str]:
        """Return the populations that may get another scale when one of the later ones is found."""
        if self._model.residual != "equal":
            return []
        return [
            name
            for name in self._model.populations
            if name not in later and self._meeting.get(name, set()).intersection(later)
        ]

    def _neurons(self, name: str) -> str:
        return self._pooled.get(name, name)

    def _done(self, name: str) -> list[str]:
        """Those that meet a population and come no later; the input has its scale already."""
        names = list(self._model.populations)
        return [
            other
            for other in names[: names.index(name) + 1]
            if other in self._meeting[name] and other != self._model.input.name
        ]
