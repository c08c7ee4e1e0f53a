"""Time-to-first-spike coding in Brian2."""

from __future__ import annotations

import dataclasses
from typing import Any

import brian2 as b2
import numpy as np

from bsnn.brian.max_pooling import FIRST_SPIKE, GatedPool
from bsnn.brian.pooling import Windows
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.spiking_groups import CalendarGroup
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.conversion import Population, TtfsModel
from bsnn.network.disturbing import Disturbed, disturbed
from bsnn.network.hooks import joined
from bsnn.network.network import SpikingNetwork
from bsnn.network.neural_code import NEURAL_CODES, NeuralCode
from bsnn.network.perturbations import PERTURBATIONS
from bsnn.network.positions import with_positions
from bsnn.network.random_numbers import (
    NEURON,
    NOISE_AT_START_OF_WINDOW,
    NOISE_MODEL,
    noise_seed,
    random_names,
    seeds_model,
    with_random_numbers,
)
from bsnn.network.ttfs_neurons import (
    NEURON_FORMS,
    NeuronForm,
    PopulationEquations,
)
from bsnn.network.window_model import WINDOW_MODEL, follow_schedule
from bsnn.network.wiring import connect, count_fan_out

__all__ = ["TtfsCode"]

#: Slot in which populations prepare a new window: after the state update, before thresholds.
_BOUNDARY = "after_groups"

# Orders in the slot of thresholds, after the populations' own.
_RESET, _POOL = 1, 2


class TtfsCode(NeuralCode):
    """Neurons that spike at most once in a window; images follow one another in a pipeline."""

    forms = tuple(NEURON_FORMS)
    default_neuron = "two-stage"
    monitor_slot = "before_thresholds"
    traced_form = "trace"
    potential = "u"

    def shortest_interval(self, net: SpikingNetwork) -> int:
        return _form(net).shortest_interval

    def build(self, net: SpikingNetwork) -> None:
        model = net.model
        pooled = {
            model.windows(name)[0]
            for name, population in model.populations.items()
            if population.role == "max_pool"
        }
        for name, population in model.populations.items():
            if population.role == "max_pool":
                _add_pool(net, population)
                continue
            changed = disturbed(
                net.neuron, net.form, model, population, net.perturbations, net.seed
            )
            if name in pooled:
                changed = dataclasses.replace(changed, strings=changed.strings.with_spike_step())
            _add_group(net, population, changed, pooled=name in pooled)
            _set_parameters(net, population, changed)
            for path in population.projections:
                delay: Any = path.delay * model.steps * net.clock.dt
                connect(net, population, path, _form(net).on_pre, delay=delay)
        net.record_read_out()

    def recorder(self, net: SpikingNetwork, name: str) -> SpikeStepRecorder:
        return SpikeStepRecorder(
            net[name],
            window_steps=net.model.steps,
            windows=net.rounds,
            first_step=net.schedule.first_step(name),
            interval=net.schedule.interval,
            origin=net.origin,
            name=net.label(f"{name}_levels"),
        )

    def read_out(self, net: SpikingNetwork, name: str, label: str) -> WindowRecorder:
        # in the first step after the silent stage
        return WindowRecorder(
            net[name],
            _form(net).potential,
            window_steps=net.schedule.image_steps,
            windows=net.rounds,
            first_step=net.schedule.first_step(name),
            origin=net.origin,
            when="after_thresholds",
            name=label,
        )


NEURAL_CODES.add(TtfsModel.coding, TtfsCode())

PERTURBATIONS["delay"].refused[TtfsModel.coding] = (
    "there the time of a spike is its value, and a layer reads it in the window after; a delay is "
    "a value that is read wrongly, or a window more. Vary 'jitter' in its place."
)
PERTURBATIONS["tau_spread"].refused[TtfsModel.coding] = "the two-stage neuron has no time constant."


def _form(net: SpikingNetwork) -> NeuronForm:
    neuron: Any = net.neuron
    return neuron.neuron_forms[net.form]


