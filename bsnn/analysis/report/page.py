"""Putting a report together."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from bsnn.analysis.activity_plots import (
    draw_potentials,
    draw_raster,
    draw_rates,
    draw_spike_times,
    stages_text,
)
from bsnn.analysis.cost_plots import draw_causes, draw_decisions, draw_early_exit, draw_energy
from bsnn.analysis.network_plots import diagram_size, draw_network, draw_scales, draw_weights
from bsnn.analysis.report.embedding import embedded, frame_length
from bsnn.analysis.report.svg import inline_svg
from bsnn.analysis.result_plots import (
    draw_accuracy_over_time,
    draw_agreement,
    draw_confusion,
    draw_operations,
    draw_spikes_by_depth,
)
from bsnn.analysis.style import new_figure
from bsnn.conversion import CODINGS, SpikingModel
from bsnn.explain import Comparison
from bsnn.explain.cost import SpikingCost
from bsnn.explain.recording import Recording
from bsnn.explain.tracing import NeuronTrace
from bsnn.graph import count
from bsnn.graph.files import weights_sha256
from bsnn.simulation import Result
from bsnn.simulation.shown import checked_labels
from bsnn.storage import replacing

__all__ = ["report_html", "write_report"]

ROLES = {
    "input": "input",
    "neurons": "neurons",
    "max_pool": "max-pooling",
    "read_out": "read-out",
}

# Small plots beside one another in one figure.
_PANELS = 6
_POTENTIAL_PANELS = 4
# Of rate-coded potentials.
_POTENTIAL_STEPS = 30


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """A figure in the page: `width` in pixels, below which it is moved rather than made smaller."""

    svg: Markup
    caption: str
    width: int
    wide: bool


class _Drawings:
    """Makes the figures of a page, each with names of its own."""

    def __init__(self) -> None:
        self._made = 0

    def __call__(
        self,
        caption: str,
        draw: Callable[[Any], Any],
        size: tuple[float, float] = (5.4, 3.5),
        wide: bool = False,
    ) -> _Drawing:
        figure = new_figure(*size)
        draw(figure.add_subplot())
        return self.of(figure, caption, wide)

    def of(self, figure: Figure, caption: str, wide: bool = False) -> _Drawing:
        self._made += 1
        svg = inline_svg(figure, f"figure{self._made}", caption)
        return _Drawing(svg, caption, round(96 * figure.get_figwidth()), wide)


def write_report(path: str | os.PathLike[str], page: str) -> None:
    """Write a page to a file, which appears whole or not at all.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def report_html(
    result: Result,
    *,
    title: str,
    model: SpikingModel | None = None,
    recording: Recording | None = None,
    labels: Sequence[int] | None = None,
    classes: Sequence[str] | None = None,
    first: int = 0,
    facts: Sequence[tuple[str, str]] = (),
    comparison: Comparison | None = None,
    cost: SpikingCost | None = None,
) -> str:
    """Return a report as one page of HTML, which loads nothing from anywhere.

    Parameters
    ----------
    result : Result
        Of a simulation.
    title : str
        What the report is about.
    model : SpikingModel, optional
        The network that was simulated; without it, what only a network has is left out.
    recording : Recording, optional
        Of a few images, for the part that the reader can step through.
    labels : sequence of int, optional
        Classes of the recording's images.
    classes : sequence of str, optional
        Names of the classes.
    first : int
        Number of the recording's first image.
    facts : sequence of pairs of str
        Where the report comes from: command, files, hashes.
    comparison : Comparison, optional
        With the trained network, layer by layer, from `bsnn.compare`.
    cost : SpikingCost, optional
        What the network costs in hardware, from `bsnn.explain.cost.spiking_cost`.
    """
    draw = _Drawings()
    data = None
    if recording is not None:
        frame = frame_length(recording)
        checked: Any = None
        if labels is not None:
            checked = checked_labels(recording.model, labels, len(recording.images))
        data = embedded(recording, labels=checked, classes=classes, first=first, frame=frame)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bsnn.analysis.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html").render(
        title=title,
        style=_part("report.css"),
        script=_part("browse.js"),
        lead=_lead(result, model),
        cards=_cards(result),
        figures=result.rows(),
        accuracy=_accuracy(draw, result, classes),
        layers=_layers(draw, result, model, recording),
        layer_table=_layer_table(result, model),
        activity=[] if recording is None else _activity(draw, recording, first),
        costs=[
            draw(
                "Synaptic operations for an image that each layer's spikes cause. Hatched: "
                "max-poolings.",
                lambda axes: draw_operations(axes, result),
            ),
            *([] if cost is None else _energies(draw, cost)),
        ],
        cost_rows=_cost_rows(result),
        comparison=None if comparison is None else comparison.rows(),
        comparison_figures=[] if comparison is None else _causes(draw, comparison),
        cost=None if cost is None else cost.rows(),
        provenance=_provenance(result, model, facts),
        browse=data,
        browse_json=None if data is None else _json(data),
        browse_note="" if data is None else _note(data),
    )


