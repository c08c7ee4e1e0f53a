"""Building Brian2 objects from a spiking model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import brian2 as b2
from brian2.units.fundamentalunits import fail_for_dimension_mismatch

from bsnn.conversion import SpikingModel
from bsnn.errors import BuildError, SettingsError
from bsnn.network.disturbing import check_disturbed
from bsnn.network.names import keep_quiet_about
from bsnn.network.network import PRECISIONS, SpikingNetwork
from bsnn.network.neural_code import NEURAL_CODES, neuron_model
from bsnn.network.neuron_models import NeuronModel
from bsnn.network.perturbations import PERTURBATIONS, check_perturbations, with_rounded_weights
from bsnn.network.size import CONNECTIVITIES, check_memory
from bsnn.network.synapse_models import SynapseModel, check_synapses
from bsnn.network.unit_check import check_units
from bsnn.registry import check_name
from bsnn.settings import Setup

__all__ = ["build", "check_options", "checked_setup"]


def build(
    model: SpikingModel,
    *,
    images: int = 1,
    batch: int = 1,
    form: str | None = None,
    connectivity: str = "shared",
    precision: str = "float64",
    one_at_a_time: bool = False,
    seed: int = 0,
    neuron: str | NeuronModel | None = None,
    perturbations: Mapping[str, Any] | None = None,
    synapses: Mapping[str, str | SynapseModel] | None = None,
    source: Any = None,
    continuous: bool = False,
    name: str | None = None,
    dt: b2.Quantity | None = None,
    monitors: Mapping[str, str | Iterable[str]] | None = None,
) -> SpikingNetwork:
    """Build a spiking model as Brian2 objects on the device that is active.

    Parameters
    ----------
    model : SpikingModel
        What to build.
    images : int
        Images that one run presents; made up to a multiple of `batch`.
    batch : int
        Images that are simulated side by side, in neurons of their own, with shared weights. It
        changes nothing of what is computed, and is what keeps a GPU busy.
    form : str
        Form of the neurons; by default the fast one. For time-to-first-spike coding
        ``"calendar"`` (plans its spikes once a window: the fast one), ``"event"`` (the same by
        Brian2's own threshold) or ``"trace"`` (the paper's differential equation, whose membrane
        potential is worth looking at), see `bsnn.network.ttfs_neurons`; for rate coding
        ``"one-pass"`` (update, threshold and reset in one go) or ``"neuron-group"`` (plain
        `brian2.NeuronGroup`), see `bsnn.network.rate_neurons`. All emit the same spikes.
    connectivity : str
        ``"shared"`` (`Convolution` and `Dense`: weights are stored once, connections never) or
        ``"synapses"`` (`brian2.Synapses`, with a row for each connection that you can inspect,
        delay and make plastic); both give the same spikes.
    precision : str
        ``"float64"`` or ``"float32"``, for neurons and shared weights; explicit synapses keep
        float64 weights.
    one_at_a_time : bool
        For time-to-first-spike coding: present an image only when the last one has left the
        network. By default images follow one another as closely as the form allows: one each window
        (``calendar``, ``event``) or every second window (``trace``).
    seed : int
        Of all that is random: the encoder's noise, that of neurons, perturbations. It is a function
        of the seed, the number of the image and the step, on every device.
    neuron : str or NeuronModel, optional
        What the neurons are: a name in `bsnn.network.NEURON_MODELS`, or a model of one's own (see
        `bsnn.network.neuron_models`). By default those that the conversion assumes.
    perturbations : mapping of str to float, optional
        What is disturbed and how strongly, by names in `bsnn.network.PERTURBATIONS`.
    synapses : mapping of str to str or SynapseModel, optional
        For rate coding: what connections do with the spikes that arrive. Keys are names of
        connections (``"conv2_to_fc1"``), of the population that they lead to, or ``"*"`` for all
        over which spikes travel; values are names in `bsnn.network.SYNAPSE_MODELS` or models of
        one's own (see `bsnn.network.synapse_models`). By default all are static.
    source : brian2.NeuronGroup, SpikeGeneratorGroup or other group that spikes, optional
        For rate coding: a group of your own in the place of the input population, with as many
        neurons, numbered channel last: ``(row*width + column)*channels + channel``. Each of its
        spikes counts as one of the input; a rate of one a step stands for the input's scale. It
        joins the network, which runs on its clock. No images are presented, and perturbations leave
        its spikes alone.
    continuous : bool
        With a `source`: let time go on. By default all state is cleared every ``model.steps``
        steps, as between images.
    name : str
        What the names of the Brian2 objects begin with, followed by an underscore; ``""`` for the
        plain names of populations. By default these, too, or ``network_1`` and so on for a network
        that is built while another lives, so that both can stand in one `brian2.Network`.
    dt : brian2.Quantity, optional
        Duration of a step; by default 1 ms, or that of the source. On CUDA it is that of
        `brian2.defaultclock`, the only clock that Brian2CUDA's synapses know: in a script of your
        own set ``defaultclock.dt = 1*ms`` before, if neurons or synapses have time constants.
    monitors : mapping, optional
        By population, one or more of ``"count"``, ``"spikes"`` and names of variables.

    Returns
    -------
    SpikingNetwork
        Its ``.network`` is a `brian2.Network`. Present images with ``.present(images)`` and run it
        for ``.duration``, again and again if you like.

    Raises
    ------
    BuildError
        An argument is out of range, the units of a string do not agree, or the synapses would not
        fit the memory.
    brian2.DimensionMismatchError
        `dt` is not a time.

    Examples
    --------
    >>> net = bsnn.build(model, monitors={"conv1": "spikes"})  # doctest: +SKIP
    >>> net.present(images[:1])                                # doctest: +SKIP
    >>> net.network.run(net.duration)                          # doctest: +SKIP
    >>> net.monitors["conv1"]["spikes"].t                      # doctest: +SKIP
    """
    if dt is not None:
        fail_for_dimension_mismatch(dt, b2.second, error_message="dt must be a time, such as 1*ms")
    neuron = neuron_model(neuron, model.coding)
    strengths = check_perturbations(perturbations, model)
    form = check_options(
        model, form, connectivity, precision, neuron, strengths, own_source=source is not None
    )
    for what, number in (("images", images), ("batch", batch)):
        if number < 1:
            raise BuildError(f"{what} is {number}; a run presents at least one image.")
    if source is not None:
        check_source(source, model, batch)
    elif continuous:
        raise SettingsError(
            "A network that runs on from image to image (continuous=True) is one with a source of "
            "its own: name the group that is the input with source=..., or leave continuous out."
        )
    models = check_synapses(synapses, model, own_source=source is not None)
    check_dynamics(models, strengths, batch)
    check_memory(model, connectivity, precision, batch=batch, synapses=models)
    if one_at_a_time and not model.pipelined:
        raise BuildError(
            f"In the coding {model.coding} images are always shown one at a time: leave "
            "one_at_a_time out."
        )
    code = NEURAL_CODES[model.coding]
    net = SpikingNetwork(
        with_rounded_weights(model, strengths),
        code,
        neuron=neuron,
        perturbations=strengths,
        seed=seed,
        form=form,
        dt=dt,
        images=images,
        batch=batch,
        connectivity=connectivity,
        precision=precision,
        name=name,
        synapse_models=models,
        source=source,
        continuous=continuous,
        one_at_a_time=one_at_a_time,
    )
    code.build(net)
    check_units(net.network, source)
    # what it does is compared with the network that was trained
    net.model = model
    for population, wanted in (monitors or {}).items():
        for what in (wanted,) if isinstance(wanted, str) else wanted:
            net.monitor(population, what)
    keep_quiet_about(net.network)
    return net


def checked_setup(model: SpikingModel, setup: Setup) -> Setup:
    """Return what is to be built of a model with all names and defaults resolved, if it can be.

    Raises
    ------
    SettingsError, BuildError
        Something of it does not fit the model.
    """
    neuron = neuron_model(setup.neuron, model.coding)
    strengths = check_perturbations(setup.perturbations, model)
    form = check_options(model, setup.form, setup.connectivity, setup.precision, neuron, strengths)
    return dataclasses.replace(
        setup,
        form=form,
        neuron=neuron,
        perturbations=strengths,
        synapses=check_synapses(setup.synapses, model),
    )


def check_options(
    model: SpikingModel,
    form: str | None,
    connectivity: str,
    precision: str,
    neuron: NeuronModel,
    strengths: Mapping[str, float],
    *,
    own_source: bool = False,
) -> str:
    """Refuse names that `build` does not know; return the form, the default one for None.

    Raises
    ------
    UnknownNameError
        There is no such form of the neuron, connectivity or precision.
    BuildError
        A perturbation cannot take hold in the neuron in this form.
    SettingsError
        The network has nothing that a perturbation disturbs.
    """
    for what, name, known in (
        (f"form of the neuron {neuron.name!r}", form or neuron.forms[0], neuron.forms),
        ("connectivity", connectivity, CONNECTIVITIES),
        ("precision", precision, PRECISIONS),
    ):
        check_name(name, known, what)
    return check_disturbed(neuron, form, model, strengths, own_source=own_source)


def check_source(source: Any, model: SpikingModel, batch: int) -> None:
    """Refuse a group that cannot take the place of the input population.

    Raises
    ------
    SettingsError
        The network is in a coding that has no place for it.
    BuildError
        It does not spike, or has another number of neurons.
    """
    model.check_offers("source")
    is_source = issubclass(type(source), b2.SpikeSource)
    if not is_source or "_spikespace" not in getattr(source, "variables", ()):
        raise BuildError(
            f"The source is {source!r}: a group that spikes is needed, such as a NeuronGroup with "
            "a threshold, a SpikeGeneratorGroup or a PoissonGroup."
        )
    size = batch * model.input.size
    if len(source) != size:
        shape = "x".join(map(str, model.input.shape))
        images = f"{batch} images of " if batch > 1 else ""
        raise BuildError(
            f"The source {source.name!r} has {len(source)} neurons; {images}{shape} (channels, "
            f"rows, columns) are {size}."
        )


def check_dynamics(
    synapses: Mapping[str, SynapseModel], strengths: Mapping[str, float], batch: int
) -> None:
    """Refuse synapse models that do not go with perturbations, or with images side by side.

    Raises
    ------
    BuildError
        Which do not.
    """
    disturbed = [name for name in strengths if PERTURBATIONS[name].delay_line is not None]
    for name, synapse in synapses.items():
        if disturbed and synapse.delay is not None:
            raise BuildError(
                f"The connection {name!r} has a delay of its own, and spikes are disturbed on "
                f"their way by {', '.join(disturbed)}: the one would read what the other has "
                "changed since. Leave one of them out."
            )
        if batch > 1 and synapse.learns:
            raise BuildError(
                f"The connection {name!r} learns ({synapse.name}), and {batch} images are "
                "simulated side by side, of which each would teach other weights. Build the "
                "network with batch=1."
            )