def _add_pool(net: SpikingNetwork, population: Population) -> None:
    """Let the first spike of each window of neurons pass, in its step."""
    model, name = net.model, population.name
    root, *tables = model.windows(name)
    net.groups[name] = pool = GatedPool(
        net[root],
        model.populations[root].shape,
        Windows(*tables),
        key=FIRST_SPIKE,
        batch=net.batch,
        model=with_positions(WINDOW_MODEL, population.shape, net.batch),
        order=_POOL,
        clock=net.clock,
        name=net.label(name),
        dtype=net.dtype,
    )
    net.network.add(pool)
    follow_schedule(net, name)
    # a pooling of a pooling counts as driven by that
    (path,) = population.projections
    before = model.populations[path.source].shape
    windows = Windows(*model.spiking_graph[population.layer].taps(*before[1:]))
    count_fan_out(net, path.source, windows.fan_out(*before))


def _add_group(
    net: SpikingNetwork, population: Population, changed: Disturbed, *, pooled: bool
) -> None:
    model, name = net.model, population.name
    group = _make_group(net, population, changed, pooled=pooled)
    net.groups[name] = group
    net.network.add(group)
    follow_schedule(net, name)
    if population.role in ("neurons", "read_out"):
        if "t_max" in group.variables:
            group.t_max = model.steps * net.clock.dt
        if "share_of_step" in group.variables:
            group.share_of_step = 1 / model.steps
        rest = model.projections[name].bias
        net.initial_values({"u_rest": rest, "u": rest}, name)


def _set_parameters(net: SpikingNetwork, population: Population, changed: Disturbed) -> None:
    """Set what the neuron and its perturbations add to the variables of a population."""
    name, group = population.name, net[population.name]
    values = {
        "u_th": net.model.threshold(name),
        **net.neuron.parameters,
        **changed.parameters,
    }
    for key, value in values.items():
        if key in changed.factors:
            value = np.tile(value * changed.factors[key], net.batch)
        if key in group.variables:
            setattr(group, key, value)
    for key in group.variables:
        if key.startswith("seed_"):
            setattr(group, key, noise_seed(net.seed, name, key.removeprefix("seed_")))


def _make_group(
    net: SpikingNetwork, population: Population, changed: Disturbed, *, pooled: bool
) -> b2.NeuronGroup:
    model, name = net.model, population.name
    options = {"clock": net.clock, "name": net.label(name), "dtype": net.dtype}
    equations, random = _with_random_numbers(changed.strings)
    own = with_positions(
        equations.parsed({"u_th": 1.0, **net.neuron.parameters, **changed.parameters}),
        population.shape,
        net.batch,
    )
    namespace = {"image_values": net.image_values} if population.role == "input" else {}
    if random:
        namespace |= net.noise_namespace(name)
    options |= {"namespace": namespace, "method": net.neuron.method}
    if equations.plan:
        return CalendarGroup(
            net.group_size(name),
            own,
            joined(equations.latch, equations.plan),
            window_steps=model.steps,
            origin=net.origin,
            **options,
        )
    spikes = bool(equations.threshold)
    group = b2.NeuronGroup(
        net.group_size(name),
        own,
        threshold=equations.threshold if spikes else None,
        reset=equations.reset if spikes else None,
        **options,
    )
    if pooled:
        # what has spiked is known before a pooling compares
        group.resetter["spike"].when = "thresholds"
        group.resetter["spike"].order = _RESET
    if equations.every_step:
        group.run_regularly(
            equations.every_step, when=_BOUNDARY, name=f"{group.name}_window_start", clock=net.clock
        )
    if equations.before_integration:
        group.run_regularly(
            equations.before_integration,
            when="before_groups",
            name=f"{group.name}_before_integration",
            clock=net.clock,
        )
    return group


def _with_random_numbers(
    equations: PopulationEquations,
) -> tuple[PopulationEquations, tuple[str, ...]]:
    """Put what draws random numbers in the place of their names; return these, too."""
    names = random_names([equations.latch, equations.plan])
    if not names:
        return equations, names
    changed = dataclasses.replace(
        equations,
        model="\n".join([equations.model, NOISE_MODEL, seeds_model(names)]),
        latch=joined(NOISE_AT_START_OF_WINDOW, with_random_numbers(equations.latch, NEURON)),
        plan=with_random_numbers(equations.plan, NEURON),
    )
    return changed, names