def _part(name: str) -> Markup:
    return Markup(
        (resources.files("bsnn.analysis.report") / "templates" / name).read_text(encoding="utf-8")
    )


def _json(data: dict[str, Any]) -> Markup:
    """JSON that no browser takes for the end of the element that it is in."""
    text = json.dumps(data, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count:,} images"


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _same_class(result: Result) -> float:
    return float((result.predictions == result.ann_predictions).mean())


def _lead(result: Result, model: SpikingModel | None) -> str:
    coding = CODINGS[result.coding]
    steps = f"{result.steps:,} steps" + (" a window" if coding.pipelined else "")
    text = f"A spiking network in {coding.title} with {steps}"
    if model is not None:
        cost = count(model.graph)
        text += (
            f", converted from a trained network of {cost.parameters:,} parameters and "
            f"{cost.neurons:,} rectified units and outputs"
        )
    return f"{text}, simulated in Brian2 on {_images(len(result))}."


def _cards(result: Result) -> list[tuple[str, str, str]]:
    """Value, what it is, and a remark."""
    cards = []
    if result.accuracy is not None:
        error = np.sqrt(result.accuracy * (1 - result.accuracy) / len(result))
        cards += [
            (
                _percent(result.accuracy),
                "accuracy, spiking",
                f"± {100 * error:.2f} (one std. err.)",
            ),
            (_percent(result.labelled_accuracies[1]), "accuracy, trained", "on the same images"),
        ]
    return [
        *cards,
        (_percent(_same_class(result)), "same class in both", _images(len(result))),
        (f"{result.spikes_per_neuron:.4g}", "spikes a neuron", "for an image"),
        (
            f"{result.operations_per_mac:.4g}",
            "operations per MAC",
            f"{result.synaptic_operations:,.0f} an image",
        ),
    ]


def _accuracy(draw: _Drawings, result: Result, classes: Sequence[str] | None) -> list[_Drawing]:
    drawings = []
    if result.accuracy_at_step is not None:
        drawings.append(
            draw(
                "Accuracy after each step, with a band of one standard error; dotted, that of the "
                "trained network.",
                lambda axes: draw_accuracy_over_time(axes, result),
            )
        )
    if result.predictions_at_step is not None:
        drawings.append(
            draw("Images that have been decided by each step.",
                 lambda axes: draw_decisions(axes, result))
        )  # fmt: skip
    if result.margins_at_step is not None and result.labels is not None:
        drawings.append(
            draw(
                "Accuracy if an image is left as soon as a class leads by a margin, against the "
                "mean number of steps; a point is a margin.",
                lambda axes: draw_early_exit(axes, result),
            )
        )
    rows = ["ann_predictions"] if result.labels is None else ["labels", "ann_predictions"]
    captions = {
        "labels": "Images of each class, and for which the spiking network took them.",
        "ann_predictions": "What the trained network took images for, and the spiking one.",
    }
    return drawings + [
        draw(
            captions[against],
            lambda axes, against=against: draw_confusion(axes, result, classes, against=against),
            (4.6, 4.3),
        )
        for against in rows
    ]


def _causes(draw: _Drawings, comparison: Comparison) -> list[_Drawing]:
    return [
        draw(
            "The error of each layer, in per cent of its activations, split into its causes: the "
            "parts add up to it, and those below zero make up for others.",
            lambda axes: draw_causes(axes, comparison),
            (7.2, 3.5),
        )
    ]


