"""Connections with dynamics, and converted networks inside larger ones."""

from __future__ import annotations

import dataclasses

import brian2 as b2
import numpy as np
import pytest
from rate_networks import AverageCnn, MaxCnn, make_rate_model
from rate_runs import run_here, spikes_of, spiking
from ttfs_networks import SmallCnn, make_model

import bsnn
from bsnn.brian.statements import gated
from bsnn.network import SHORT_TERM, STATIC, STDP, estimate

MS = b2.ms
RANDOM_DELAY = "(1 + 4*uniform_delay)*ms"

#: On each layer other dynamics; the first stays shared.
MIXED = {
    "conv1": STATIC.with_delay(2 * MS),
    "conv2": STATIC.with_delay("clip(2 + normal_delay, 0, 4)*ms"),
    "fc1": SHORT_TERM.with_delay(1 * MS),
    "fc2": STDP.with_delay(RANDOM_DELAY),
}


@pytest.fixture(scope="module")
def averaging():
    model, images = make_rate_model(AverageCnn(), (2, 7, 6), encoder="regular", steps=20)
    return model, images[:3]


@pytest.fixture(scope="module")
def unbiased():
    return make_rate_model(AverageCnn(bias=False), (2, 7, 6), encoder="regular", steps=24)


@pytest.fixture(scope="module")
def static_run(averaging):
    return _numpy(run_here, *averaging)


@pytest.fixture(scope="module")
def mixed_run(averaging):
    return _numpy(run_here, *averaging, synapses=MIXED)


def _numpy(function, *arguments, **options):
    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = "numpy"
    try:
        return function(*arguments, **options)
    finally:
        b2.prefs.codegen.target = before


def all_spikes(net) -> dict[str, np.ndarray]:
    return {name: spikes_of(net, name) for name in spiking(net.model)}


def same_spikes(one, other) -> bool:
    return all(np.array_equal(spikes, spikes_of(other, n)) for n, spikes in all_spikes(one).items())


def replayed(net, **options) -> b2.SpikeGeneratorGroup:
    """A group that spikes as the input of a network did."""
    monitor = net.monitors["input"]["spikes"]
    return b2.SpikeGeneratorGroup(
        net.model.input.size, np.array(monitor.i), np.array(monitor.t) * b2.second, dt=MS, **options
    )


# --- limits in which dynamics do nothing ---

UNDEPRESSED = SHORT_TERM.with_parameters(use=1.0, tau_rec=1 * b2.us)


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("neuron", ["if", "lif", "lif-volts", "exponential-current", "conductance"])
@pytest.mark.parametrize(
    "synapse", [UNDEPRESSED, STDP.with_parameters(eta=0.0), STATIC.with_delay(0 * MS)], ids=str
)
def test_limits_are_static_with_every_neuron(averaging, neuron, synapse):
    model, images = averaging
    # signs of the input too, and delay lines that lose spikes
    options = {"neuron": neuron, "connectivity": "synapses"}
    if synapse.delay is None:
        options["perturbations"] = {"loss": 0.1}
    static = run_here(model, images[:1], **options)
    dynamic = run_here(model, images[:1], synapses={"*": synapse}, **options)
    assert spikes_of(static, "fc1").any()
    assert same_spikes(static, dynamic)


@pytest.mark.usefixtures("numpy_target")
def test_signs_of_the_input_reach_a_synapse_with_dynamics():
    model, images = make_rate_model(
        AverageCnn(), (2, 7, 6), encoder="poisson", steps=15, mean=[0.4, 0.5], std=[0.5, 0.5]
    )
    static = run_here(model, images[:2], connectivity="synapses")
    assert (static["input"].value[:] < 0).any()
    assert same_spikes(static, run_here(model, images[:2], synapses={"conv1": UNDEPRESSED}))


# --- against plain Brian2 ---


