"""Perturbations: nothing at zero, and what they say above it."""

from __future__ import annotations

import dataclasses

import brian2 as b2
import numpy as np
import pytest
from brian2 import ms
from rate_networks import MaxCnn, ResidualNet, make_rate_model
from rate_runs import run_here, spikes_of
from scipy import stats

import bsnn
from bsnn.brian import NEURON_MODELS, PERTURBATIONS

pytestmark = pytest.mark.usefixtures("numpy_target")

STEPS = 20

#: Where nothing is disturbed, and somewhat.
NOTHING = {name: 32 if name == "weight_bits" else 0 for name in PERTURBATIONS}
SOMETHING = {
    "leak": 0.1, "noise": 0.2, "jitter": 1.2, "loss": 0.2, "delay": 2, "dead": 0.3,
    "threshold_spread": 0.2, "tau_spread": 0.3, "weight_bits": 3,
}  # fmt: skip

RATE = list(PERTURBATIONS)
TTFS = [name for name, perturbation in PERTURBATIONS.items() if "ttfs" not in perturbation.refused]


@pytest.fixture(params=["poisson", "constant"])
def rate(request):
    return make_rate_model(MaxCnn(), (2, 7, 7), encoder=request.param, steps=STEPS)


@pytest.fixture
def regular():
    return make_rate_model(MaxCnn(bias=False), (2, 7, 7), encoder="regular", steps=STEPS)


@pytest.fixture
def ttfs(small_cnn):
    model, images = small_cnn(steps=STEPS)
    return model, images[:4]


def neuron_for(name: str):
    return NEURON_MODELS["lif"].with_parameters(tau=8 * ms) if name == "tau_spread" else None


def rate_spikes(model, images, numbers=None, **options) -> dict[str, np.ndarray]:
    net = run_here(model, images, numbers, **options)
    return {name: spikes_of(net, name) for name in model.populations if model.spikes(name)}


def ttfs_levels(model, images, numbers=None, **options) -> dict[str, np.ndarray]:
    net = bsnn.build(model, images=len(images), **options)
    names = [name for name in model.populations if model.spikes(name)]
    for name in names:
        net.record_levels(name)
    net.present(images, numbers)
    net.network.run(net.duration, namespace={})
    levels = {name: net.recorded_levels(name)[: len(images)] for name in names}
    return {**levels, "potentials": net.read_potentials()[: len(images)]}


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(found) == set(expected)
    for name, values in expected.items():
        if name == "potentials":
            # what adds nothing may still round
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[name], values, err_msg=name)