def _energies(draw: _Drawings, cost: SpikingCost) -> list[_Drawing]:
    sources = "; ".join(dict.fromkeys(energy.source for energy in cost.energies()))
    return [
        draw(
            "Energy for an image, estimated, not measured: from neurons that cost nothing where "
            f"nothing arrives to a clock that updates each in every step. Figures: {sources}.",
            lambda axes: draw_energy(axes, cost),
        )
    ]


def _layers(
    draw: _Drawings, result: Result, model: SpikingModel | None, recording: Recording | None
) -> list[_Drawing]:
    drawings = []
    if model is not None:
        drawings.append(
            draw(
                "The trained network: layers, sizes of kernels, and shapes of values "
                "(channels × rows × columns).",
                lambda axes: draw_network(axes, model.graph),
                diagram_size(model.graph),
                wide=diagram_size(model.graph)[0] > 5,
            )
        )
    drawings.append(
        draw(
            "Mean spikes of a neuron for an image, by layer. Hatched: max-poolings.",
            lambda axes: draw_spikes_by_depth(axes, result),
        )
    )
    if model is not None:
        drawings += [
            draw(
                "Scale of each layer, the value that its spikes can stand for at most. Squares: "
                "max-poolings.",
                lambda axes: draw_scales(axes, model),
            ),
            draw(
                "Trained weights: median, middle half, and the range of 98 %.",
                lambda axes: draw_weights(axes, model.graph),
            ),
        ]
    if recording is not None:
        drawings.append(_histogram(draw, recording))
        drawings.append(_agreement(draw, recording))
    return drawings


def _histogram(draw: _Drawings, recording: Recording) -> _Drawing:
    count = len(recording.images)
    if recording.model.timed:
        return draw(
            f"How many of a layer's neurons spike in each step of its window; {_images(count)}.",
            lambda axes: draw_spike_times(axes, recording),
        )
    return draw(
        f"How many of a layer's neurons have which rate, in {recording.steps:,} steps of "
        f"{_images(count)}; silent ones are left out.",
        lambda axes: draw_rates(axes, recording),
    )