def by_hand(net, image: int, equations, weights, on_pre, on_post=None, **names):
    """fc2 as plain Brian2, driven by the spikes of fc1 for one image; spikes and synapses."""
    model = net.model
    spikes = net.monitors["fc1"]["spikes"]
    step = np.rint(np.asarray(spikes.t / MS)).astype(int)
    chosen = step // model.steps == image
    source = b2.SpikeGeneratorGroup(
        9, np.asarray(spikes.i)[chosen], (step[chosen] - image * model.steps) * MS, dt=MS
    )
    target = b2.NeuronGroup(
        5, "v : 1\nbias : 1", threshold="v >= 1", reset="v -= 1", clock=source.clock
    )
    target.bias = model.bias("fc2")
    bias = target.run_regularly("v += bias", when="thresholds", order=2, clock=source.clock)
    target.thresholder["spike"].order = 3
    target.resetter["spike"].when, target.resetter["spike"].order = "thresholds", 4
    synapses = b2.Synapses(
        source, target, equations, on_pre=on_pre, on_post=on_post, clock=source.clock
    )
    synapses.pre.when, synapses.pre.order = "thresholds", 1
    if on_post:
        synapses.post.when, synapses.post.order = "thresholds", 5
    synapses.connect()
    monitor = b2.SpikeMonitor(target)
    # rows of both are sorted by source, then by target
    synapses.w = weights
    if "x_S" in synapses.variables:
        synapses.x_S = 1
    b2.Network(source, target, bias, synapses, monitor).run(model.steps * MS, namespace=names)
    found = np.zeros((model.steps, 5))
    found[np.rint(np.asarray(monitor.t / MS)).astype(int), monitor.i] = 1
    return found, np.array(synapses.w)


@pytest.mark.usefixtures("numpy_target")
def test_short_term_plasticity_is_that_of_a_plain_script(averaging, static_run):
    model, images = averaging
    net = run_here(
        model,
        images,
        synapses={"fc2": SHORT_TERM.with_parameters(use=0.3, tau_facil=10 * MS, tau_rec=40 * MS)},
    )
    # as in Brian2's examples, divided by what the first spike releases
    for image in range(3):
        found, _ = by_hand(
            net,
            image,
            """
            w : 1
            du_S/dt = -Omega_f * u_S : 1 (event-driven)
            dx_S/dt = Omega_d * (1 - x_S) : 1 (event-driven)
            """,
            net.synapses["fc1_to_fc2"].w[:],
            """
            u_S += U_0 * (1 - u_S)
            r_S = u_S * x_S
            x_S -= r_S
            v_post += w*r_S/U_0
            """,
            U_0=0.3,
            Omega_f=1 / (10 * MS),
            Omega_d=1 / (40 * MS),
        )
        np.testing.assert_array_equal(spikes_of(net, "fc2")[image], found)
    assert not same_spikes(net, static_run)


@pytest.mark.usefixtures("numpy_target")
def test_stdp_is_that_of_a_plain_script(averaging, static_run):
    model, images = averaging
    untaught = bsnn.build(model, connectivity="synapses")
    initial = np.array(untaught.synapses["fc1_to_fc2"].w)
    learning = STDP.with_parameters(
        eta=2.0, a_plus=0.05, a_minus=0.03, tau_plus=10 * MS, w_min=-0.2, w_max=0.4
    )
    net = run_here(model, images, synapses={"fc2": learning})
    weights = initial
    for image in range(3):
        found, weights = by_hand(
            net,
            image,
            """
            w : 1
            dapre/dt = -apre/taupre : 1 (event-driven)
            dapost/dt = -apost/taupost : 1 (event-driven)
            """,
            weights,
            "v_post += w\napre += 0.1\nw = clip(w + apost, -0.2, 0.4)",
            "apost -= 0.06\nw = clip(w + apre, -0.2, 0.4)",
            taupre=10 * MS,
            taupost=20 * MS,
        )
        np.testing.assert_array_equal(spikes_of(net, "fc2")[image], found)
    learned = net.synapses["fc1_to_fc2"].w[:]
    np.testing.assert_allclose(learned, weights, rtol=0, atol=1e-12)
    assert not np.allclose(learned, np.clip(initial, -0.2, 0.4))
    assert not same_spikes(net, static_run)


