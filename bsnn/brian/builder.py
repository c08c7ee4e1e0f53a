"""Building Brian2 objects from a spiking model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import brian2 as b2
import numpy as np

from bsnn.brian.connectivity import Connections, pool_connections, projection
from bsnn.brian.network import SpikingNetwork
from bsnn.brian.neurons import INPUT, MAX_POOL, NEURON_FORMS, READ_OUT_EVENT, PopulationEquations
from bsnn.brian.size import check_memory
from bsnn.conversion import Population, Projection, SpikingModel
from bsnn.errors import BuildError

__all__ = ["build"]

#: Slot in which populations prepare a new window: after the state update, before thresholds.
_BOUNDARY = "after_groups"


def build(
    model: SpikingModel,
    *,
    images: int = 1,
    form: str = "event",
    one_at_a_time: bool = False,
    dt: b2.Quantity = 1 * b2.ms,
    monitors: Mapping[str, str | Iterable[str]] | None = None,
) -> SpikingNetwork:
    """Build a spiking model as Brian2 objects on the device that is active.

    Parameters
    ----------
    model : SpikingModel
        What to build.
    images : int
        Images that one run presents.
    form : str
        ``"event"`` (analytic, fast) or ``"trace"`` (the paper's differential equation, whose
        membrane potential is worth looking at); both emit the same spikes. See
        `bsnn.brian.neurons`.
    one_at_a_time : bool
        Present an image only when the last one has left the network. By default images follow one
        another as closely as the form allows: one each window (``event``) or every second window
        (``trace``).
    dt : brian2.Quantity
        Duration of a step; a window lasts ``model.steps`` of them.
    monitors : mapping, optional
        By population, one or more of ``"count"``, ``"spikes"`` and names of variables.

    Returns
    -------
    SpikingNetwork
        Its ``.network`` is a `brian2.Network`. Present images with ``.present(images)`` and run it
        for ``.duration``.

    Raises
    ------
    BuildError
        An argument is out of range, or the synapses would not fit the memory.
    brian2.DimensionMismatchError
        `dt` is not a time.

    Examples
    --------
    >>> net = bsnn.build(model, monitors={"conv1": "spikes"})  # doctest: +SKIP
    >>> net.present(images[:1])                                # doctest: +SKIP
    >>> net.network.run(net.duration)                          # doctest: +SKIP
    >>> net.monitors["conv1"]["spikes"].t                      # doctest: +SKIP
    """
    b2.units.fundamentalunits.fail_for_dimension_mismatch(
        dt, b2.second, error_message="dt must be a time, such as 1*ms"
    )
    if form not in NEURON_FORMS:
        raise BuildError(f"There is no neuron form {form!r}. Known are {', '.join(NEURON_FORMS)}.")
    if images < 1:
        raise BuildError(f"images is {images}; a run presents at least one image.")
    check_memory(model)
    neuron_form = NEURON_FORMS[form]
    interval = neuron_form.shortest_interval
    if one_at_a_time:
        interval = max(interval, model.output.depth + 1)
    clock = b2.Clock(dt=dt, name="window_clock")
    net = SpikingNetwork(model, neuron_form, clock, images, interval)
    orders: dict[str, int] = {}
    for name, population in model.populations.items():
        source = population.projections[0].source if population.projections else name
        # a pooling decides after its source has spiked and the spikes have arrived, in one step
        orders[name] = orders[source] + 2 if population.role == "max_pool" else 0
        _add_group(net, population, orders[name])
        for path in population.projections:
            _add_synapses(net, population, path, orders[name])
        if population.role == "read_out":
            _add_read_out(net, population)
    for name, wanted in (monitors or {}).items():
        for what in (wanted,) if isinstance(wanted, str) else wanted:
            net.monitor(name, what)
    return net


def _add_group(net: SpikingNetwork, population: Population, order: int) -> None:
    model, name = net.model, population.name
    equations = _equations(net, population)
    events = {"read_out": READ_OUT_EVENT} if population.role == "read_out" else {}
    group = b2.NeuronGroup(
        population.size,
        equations.model,
        threshold=equations.threshold if model.spikes(name) else None,
        reset=equations.reset if model.spikes(name) else None,
        method="euler",
        clock=net.clock,
        events=events,
        namespace={"pixel_levels": net.pixel_levels} if population.role == "input" else {},
        name=name,
    )
    if model.spikes(name):
        group.thresholder["spike"].order = order
    if equations.at_start_of_window:
        group.run_regularly(
            equations.at_start_of_window,
            when=_BOUNDARY,
            name=f"{name}_window_start",
            clock=net.clock,
        )
    net.groups[name] = group
    net.network.add(group)
    group.window_steps = model.steps
    group.first_window = population.depth
    group.image_interval = net.interval
    group.image_count = net.capacity
    if population.role in ("neurons", "read_out"):
        group.u_th = model.scales[name]
        if "t_max" in group.variables:
            group.t_max = model.steps * net.clock.dt
        if "share_of_step" in group.variables:
            group.share_of_step = 1 / model.steps
        rest = model.rest_potential(name)
        net.initial_values({"u_rest": rest, "u": rest}, name)


def _equations(net: SpikingNetwork, population: Population) -> PopulationEquations:
    by_role = {"input": INPUT, "max_pool": MAX_POOL}
    return by_role.get(population.role, net.form.equations)


def _add_synapses(
    net: SpikingNetwork, population: Population, path: Projection, order: int
) -> None:
    model = net.model
    source = model.populations[path.source]
    is_pool = population.role == "max_pool"
    if is_pool:
        connections = pool_connections(model.graph[population.layer], source, population)
        equations, on_pre = "", "arrived_post += 1"
    else:
        connections = projection(model.graph, path, source, population)
        equations, on_pre = "w : 1 (constant)", net.form.on_pre
    if not len(connections):
        raise BuildError(f"The projection from {path.source!r} to {population.name!r} is empty.")
    name = _unused(f"{path.source}_to_{population.name}", net.synapses)
    delay = path.delay * model.steps * net.clock.dt
    synapses = b2.Synapses(
        net[path.source],
        net[population.name],
        equations,
        on_pre=on_pre,
        delay=delay if path.delay else None,
        namespace={},
        clock=net.clock,
        name=name,
    )
    if is_pool:
        synapses.pre.when = "thresholds"
        synapses.pre.order = order - 1
    _connect(synapses, connections, None if is_pool else model.scales[path.source])
    net.synapses[name] = synapses
    net.network.add(synapses)
    fan_out = connections.fan_out(source.size)
    net.fan_out[path.source] = net.fan_out.get(path.source, np.zeros_like(fan_out)) + fan_out


def _connect(synapses: b2.Synapses, connections: Connections, scale: float | None) -> None:
    synapses.connect(i=connections.source, j=connections.target)
    if scale is not None:
        # a spike in the first step stands for the source's scale
        synapses.w = connections.weight * scale


def _add_read_out(net: SpikingNetwork, population: Population) -> None:
    monitor = b2.EventMonitor(
        net[population.name],
        "read_out",
        variables=net.form.potential,
        name=f"{population.name}_read_out",
    )
    net.monitors[population.name] = {"read_out": monitor}
    net.network.add(monitor)


def _unused(name: str, taken: Mapping[str, object]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_path{number}"
    return candidate