def _panels(names: Sequence[str], most: int) -> list[str]:
    """Some of the layers, from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[int(place)] for place in dict.fromkeys(places)]


def _agreement(draw: _Drawings, recording: Recording) -> _Drawing:
    model = recording.model
    names = [name for name, p in model.populations.items() if p.role != "input"]
    names = _panels(names, _PANELS)
    columns = 3 if len(names) > 4 else 2
    rows = -(-len(names) // columns)
    figure = new_figure(2.5 * columns, 2.4 * rows + 0.3)
    for number, name in enumerate(names):
        draw_agreement(figure.add_subplot(rows, columns, number + 1), recording, name)
    figure.supxlabel("trained network", fontsize=9)
    figure.supylabel("spiking network", fontsize=9)
    after = "" if model.timed else f" after {recording.steps:,} steps"
    return draw.of(
        figure,
        f"What spikes stand for{after} against the trained network's values, for "
        f"{_images(len(recording.images))}; dashed, where both are the same. Stronger: more "
        "neurons, on a logarithmic scale.",
        wide=columns > 2,
    )


def _activity(draw: _Drawings, recording: Recording, first: int) -> list[_Drawing]:
    layers = len(recording.spikes)
    raster = draw(
        f"Spikes of every layer for image {first}: a dot for each, and how many neurons spiked."
        if recording.model.timed
        else f"Spikes of every layer in {recording.steps:,} steps of image {first}, and how many a "
        "neuron had.",
        lambda axes: draw_raster(axes, recording),
        (7.6, max(3.4, 0.28 * layers + 1)),
        wide=True,
    )
    names = list(recording.traces)
    names = _panels(names, _POTENTIAL_PANELS)
    figure = new_figure(2.5 * len(names), 3.2)
    for number, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), number + 1)
        draw_potentials(axes, _shown_steps(recording.traces[name]))
        axes.set_title(f"{name}\n{stages_text(recording.traces[name][0])}", fontsize=9)
        if number == 0:
            axes.set_ylabel("potential (trained network's units)")
    pipelined, shown = recording.model.pipelined, [recording.traces[name][0] for name in names]
    if any(trace.spiking and trace.threshold is None for trace in shown):
        # how the neurons of such a coding work is not known here
        further = ", crosses what the trained network computes; silent stages are shaded"
        meaning = f"Triangles are spikes{further if pipelined else ''}."
    elif pipelined:
        meaning = (
            "Potentials grow in the silent stage (shaded) and are charged up to the threshold "
            "(dashed) in the spiking stage; triangles are spikes, crosses what the trained network "
            "computes."
        )
    else:
        meaning = "A potential that reaches the threshold (dashed) is reset; triangles are spikes."
    potentials = draw.of(
        figure,
        f"Neurons of the largest, a middling and the lowest value for image {first}. {meaning}",
        wide=True,
    )
    return [raster, potentials]


def _shown_steps(traces: Sequence[NeuronTrace]) -> list[NeuronTrace]:
    """Leave out steps of rate-coded neurons: not more resets than can be told apart.

    What is left begins some steps before the first spike of any of them. A read-out that does not
    spike is shown as a whole.
    """
    if traces[0].silent_stage or not traces[0].spiking:
        return list(traces)
    first_spikes = [trace.spikes[0] for trace in traces if len(trace.spikes)]
    begin = max(0, min(first_spikes, default=0) - _POTENTIAL_STEPS // 6)
    end = begin + _POTENTIAL_STEPS
    arrays = ("steps", "current", "potential", "left", "decoded")
    return [
        dataclasses.replace(
            trace,
            spikes=trace.spikes[(trace.spikes >= begin) & (trace.spikes < end)],
            **{name: getattr(trace, name)[begin:end] for name in arrays},
        )
        for trace in traces
    ]


def _layer_table(result: Result, model: SpikingModel | None) -> dict[str, Any]:
    header = ["layer", "role", "neurons"]
    if model is not None:
        header += ["shape", "scale"]
    header += ["spikes an image", "spikes a neuron", "operations an image", "RMSE"]
    rows = []
    for name, population in result.populations.items():
        row = [name, ROLES[population.role], f"{population.neurons:,}"]
        if model is not None:
            scale = np.atleast_1d(model.scales[name])
            row += [
                "×".join(map(str, model.populations[name].shape)),
                f"{scale[0]:.4g}" if scale.size == 1 else f"{scale.min():.3g} … {scale.max():.3g}",
            ]
        if population.spikes is None:
            row += ["silent", "–"]
        else:
            mean = population.spikes.mean()
            row += [f"{mean:,.1f}", f"{mean / population.neurons:.4g}"]
        row += [
            "–" if population.operations is None else f"{population.operations.mean():,.0f}",
            f"{population.rmse:.4g}",
        ]
        rows.append(row)
    return {"header": header, "rows": rows}


def _cost_rows(result: Result) -> list[tuple[str, str]]:
    return [
        ("synaptic operations an image", f"{result.synaptic_operations:,.0f}"),
        ("multiply-accumulates of the trained network", f"{result.ann_macs:,}"),
        ("floating-point operations of the trained network", f"{result.ann_flops:,}"),
        ("synaptic operations per multiply-accumulate", f"{result.operations_per_mac:.4f}"),
        ("time to build and compile", f"{result.build_seconds:.1f} s"),
        ("time to simulate, an image", f"{1e3 * result.run_seconds / len(result):.2f} ms"),
        ("processor time, an image", f"{1e3 * result.cpu_seconds / len(result):.2f} ms"),
        ("time for everything", f"{result.wall_seconds:.1f} s"),
    ]


def _provenance(
    result: Result, model: SpikingModel | None, facts: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    rows = [
        *facts,
        ("report made", datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")),
        ("device", result.device),
        ("form, connectivity, precision", f"{result.form}, {result.connectivity}, "
         f"{result.precision}"),
        ("workers", str(result.workers)),
    ]  # fmt: skip
    if model is not None:
        rows.append(("SHA-256 of the trained arrays", weights_sha256(model.graph)))
        rows.append(("norm", model.norm))
        hidden = ("scales", "trace", "steps")
        rows += [
            (name.replace("_", " "), str(value))
            for name, value in model.settings().items()
            if name not in hidden
        ]
        rows += [(f"calibration: {name}", str(value)) for name, value in model.calibration.items()]
        rows += [(f"source: {name}", str(value)) for name, value in model.source.items()]
    rows += [(name.replace("_version", ""), version) for name, version in result.versions.items()]
    return rows


def _note(data: dict[str, Any]) -> str:
    if data["frame"] == 1:
        return ""
    return f"{data['frame']} of {data['steps']:,} steps are shown together."