# --- delays ---


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("connectivity", ["shared", "synapses"])
def test_a_delay_shifts_the_spikes_of_layer_after_layer(unbiased, connectivity):
    model, images = unbiased
    static = run_here(model, images[:2])
    late = run_here(
        model, images[:2], connectivity=connectivity, synapses={"*": STATIC.with_delay(3 * MS)}
    )
    for depth, (name, spikes) in enumerate(all_spikes(static).items()):
        expected = np.zeros_like(spikes)
        expected[:, 3 * depth :] = spikes[:, : model.steps - 3 * depth]
        np.testing.assert_array_equal(spikes_of(late, name), expected, err_msg=name)
    assert expected.any()
    kinds = {type(connection) for connection in late.synapses.values()}
    assert (b2.Synapses in kinds) == (connectivity == "synapses")


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize(
    "synapse",
    [
        STATIC.with_delay(3 * MS),
        STATIC.with_delay(RANDOM_DELAY),
        SHORT_TERM.with_delay(2 * MS),
        STDP.with_parameters(eta=0.0).with_delay(RANDOM_DELAY),
    ],
    ids=["static", "static by distribution", "short-term", "stdp"],
)
def test_spikes_on_their_way_do_not_reach_the_next_image(averaging, synapse):
    model, images = averaging
    together = run_here(model, images, synapses={"*": synapse})
    for number, image in enumerate(images):
        alone = run_here(model, image[np.newaxis], synapses={"*": synapse})
        for name in spiking(model):
            found, expected = spikes_of(together, name)[number], spikes_of(alone, name)[0]
            np.testing.assert_array_equal(found, expected, err_msg=f"{name}, image {number}")


@pytest.mark.usefixtures("numpy_target")
def test_late_spikes_of_the_last_image_teach_nothing(averaging):
    """Traces after an image that is not shown are those of one that has not been preceded."""
    model, images = averaging
    synapse = STDP.with_delay(5 * MS)
    nothing = np.zeros_like(images[:1])
    net = run_here(model, np.concatenate([images[:1], nothing]), synapses={"conv1": synapse})
    blank = run_here(model, nothing, synapses={"conv1": synapse})
    for trace in ("apre", "apost"):
        found, expected = (getattr(n.synapses["input_to_conv1"], trace)[:] for n in (net, blank))
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.usefixtures("numpy_target")
def test_delays_by_distribution_depend_on_seed_and_connection_only(averaging):
    model, _ = averaging
    synapses = {"fc1": STATIC.with_delay(RANDOM_DELAY), "fc2": STATIC.with_delay(RANDOM_DELAY)}

    def delays(name="fc1_to_fc2", **options):
        net = bsnn.build(model, synapses=synapses, **options)
        return net.synapses[name].delay[:] / MS

    first = delays()
    assert set(np.rint(first)) == {1, 2, 3, 4, 5}
    np.testing.assert_allclose(first, np.rint(first))
    np.testing.assert_array_equal(first, delays())
    np.testing.assert_array_equal(first, delays(connectivity="synapses", images=3))
    np.testing.assert_array_equal(np.tile(first, 2), delays(batch=2))
    assert not np.array_equal(first, delays(seed=1))
    assert not np.array_equal(first, delays("conv2_to_fc1")[: len(first)])


@pytest.mark.usefixtures("numpy_target")
def test_delays_may_depend_on_the_neurons(averaging):
    model, _ = averaging
    synapse = dataclasses.replace(
        STATIC, delay="step*abs(i % 3 - j)*int(w > 0)", parameters={"step": 2 * MS}
    )
    connection = bsnn.build(model, synapses={"fc2": synapse}).synapses["fc1_to_fc2"]
    expected = 2 * np.abs(connection.i[:] % 3 - connection.j[:]) * (connection.w[:] > 0)
    np.testing.assert_allclose(connection.delay[:] / MS, expected)


