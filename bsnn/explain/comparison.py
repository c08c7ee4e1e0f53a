"""Comparing a spiking network with the trained one, layer by layer and cause by cause."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from bsnn.conversion import Decoded, SpikingModel
from bsnn.errors import SettingsError
from bsnn.explain.advice import Advice, Outcome, advise
from bsnn.explain.causes import CAUSES, Cause, Situation
from bsnn.explain.changes import Changed
from bsnn.explain.decomposition import decomposition_of
from bsnn.explain.measures import LayerComparison, LayerMeasures
from bsnn.explain.reference import Reference
from bsnn.explain.verdict import Thresholds
from bsnn.graph import Dead, Graph, dead_parts, slices
from bsnn.progress import progress_bar
from bsnn.simulation import Result
from bsnn.simulation.shown import check_classes, checked_images

__all__ = ["Comparison", "Stage", "compare"]

# Values of all stages that are in memory at once, about.
_VALUES = 30_000_000


@dataclasses.dataclass(frozen=True)
class Stage:
    """The network with the causes up to one of them.

    Attributes
    ----------
    cause : str
        Name of the last cause that was added; ``"none"`` for the reference.
    outcome : Outcome
        What it does on the images.
    """

    cause: str
    outcome: Outcome


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """The differences between a spiking network and the trained one, and their causes.

    Attributes
    ----------
    coding : str
        Name of the coding.
    steps : int
        Time steps in a window; in rate coding those for which an image is shown.
    images : int
        How many images were compared.
    layers : dict of str to LayerComparison
        By population, in the order of the network.
    stages : tuple of Stage
        The trained network, then with one cause of error after the other; the last is the spiking
        network.
    advice : tuple of Advice
        What was tried on these images, the best first; empty if the conversion is good and no
        layer departs.
    thresholds : Thresholds
        What the verdict depends on.
    dead : Dead
        What no image can make active, in the trained network.
    """

    coding: str
    steps: int
    images: int
    layers: dict[str, LayerComparison]
    stages: tuple[Stage, ...]
    advice: tuple[Advice, ...]
    thresholds: Thresholds
    dead: Dead

    @property
    def agreement(self) -> float:
        """Fraction of images with the same class in both networks."""
        return self.stages[-1].outcome.agreement

    @property
    def accuracy(self) -> float | None:
        """Fraction of images that the spiking network classifies as labelled."""
        return self.stages[-1].outcome.accuracy

    @property
    def ann_accuracy(self) -> float | None:
        """Fraction of images that the trained network classifies as labelled."""
        return self.stages[0].outcome.accuracy

    @property
    def verdict(self) -> str:
        """``"good"``, ``"lossy"`` or ``"broken"``, after the thresholds."""
        return self.thresholds.verdict(self.agreement)

    @property
    def departs(self) -> str | None:
        """The first layer whose relative error is above the threshold; None if there is none."""
        return _departs(self.layers, self.thresholds)

    @property
    def cause(self) -> str | None:
        """The cause that weighs most in the layer that departs; None if none does."""
        return None if self.departs is None else self.layers[self.departs].main_cause

    def diagnosis(self) -> list[str]:
        """Return in sentences where the network departs, why, what to change, and what is dead."""
        return [*self._departure(), *self._dead()]

    def _dead(self) -> list[str]:
        inactive = [
            f"No unit of {layer.name} is active for any of these images, in the trained network "
            "either."
            for layer in self.layers.values()
            if layer.dead == np.prod(layer.shape)
        ]
        return [*inactive, *self.dead.sentences()]

    def _departure(self) -> list[str]:
        if self.departs is None:
            limit = 100 * self.thresholds.layer_error
            return [f"No layer departs by more than {limit:g} % of its activations."]
        layer = self.layers[self.departs]
        cause = CAUSES[layer.main_cause or ""]
        return [
            f"The first layer that departs is {layer.name}: its error is "
            f"{100 * layer.relative_error:.3g} % of its activations.",
            f"What weighs most there is {cause.title} ({100 * layer.share(cause.name):.0f} % of "
            f"the error{self._parts_text(layer)}): {cause.explanation}.",
            f"What to change: {cause.change}.",
        ]

    @staticmethod
    def _parts_text(layer: LayerComparison) -> str:
        parts = [name for name, whole in layer.parts.items() if whole == layer.main_cause]
        return "".join(
            f", of which {100 * layer.share(name):.0f} % is the {CAUSES[name].title}"
            for name in parts
        )

    def rows(self) -> list[tuple[str, str]]:
        """Return verdict, diagnosis and advice as pairs of a description and a text."""
        of = "one image" if self.images == 1 else f"{self.images:,} images"
        return [
            ("verdict", self.verdict),
            (
                "same class in both networks",
                f"{100 * self.agreement:.2f} % of {of}",
            ),
            ("diagnosis", " ".join(self.diagnosis())),
            *(("what it would bring", str(advice)) for advice in self.advice),
        ]

    def summary(self) -> dict[str, Any]:
        """Return all figures, ready for JSON."""
        return {
            "verdict": self.verdict,
            "agreement": self.agreement,
            "accuracy": self.accuracy,
            "ann_accuracy": self.ann_accuracy,
            "coding": self.coding,
            "steps": self.steps,
            "images": self.images,
            "thresholds": dataclasses.asdict(self.thresholds),
            "departs": self.departs,
            "cause": self.cause,
            "diagnosis": self.diagnosis(),
            "dead": dataclasses.asdict(self.dead),
            "layers": {name: layer.summary() for name, layer in self.layers.items()},
            "causes": {
                r.cause: {
                    "title": CAUSES[r.cause].title,
                    "explanation": CAUSES[r.cause].explanation,
                    "change": CAUSES[r.cause].change,
                }
                for r in self.stages[1:]
            },
            "stages": [{"cause": r.cause, **r.outcome.summary()} for r in self.stages],
            "advice": [advice.summary() for advice in self.advice],
        }

    def __str__(self) -> str:
        width = max(len("layer"), *map(len, self.layers))
        lines = [f"{'layer':<{width}}{'correlation':>13}{'error':>10}{'bias':>11}  cause"]
        for name, layer in self.layers.items():
            correlation = "-" if layer.correlation is None else f"{layer.correlation:.4f}"
            cause = layer.main_cause
            lines.append(
                f"{name:<{width}}{correlation:>13}{100 * layer.relative_error:>8.2f} %"
                f"{layer.bias:>11.3g}  {'-' if cause is None else CAUSES[cause].title}"
            )
        lines += [
            "",
            f"{self.verdict}: same class in both networks for {100 * self.agreement:.2f} % of "
            f"{self.images:,} images",
            *self.diagnosis(),
            *(str(advice) for advice in self.advice),
        ]
        return "\n".join(lines)


def compare(
    model: SpikingModel,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    result: Result | None = None,
    reference: Graph | Mapping[str, np.ndarray] | None = None,
    thresholds: Thresholds | None = None,
    seed: int = 0,
    first_image: int = 0,
    progress: bool = True,
) -> Comparison:
    """Find out where, by how much and why a spiking network departs from the trained one.

    No Brian2 network is built: the arithmetic of the spiking network is run in numpy, which gives
    the same spikes, once for each cause of error that there is, and once for each change that may
    help.

    Parameters
    ----------
    model : SpikingModel
        The converted network.
    images : numpy.ndarray
        Shape ``(n, *input_shape)``.
    labels : numpy.ndarray, optional
        True classes, for accuracies.
    result : Result, optional
        Of a simulation of these images: its last layer is compared with the arithmetic, and the
        error of single precision named if it was simulated in that.
    reference : Graph or mapping, optional
        What the spiking network should compute, if that is not the network in `model`: a trained
        network whose layers have the same names, or activations by layer, shape ``(n, *shape)``,
        those of the last layer among them. Layers that a mapping leaves out are not compared.
    thresholds : Thresholds, optional
        What the verdict depends on.
    seed : int
        Of the noise of a Poisson input.
    first_image : int
        Number of the first image, on which its noise depends (see `bsnn.simulate`).
    progress : bool
        Show a progress bar.

    Returns
    -------
    Comparison

    Raises
    ------
    SettingsError
        Result or reference do not fit the images, or the network has one output.
    InputError
        The images or labels do not fit the network, or the network gives no classes.
    GraphError
        The images do not have the network's input shape.
    """
    thresholds = thresholds or Thresholds()
    check_classes(model)
    images, labels = checked_images(model, images, labels)
    _check(model, images, result)
    images = images.astype(np.float64, copy=False)
    wanted = Reference(model, reference, len(images))
    precision = None if result is None else result.precision
    situation = Situation(model, reference is not None, precision)
    causes = decomposition_of(model).causes(situation)
    run = _Run(situation, wanted, images, labels, seed, first_image)
    with progress_bar("image steps", disable=not progress) as bar:
        layers, stages = run.stages(causes, result, bar)
        departs = _departs(layers, thresholds)
        advice: tuple[Advice, ...] = ()
        if departs is not None or thresholds.verdict(stages[-1].outcome.agreement) != "good":
            watched = departs or model.output.name
            advice = advise(
                situation,
                images,
                layers,
                watched,
                stages[-1].outcome.at(layers[watched]),
                lambda changed: run.outcome(changed, watched, bar),
            )
    return Comparison(
        coding=model.coding,
        steps=model.steps,
        images=len(images),
        layers=layers,
        stages=tuple(stages),
        advice=advice,
        thresholds=thresholds,
        dead=dead_parts(model.graph, float(images.min()), float(images.max())),
    )


def _departs(layers: Mapping[str, LayerComparison], thresholds: Thresholds) -> str | None:
    limit = thresholds.layer_error
    return next((name for name, layer in layers.items() if layer.relative_error > limit), None)


def _check(model: SpikingModel, images: np.ndarray, result: Result | None) -> None:
    if model.output.size < 2:
        raise SettingsError(
            "The network has one output, so that all images have the same class: networks are "
            "compared by their classes."
        )
    if result is None:
        return
    if len(result) != len(images):
        raise SettingsError(
            f"There are {len(images)} images, and the result is of {len(result)}: give the images "
            "that were simulated (result.indices says which)."
        )
    if (result.coding, result.steps) != (model.coding, model.steps):
        raise SettingsError(
            f"The result is of {result.coding} coding with {result.steps} steps, and the model of "
            f"{model.coding} coding with {model.steps}: give the model that was simulated."
        )


class _Run:
    """The same images through one network after another."""

    def __init__(
        self,
        situation: Situation,
        reference: Reference,
        images: np.ndarray,
        labels: np.ndarray | None,
        seed: int,
        first_image: int,
    ) -> None:
        self._situation = situation
        self._decomposition = decomposition_of(situation.model)
        self._reference = reference
        self._images = images
        self._labels = labels
        self._seed = seed
        self._streams = first_image + np.arange(len(images))
        self._ann_classes = np.zeros(len(images), np.int64)

    def stages(
        self, causes: list[Cause], result: Result | None, bar: Any
    ) -> tuple[dict[str, LayerComparison], list[Stage]]:
        """Go from the trained to the spiking network; return layers and stages."""
        model, names = self._situation.model, [cause.name for cause in causes]
        computed = [cause for cause in causes if cause.name != "simulation"]
        dynamic = sum(
            self._decomposition.dynamic(cause.name, self._situation) for cause in computed
        )
        task = bar.add_task("causes", total=max(1, dynamic * model.steps * len(self._images)))
        parts = {name: self._decomposition.part_of(name, self._situation) for name in names}
        parts = {name: whole for name, whole in parts.items() if whole is not None}
        measures = {
            name: LayerMeasures(model, model.populations[name], names, parts)
            for name in self._reference.names
        }
        output = model.output.name
        classes = np.zeros((len(names) + 1, len(self._images)), np.int64)
        squares = np.zeros(len(names) + 1)
        for batch in self._batches(model, len(names) + 2):
            images = self._images[batch]
            tick = _ticker(bar, task, len(images))
            stages = [self._reference.decoded(batch, images)]
            for k in range(len(computed)):
                stages.append(
                    self._decomposition.stage(
                        self._situation,
                        computed[: k + 1],
                        images,
                        seed=self._seed,
                        streams=self._streams[batch],
                        tick=tick,
                    )
                )
            if result is not None:
                stages.append(self._simulated(stages[-1], result, batch))
            for name, measure in measures.items():
                measure.add([each.values[name] for each in stages])
            for k, each in enumerate(stages):
                classes[k, batch] = each.classes
                squares[k] += np.square(each.values[output] - stages[0].values[output]).sum()
        bar.update(task, completed=bar.tasks[task].total)
        layers = {name: measure.comparison() for name, measure in measures.items()}
        self._ann_classes = classes[0]
        self._rms = layers[output].rms
        stages = [
            Stage(name, self._outcome(found, square))
            for name, found, square in zip(["none", *names], classes, squares, strict=True)
        ]
        return layers, stages

    def outcome(self, changed: Changed, watched: str, bar: Any) -> Outcome:
        """Return what a changed network does on the images."""
        model = changed.model
        total = model.steps * len(self._images) if model.read_each_step else 1
        task = bar.add_task(f"trying: {changed.short}", total=total)
        output = model.output.name
        classes = np.zeros(len(self._images), np.int64)
        squares = {output: 0.0, watched: 0.0}
        activity = 0.0
        for batch in self._batches(model, 3):
            images = self._images[batch]
            tick = _ticker(bar, task, len(images))
            decoded = model.reference(
                images, seed=self._seed, streams=self._streams[batch], tick=tick
            )
            classes[batch] = decoded.classes
            exact = self._reference.decoded(batch, images).values
            for name in squares:
                squares[name] += np.square(decoded.values[name] - exact[name]).sum()
            activity += np.square(exact[watched]).sum()
        bar.update(task, completed=total)
        outcome = self._outcome(classes, squares[output])
        return dataclasses.replace(outcome, layer_error=_relative(squares[watched], activity))

    def _outcome(self, classes: np.ndarray, squares: float) -> Outcome:
        output = self._situation.model.output
        activity = self._rms**2 * output.size * len(self._images)
        return Outcome(
            agreement=float((classes == self._ann_classes).mean()),
            accuracy=None if self._labels is None else float((classes == self._labels).mean()),
            output_error=_relative(squares, activity),
        )

    def _simulated(self, decoded: Decoded, result: Result, batch: slice) -> Decoded:
        """The values of the simulation: known of the last layer only."""
        model = self._situation.model
        output = model.output
        values = dict(decoded.values)
        # the earliest spikes of outputs are not in a result, but their potentials
        if model.read_each_step or not model.spikes(output.name):
            found = result.potentials[batch]
            values[output.name] = found.reshape(len(found), *output.shape)
        return Decoded(values, result.predictions[batch])

    def _batches(self, model: SpikingModel, networks: int) -> Iterator[slice]:
        neurons = sum(population.size for population in model.populations.values())
        return slices(len(self._images), max(1, _VALUES // (neurons * networks)))


def _ticker(bar: Any, task: Any, images: int) -> Callable[[], None]:
    return lambda: bar.advance(task, images)


def _relative(squares: float, activity: float) -> float:
    if activity:
        return float(np.sqrt(squares / activity))
    return float("inf") if squares else 0.0