def differ(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return any((found[name] != values).any() for name, values in expected.items())


# --- the unperturbed limit ---


@pytest.mark.parametrize("name", RATE)
def test_rates_that_are_not_disturbed(rate, name):
    model, images = rate
    plain = rate_spikes(model, images[:3], neuron=neuron_for(name))
    found = rate_spikes(
        model, images[:3], neuron=neuron_for(name), perturbations={name: NOTHING[name]}
    )
    assert_equal(found, plain)
    disturbed = rate_spikes(
        model, images[:3], neuron=neuron_for(name), perturbations={name: SOMETHING[name]}
    )
    assert differ(disturbed, plain)


def test_all_at_once_at_zero():
    model, images = make_rate_model(ResidualNet(), (2, 6, 6), encoder="poisson", steps=STEPS)
    nothing = {name: value for name, value in NOTHING.items() if name not in ("tau_spread",)}
    plain = rate_spikes(model, images[:2])
    assert_equal(rate_spikes(model, images[:2], perturbations=nothing), plain)
    assert_equal(
        rate_spikes(model, images[:2], perturbations=nothing, connectivity="synapses"), plain
    )


@pytest.mark.parametrize("name", TTFS)
def test_spike_times_that_are_not_disturbed(ttfs, name):
    model, images = ttfs
    form = "trace" if name == "leak" else "calendar"
    plain = ttfs_levels(model, images, form=form)
    assert_equal(ttfs_levels(model, images, perturbations={name: NOTHING[name]}), plain)
    strength = 0.01 if name == "leak" else SOMETHING[name]
    assert differ(ttfs_levels(model, images, perturbations={name: strength}), plain)


# --- on which nothing depends ---


def test_disturbed_rates_depend_on_image_and_seed_only(regular):
    model, images = regular
    disturbed = {name: SOMETHING[name] for name in ("noise", "jitter", "loss", "dead",
                                                    "threshold_spread")}  # fmt: skip
    numbers = np.array([3, 4, 5])
    expected = rate_spikes(model, images[:3], numbers, perturbations=disturbed)
    for options in ({"form": "neuron-group"}, {"connectivity": "synapses"}):
        assert_equal(
            rate_spikes(model, images[:3], numbers, perturbations=disturbed, **options), expected
        )
    # nor on what comes before an image
    for k in range(3):
        alone = rate_spikes(model, images[k : k + 1], numbers[k : k + 1], perturbations=disturbed)
        assert_equal(alone, {name: spikes[k : k + 1] for name, spikes in expected.items()})
    assert differ(
        rate_spikes(model, images[:3], numbers, perturbations=disturbed, seed=1), expected
    )
    assert differ(rate_spikes(model, images[:3], numbers + 1, perturbations=disturbed), expected)


def test_disturbed_spike_times_depend_on_image_and_seed_only(ttfs):
    model, images = ttfs
    disturbed = {name: SOMETHING[name] for name in ("noise", "jitter", "loss", "dead",
                                                    "threshold_spread")}  # fmt: skip
    numbers = np.array([3, 4, 5, 6])
    expected = ttfs_levels(model, images, numbers, perturbations=disturbed)
    for options in ({"batch": 2}, {"one_at_a_time": True}, {"connectivity": "synapses"}):
        found = ttfs_levels(model, images, numbers, perturbations=disturbed, **options)
        assert_equal(found, expected)
    for k in range(4):
        alone = ttfs_levels(model, images[k : k + 1], numbers[k : k + 1], perturbations=disturbed)
        assert_equal(alone, {name: values[k : k + 1] for name, values in expected.items()})
    assert differ(ttfs_levels(model, images, numbers, perturbations=disturbed, seed=1), expected)


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_targets_agree(coding, request, ttfs):
    model, images = ttfs if coding == "ttfs" else request.getfixturevalue("regular")
    refused = ("leak", "delay", "tau_spread") if coding == "ttfs" else ("leak", "tau_spread")
    options = {"perturbations": {k: v for k, v in SOMETHING.items() if k not in refused}}
    if coding == "rate":
        options["neuron"] = "conductance"
    expected = bsnn.simulate(model, images[:4], progress=False, **options)
    for device in ("cpp", "runtime"):
        found = bsnn.simulate(model, images[:4], device=device, chunk=3, progress=False, **options)
        for name, population in expected.populations.items():
            np.testing.assert_array_equal(found.populations[name].spikes, population.spikes)
        np.testing.assert_allclose(found.potentials, expected.potentials, rtol=1e-9, atol=1e-12)


# --- what they do ---


def test_leak_is_that_of_a_time_constant(regular):
    model, images = regular
    leak = 0.07
    neuron = NEURON_MODELS["lif"].with_parameters(tau=-1 / np.log(1 - leak) * ms)
    assert_equal(
        rate_spikes(model, images[:2], perturbations={"leak": leak}),
        rate_spikes(model, images[:2], neuron=neuron),
    )


def test_leak_of_the_two_stage_neuron(ttfs):
    """Potentials of the first layer, from the definition, step by step."""
    model, images = ttfs
    leak = 0.02
    net = bsnn.build(model, images=1, form="trace", perturbations={"leak": leak})
    for name in ("input", "conv1"):
        net.record_levels(name)
    monitor = net.monitor("conv1", "u")
    net.present(images[:1])
    net.network.run(net.duration, namespace={})
    levels = net.recorded_levels("input")[0]
    rest = model.rest_potential("conv1").ravel()
    rest = net.to_neurons("conv1", rest)
    graph = model.graph
    scale = model.scales["input"] / STEPS
    potential = rest.copy()
    slope = np.zeros_like(rest)
    for step in range(STEPS):
        told = (levels == STEPS - step)[np.newaxis] * model.scales["input"]
        weighted = graph.evaluate("conv1", {"input": told.astype(float)})
        weighted = weighted - graph.evaluate("conv1", {"input": np.zeros_like(told, float)})
        # a spike that arrives in a step drives the potential from then on
        slope += net.to_neurons("conv1", weighted[0]) * (scale / model.scales["input"])
        potential = potential * (1 - leak) + slope
    np.testing.assert_allclose(monitor.u[:, STEPS], potential, rtol=1e-9, atol=1e-12)


def test_delayed_spikes_arrive_later(regular):
    model, images = regular
    plain = rate_spikes(model, images[:2])
    delayed = rate_spikes(model, images[:2], perturbations={"delay": 3})
    np.testing.assert_array_equal(delayed["input"], plain["input"])
    # without biases nothing happens until the first spikes arrive
    for name, late in (("conv1", 3), ("pool1", 3), ("conv2", 6), ("fc", 9)):
        assert not delayed[name][:, :late].any()
        np.testing.assert_array_equal(delayed[name][:, late:], plain[name][:, :-late])


def test_jitter_of_rates_loses_nothing(regular):
    """All spikes that have time to arrive do, later by the size of a normal number."""
    model, images = regular
    model = dataclasses.replace(model, steps=60)
    sigma = 1.5
    net = bsnn.build(model, perturbations={"jitter": sigma}, monitors={"input": "spikes"})
    arrived = []
    axon = net.axons["input"]

    @b2.network_operation(when="end", clock=net.clock)
    def note():
        arrived.append(np.array(axon.arriving[:]))

    net.network.add(note)
    net.present(images[:1])
    net.network.run(net.duration, namespace={})
    neurons, steps = net.recorded_spikes("input")
    arrived = np.array(arrived)
    sent = np.zeros_like(arrived)
    np.add.at(sent, (steps, neurons), 1)
    # never before it was sent
    assert (arrived.cumsum(axis=0) <= sent.cumsum(axis=0)).all()
    longest = int(np.ceil(4 * sigma))
    on_the_way = sent.sum(axis=0) - arrived.sum(axis=0)
    assert (on_the_way <= sent[-longest:].sum(axis=0)).all()
    late = (sent.cumsum(axis=0) - arrived.cumsum(axis=0)).sum() / sent.sum()
    # the mean of |normal|, rounded to whole steps
    expected = sum(
        k * 2 * (stats.norm.cdf((k + 0.5) / sigma) - stats.norm.cdf((k - 0.5) / sigma))
        for k in range(1, longest + 1)
    )
    assert abs(late - expected) < 0.15 * expected


def test_jitter_of_spike_times(ttfs):
    model, images = ttfs
    images = np.clip(images, 0.3, 0.7)
    plain = ttfs_levels(model, images)["input"]
    sigma = 1.5
    moved = ttfs_levels(model, images, perturbations={"jitter": sigma})["input"]
    shift = (plain - moved).ravel()
    assert abs(shift.mean()) < 4 * sigma / np.sqrt(shift.size)
    # rounding to whole steps adds a twelfth to the variance
    assert abs(shift.var() / (sigma**2 + 1 / 12) - 1) < 4 * np.sqrt(2 / shift.size)
    far = ttfs_levels(model, images, perturbations={"jitter": 50.0})["input"]
    assert far.min() == 1
    assert far.max() == STEPS


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_lost_spike_times(ttfs, probability):
    model, images = ttfs
    plain = ttfs_levels(model, images)["input"]
    kept = ttfs_levels(model, images, perturbations={"loss": probability})["input"]
    assert set(np.unique(kept - plain * (kept > 0))) == {0}
    spiked = (plain > 0).sum()
    lost = 1 - (kept > 0).sum() / spiked
    assert abs(lost - probability) < 4 * np.sqrt(probability * (1 - probability) / spiked) + 1e-12


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_lost_spikes_do_not_arrive(regular, probability):
    model, images = regular
    net = bsnn.build(
        model, images=4, perturbations={"loss": probability}, monitors={"input": "spikes"}
    )
    arrived = b2.SpikeMonitor(net.axons["input"], record=False)
    net.network.add(arrived)
    net.present(images[:4])
    net.network.run(net.duration, namespace={})
    sent = net.monitors["input"]["spikes"].num_spikes
    lost = 1 - arrived.num_spikes / sent
    assert abs(lost - probability) < 4 * np.sqrt(probability * (1 - probability) / sent) + 1e-12


def test_dead_neurons(regular, ttfs):
    model, images = regular
    plain = rate_spikes(model, images[:4])
    found = rate_spikes(model, images[:4], perturbations={"dead": 0.4})
    # of the first layer the others tell what they told
    alive = found["conv1"].any(axis=(0, 1))
    np.testing.assert_array_equal(found["conv1"], plain["conv1"] * alive)
    spiking = plain["conv1"].any(axis=(0, 1))
    share = 1 - (alive & spiking).sum() / spiking.sum()
    assert abs(share - 0.4) < 4 * np.sqrt(0.24 / spiking.sum())
    everything = rate_spikes(model, images[:2], perturbations={"dead": 1.0})
    assert not everything["conv1"].any()
    np.testing.assert_array_equal(everything["input"], plain["input"][:2])
    model, images = ttfs
    plain = ttfs_levels(model, images)
    found = ttfs_levels(model, images, perturbations={"dead": 0.4})
    alive = found["conv1"].any(axis=0)
    np.testing.assert_array_equal(found["conv1"], plain["conv1"] * alive)
    np.testing.assert_array_equal(found["input"], plain["input"])


def test_spread_of_thresholds_and_time_constants(regular, ttfs):
    model, _ = regular
    net = bsnn.build(model, perturbations={"threshold_spread": 0.1}, batch=2, images=2)
    thresholds = np.array(net["conv1"].v_th[:])
    half = len(thresholds) // 2
    np.testing.assert_array_equal(thresholds[:half], thresholds[half:])
    thresholds = thresholds[:half]
    assert abs(thresholds.mean() - 1) < 4 * 0.1 / np.sqrt(half)
    assert abs(thresholds.std() / 0.1 - 1) < 4 / np.sqrt(2 * half)
    assert (np.array(bsnn.build(model)["conv1"].v_th[:]) == 1).all()
    wide = bsnn.build(model, perturbations={"threshold_spread": 5.0})
    assert (np.array(wide["conv1"].v_th[:]) > 0).all()
    net = bsnn.build(model, neuron="exponential-current", perturbations={"tau_spread": 0.1})
    for name, middle in (("tau", 20 * ms), ("tau_syn", 5 * ms)):
        values = np.asarray(getattr(net["conv1"], name)[:] / middle)
        assert abs(values.mean() - 1) < 4 * 0.1 / np.sqrt(half)
        assert abs(values.std() / 0.1 - 1) < 4 / np.sqrt(2 * half)
    model, _ = ttfs
    net = bsnn.build(model, perturbations={"threshold_spread": 0.1})
    values = np.array(net["conv1"].u_th[:]) / model.scales["conv1"]
    assert abs(values.mean() - 1) < 4 * 0.1 / np.sqrt(len(values))
    assert abs(values.std() / 0.1 - 1) < 4 / np.sqrt(2 * len(values))


@pytest.mark.parametrize("bits", [2, 4])
def test_rounded_weights(regular, bits):
    model, images = regular
    net = bsnn.build(model, connectivity="synapses", perturbations={"weight_bits": bits})
    weights = np.unique(np.round(np.asarray(net.synapses["input_to_conv1"].w[:]), 9))
    assert len(weights) <= 2**bits - 1
    largest = np.abs(model.graph["conv1"].weight).max() * model.scales["input"]
    largest /= model.scales["conv1"]
    assert np.abs(weights).max() == pytest.approx(largest, rel=1e-6)
    steps = weights / (largest / (2 ** (bits - 1) - 1))
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    # what it is compared with is the network that was trained
    disturbed = bsnn.simulate(
        model, images[:6], perturbations={"weight_bits": bits}, progress=False
    )
    plain = bsnn.simulate(model, images[:6], progress=False)
    np.testing.assert_array_equal(disturbed.ann_predictions, plain.ann_predictions)
    assert disturbed.layer_rmse["conv1"] > plain.layer_rmse["conv1"]


# --- refusals ---


@pytest.mark.parametrize(
    ("perturbations", "message"),
    [
        ({"jiter": 1}, "Did you mean 'jitter'"),
        ({"loss": 1.5}, "from 0 to 1"),
        ({"loss": -0.1}, "from 0 to 1"),
        ({"loss": float("nan")}, "nan"),
        ({"delay": 1.5}, "whole number"),
        ({"weight_bits": 1}, "from 2 to 32"),
        ({"jitter": 2 * ms}, "no unit"),
    ],
)
def test_strengths_that_make_no_sense(regular, perturbations, message):
    with pytest.raises(bsnn.SettingsError, match=message):
        bsnn.build(regular[0], perturbations=perturbations)


def test_what_does_not_go_together(regular, ttfs):
    model, _ = regular
    with pytest.raises(bsnn.BuildError, match="'lif' has equations of its own"):
        bsnn.build(model, neuron="lif", perturbations={"leak": 0.1})
    with pytest.raises(bsnn.BuildError, match="'if' has no time constant"):
        bsnn.build(model, perturbations={"tau_spread": 0.1})
    model, _ = ttfs
    with pytest.raises(bsnn.SettingsError, match="'delay' has no meaning"):
        bsnn.build(model, perturbations={"delay": 1})
    with pytest.raises(bsnn.BuildError, match="leak needs trace; loss needs calendar"):
        bsnn.build(model, perturbations={"leak": 0.1, "loss": 0.1})
    with pytest.raises(bsnn.BuildError, match="has the form calendar, not event"):
        bsnn.build(model, form="event", perturbations={"loss": 0.1})