@pytest.mark.usefixtures("numpy_target")
def test_names_of_the_builder_are_none_of_a_delays(averaging):
    model, _ = averaging
    with pytest.raises(KeyError, match="order"):
        bsnn.build(model, synapses={"fc2": STATIC.with_delay("order*ms")})


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("operation", ["=", "+=", "-=", "*=", "/="])
def test_a_closed_gate_leaves_variables_as_they_are(operation):
    code = f"half = v/2\nv {operation} half + 3*mV/volt; u += half*mV"
    group = b2.NeuronGroup(4, "v : 1\nu : volt\ngate : 1", name="gated*")
    group.v, group.gate = "i + 1.5", "i % 2"
    kept = b2.NeuronGroup(4, "v : 1\nu : volt", name="kept*")
    kept.v = group.v[:]
    runs = group.run_regularly(gated(code, "gate", {"v", "u"})), kept.run_regularly(code)
    b2.Network(group, kept, *runs).run(b2.defaultclock.dt)
    rounding = 0 if operation in ("=", "+=", "-=") else 1e-15
    np.testing.assert_allclose(group.v[1::2], kept.v[1::2], rtol=rounding)
    np.testing.assert_array_equal(group.u[1::2], kept.u[1::2])
    np.testing.assert_array_equal(group.v[::2], [1.5, 3.5])
    np.testing.assert_array_equal(group.u[::2], [0, 0] * b2.volt)


# --- mixed networks, targets, batches ---


def test_only_connections_with_dynamics_are_stored(mixed_run, static_run):
    kinds = {name: type(object).__name__ for name, object in mixed_run.synapses.items()}
    assert kinds == {
        "input_to_conv1": "Convolution",
        "conv1_to_conv2": "Synapses",
        "conv2_to_fc1": "Synapses",
        "fc1_to_fc2": "Synapses",
    }
    assert mixed_run.connections == static_run.connections
    assert not same_spikes(mixed_run, static_run)


def test_all_targets_agree_and_a_group_of_ones_own_can_be_the_input(averaging, mixed_run, run):
    """The input's spikes, replayed by a SpikeGeneratorGroup."""
    model, _ = averaging
    net = bsnn.build(
        model, images=3, source=replayed(mixed_run), synapses=MIXED, monitors=spiking(model)
    )
    run(net.network, net.duration)
    assert same_spikes(mixed_run, net)
    expected, found = (n.synapses["fc1_to_fc2"] for n in (mixed_run, net))
    np.testing.assert_allclose(np.array(found.w), np.array(expected.w), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(np.array(found.delay), np.array(expected.delay))


@pytest.mark.usefixtures("numpy_target")
def test_images_side_by_side(averaging):
    model, images = averaging
    synapses = {**MIXED, "fc2": SHORT_TERM.with_delay(RANDOM_DELAY)}
    one = run_here(model, images, synapses=synapses)
    three = run_here(model, images, synapses=synapses, batch=3)
    for name, of_population in three.monitors.items():
        step = np.rint(np.asarray(of_population["spikes"].t / MS)).astype(int)
        neuron = np.asarray(of_population["spikes"].i)
        size = model.populations[name].size
        found = np.zeros((3, model.steps, size))
        found[neuron // size, step, neuron % size] = 1
        found = three.to_layer(name, found.reshape(-1, size)).reshape(spikes_of(one, name).shape)
        np.testing.assert_array_equal(found, spikes_of(one, name))


@pytest.mark.usefixtures("numpy_target")
def test_simulate(averaging, tmp_path):
    model, images = averaging
    synapses = {"fc2": SHORT_TERM.with_delay("uniform_delay*3*ms"), "conv2_to_fc1": "short-term"}
    options = {"progress": False, "synapses": synapses}
    result = bsnn.simulate(model, images, **options)
    net = run_here(model, images, synapses=synapses)
    for name, population in result.populations.items():
        assert population.spikes.sum() == spikes_of(net, name).sum()
    in_pieces = bsnn.simulate(model, images, chunk=1, **options)
    np.testing.assert_array_equal(in_pieces.potentials, result.potentials)
    own = bsnn.build(model, images=3, synapses=synapses)
    np.testing.assert_array_equal(
        bsnn.simulate(own, images, progress=False).potentials, result.potentials
    )
    assert list(result.synapses) == ["conv2_to_fc1", "fc1_to_fc2"]
    result.save(tmp_path / "result.h5")
    assert bsnn.load_result(tmp_path / "result.h5").synapses == result.synapses
    assert "short-term (use = 0.5" in str(result)


# --- inside a larger network ---


@pytest.mark.usefixtures("numpy_target")
def test_networks_side_by_side():
    """Two networks with sources of their own, one of them without beginnings of images."""
    model, images = make_rate_model(MaxCnn(), (2, 8, 7), steps=20)
    longer = dataclasses.replace(model, encoder="poisson", steps=60)
    reference = run_here(longer, images[:1], neuron="lif")
    windows = run_here(dataclasses.replace(longer, steps=20), images[:3], seed=1)
    left = bsnn.build(
        model,
        source=replayed(reference),
        continuous=True,
        neuron="lif",
        name="left",
        monitors=spiking(longer),
    )
    right = bsnn.build(
        model, source=replayed(windows), name="right", images=3, monitors=spiking(longer)
    )
    left.network.add(right.network.objects)
    assert left["conv1"].name == "left_conv1"
    left.network.run(60 * MS, namespace={})
    for name, spikes in all_spikes(reference).items():
        step = np.rint(np.asarray(left.monitors[name]["spikes"].t / MS)).astype(int)
        found = np.zeros((60, model.populations[name].size))
        found[step, left.monitors[name]["spikes"].i] = 1
        np.testing.assert_array_equal(left.to_layer(name, found), spikes[0], err_msg=name)
    assert same_spikes(windows, right)


@pytest.mark.usefixtures("numpy_target")
def test_names_in_time_to_first_spike_coding(small_cnn):
    model, images = small_cnn(steps=6)
    nets = [bsnn.build(model, name=name, monitors={"conv1": "count"}) for name in ("a", "b")]
    nets[0].network.add(nets[1].network.objects)
    for net in nets:
        net.present(images[:1])
    nets[0].network.run(nets[0].duration)
    counts = [np.array(net.monitors["conv1"]["count"].count) for net in nets]
    assert counts[0].any()
    np.testing.assert_array_equal(*counts)


@pytest.mark.usefixtures("numpy_target")
def test_no_current_where_a_group_of_ones_own_is_the_input(averaging):
    model, _ = averaging
    model = dataclasses.replace(model, encoder="constant")
    source = b2.PoissonGroup(model.input.size, 100 * b2.Hz, dt=0.5 * MS)
    net = bsnn.build(model, source=source, synapses={"*": "short-term"})
    assert net["input"] is source
    assert net.clock is source.clock
    assert "current" not in net["conv1"].variables
    assert isinstance(net.synapses["input_to_conv1"], b2.Synapses)
    with pytest.raises(bsnn.SimulationError, match="input of this network is the group 'poisson"):
        net.present(np.zeros((1, *model.input.shape)))
    with pytest.raises(bsnn.SimulationError, match="no images can be presented"):
        bsnn.simulate(net, np.zeros((1, *model.input.shape)))


# --- what is refused ---


def test_unknown_names(averaging):
    model, _ = averaging
    with pytest.raises(
        bsnn.UnknownNameError, match="to give a synapse model to 'fc9'.* Known are input_to_conv1"
    ):
        bsnn.build(model, synapses={"fc9": "static"})
    with pytest.raises(bsnn.SettingsError, match="no synapse model 'stp'.* Did you mean 'stdp'"):
        bsnn.build(model, synapses={"fc1": "stp"})
    with pytest.raises(bsnn.SettingsError, match="The synapse 'stdp' has no parameter 'tau'"):
        STDP.with_parameters(tau=1 * MS)
    with pytest.raises(bsnn.SettingsError, match="a synapse model 'stdp' already"):
        bsnn.register_synapse(dataclasses.replace(STDP))


def test_what_does_not_go_together(averaging):
    model, images = averaging
    silent = dataclasses.replace(model, encoder="constant", read_out="potential")
    with pytest.raises(bsnn.BuildError, match="'fc2' does not spike"):
        bsnn.build(silent, synapses={"*": "stdp"})
    with pytest.raises(bsnn.BuildError, match="flows through 'input_to_conv1' as a constant curr"):
        bsnn.build(silent, synapses={"conv1": "short-term"})
    with pytest.raises(bsnn.BuildError, match="disturbed on their way by jitter"):
        bsnn.build(model, synapses={"fc1": MIXED["fc1"]}, perturbations={"jitter": 1})
    with pytest.raises(bsnn.BuildError, match="learns .stdp.*, and 2 images"):
        bsnn.build(model, synapses={"fc2": STDP}, batch=2)
    with pytest.raises(bsnn.SettingsError, match="'fc1_to_fc2' learns"):
        bsnn.simulate(model, images, synapses={"fc2": "stdp"})
    with pytest.raises(bsnn.BuildError, match=r"1.5 ms .*not a whole number of steps"):
        bsnn.build(model, synapses={"fc2": STATIC.with_delay(1.5 * MS)})
    neuron = bsnn.RateNeuron(name="clash", equations="v : 1", parameters={"use": 1.0},
                             on_pre="v_post += w*use")  # fmt: skip
    with pytest.raises(bsnn.BuildError, match="defines use, which the neuron 'clash' uses"):
        bsnn.build(model, neuron=neuron, synapses={"fc2": "short-term"})


def test_delays_that_are_none():
    with pytest.raises(bsnn.SettingsError, match="uses rand, whose numbers differ"):
        STATIC.with_delay("rand()*ms")
    with pytest.raises(bsnn.SettingsError, match="it is a time"):
        STATIC.with_delay(3.0)
    with pytest.raises(bsnn.SettingsError, match="it is a time"):
        STATIC.with_delay([1, 2] * MS)
    with pytest.raises(bsnn.SettingsError, match="is -1. ms"):
        STATIC.with_delay(-1 * MS)


def test_models_that_are_none():
    with pytest.raises(bsnn.BuildError, match="equations of the synapse 'x' are not right"):
        bsnn.SynapseModel(name="x", equations="dx/dt = : 1")
    with pytest.raises(bsnn.BuildError, match="'x' defines w"):
        bsnn.SynapseModel(name="x", equations="w : 1")


def test_time_to_first_spike_coding():
    model, _ = make_model(SmallCnn(), (1, 9, 8))
    with pytest.raises(bsnn.SettingsError, match="'synapses' has no meaning .* coding ttfs"):
        bsnn.build(model, synapses={"*": "static"})
    with pytest.raises(bsnn.SettingsError, match="'source' has no meaning .* coding ttfs"):
        bsnn.build(model, source=b2.PoissonGroup(72, 1 * b2.Hz))


def test_groups_that_cannot_be_the_input(averaging):
    model, _ = averaging
    with pytest.raises(bsnn.BuildError, match="has 3 neurons; 2x7x6 .* are 84"):
        bsnn.build(model, source=b2.PoissonGroup(3, 1 * b2.Hz))
    with pytest.raises(bsnn.BuildError, match="has 84 neurons; 2 images of 2x7x6 .* are 168"):
        bsnn.build(model, source=b2.PoissonGroup(84, 1 * b2.Hz), batch=2)
    with pytest.raises(bsnn.BuildError, match="a group that spikes is needed"):
        bsnn.build(model, source=b2.NeuronGroup(84, "v : 1"))
    with pytest.raises(bsnn.BuildError, match=r"steps of 100. us, and dt=1. ms"):
        bsnn.build(model, source=b2.PoissonGroup(84, 1 * b2.Hz), dt=1 * MS)
    with pytest.raises(bsnn.SettingsError, match="continuous=True"):
        bsnn.build(model, continuous=True)


def test_memory_of_synapses_is_counted_before_they_are_made(averaging, monkeypatch):
    model, _ = averaging
    plain = estimate(model)
    mixed = estimate(model, synapses={"fc1_to_fc2": STDP})
    assert plain.explicit_connections == 0
    assert mixed.explicit_connections == 9 * 5
    assert mixed.memory_bytes["shared"] - plain.memory_bytes["shared"] > 45 * 90
    assert mixed.memory_bytes["synapses"] > plain.memory_bytes["synapses"]
    monkeypatch.setattr("bsnn.network.size._MOST_SYNAPSES", 44)
    bsnn.build(model)
    with pytest.raises(bsnn.BuildError, match="has 45 explicit synapses.* Give fewer connections"):
        bsnn.build(model, synapses={"fc2": STDP})
