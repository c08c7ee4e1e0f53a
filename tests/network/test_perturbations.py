"""Perturbations: nothing at zero, and what they say above it."""

from __future__ import annotations

import dataclasses

import brian2 as b2
import numpy as np
import pytest
from brian2 import ms
from rate_networks import MaxCnn, ResidualNet, make_rate_model, tiny_dense
from rate_runs import run_here, spikes_of
from scipy import stats
from torch import nn

import bsnn
from bsnn.network import NEURON_FORMS, NEURON_MODELS, PERTURBATIONS, DelayLinePart, Perturbation

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
        net.record(name)
    net.present(images, numbers)
    net.network.run(net.duration, namespace={})
    levels = {name: net.recorded(name)[: len(images)] for name in names}
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
        net.record(name)
    monitor = net.monitor("conv1", "u")
    net.present(images[:1])
    net.network.run(net.duration, namespace={})
    levels = net.recorded("input")[0]
    rest = model.bias("conv1").ravel()
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
    line = net.delay_lines["input"]

    @b2.network_operation(when="end", clock=net.clock)
    def note():
        arrived.append(np.array(line.arriving[:]))

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
    arrived = b2.SpikeMonitor(net.delay_lines["input"], record=False)
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
    with pytest.raises(bsnn.BuildError, match=r"'if' has no parameter tau\*"):
        bsnn.build(model, perturbations={"tau_spread": 0.1})
    model, _ = ttfs
    with pytest.raises(bsnn.SettingsError, match="'delay' has no meaning"):
        bsnn.build(model, perturbations={"delay": 1})
    with pytest.raises(bsnn.BuildError, match="leak needs trace; loss needs calendar"):
        bsnn.build(model, perturbations={"leak": 0.1, "loss": 0.1})
    with pytest.raises(bsnn.BuildError, match="has the form calendar, not event"):
        bsnn.build(model, form="event", perturbations={"loss": 0.1})


# --- neurons of one's own: a perturbation takes hold, or is refused ---

CALENDAR, TRACE = NEURON_FORMS["calendar"], NEURON_FORMS["trace"]


def own_two_stage(form=CALENDAR, **changes) -> bsnn.TtfsNeuron:
    equations = dataclasses.replace(form.equations, **changes)
    changed = dataclasses.replace(form, equations=equations)
    return bsnn.TtfsNeuron(name="mine", neuron_forms={form.name: changed}, method="euler")


#: The calendar form as others may write it.
WRITTEN = {
    "latch": {"latch": "v = 1*u\nu = u_rest"},
    "names": {
        "latch": "reached = u\nv = reached\nu = u_rest",
        "plan": CALENDAR.equations.plan.replace("levels_per_unit", "(0.99999*window_steps/u_th)"),
        "derived": {},
    },
    "threshold": {
        "model": CALENDAR.equations.model + "\nu_th : 1 (constant)",
        "parameters": (),
        "plan": CALENDAR.equations.plan.replace("levels_per_unit", "(0.99999*window_steps/u_th)"),
        "derived": {},
    },
}


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("name", ["noise", "jitter", "loss", "dead", "threshold_spread"])
def test_other_strings_of_the_same_neuron_are_disturbed_alike(ttfs, written, name):
    model, images = ttfs
    disturbed = {name: SOMETHING[name]}
    neuron = own_two_stage(**WRITTEN[written])
    found = ttfs_levels(model, images, neuron=neuron, perturbations=disturbed)
    assert_equal(found, ttfs_levels(model, images, perturbations=disturbed))


def test_a_leak_of_other_strings(ttfs):
    model, images = ttfs
    neuron = own_two_stage(
        TRACE, model=TRACE.equations.model.replace("slope/t_max", "1*slope/t_max")
    )
    found = ttfs_levels(model, images, neuron=neuron, perturbations={"leak": 0.02})
    assert_equal(found, ttfs_levels(model, images, perturbations={"leak": 0.02}))


@pytest.mark.parametrize("disturbed", [{"dead": 0.3}, {"threshold_spread": 0.2}])
def test_forms_are_disturbed_alike(ttfs, disturbed):
    model, images = ttfs
    expected = ttfs_levels(model, images, perturbations=disturbed)
    for form in ("event", "trace"):
        assert_equal(ttfs_levels(model, images, form=form, perturbations=disturbed), expected)


def test_a_potential_of_another_name(ttfs):
    model, images = ttfs
    changed = {
        "model": CALENDAR.equations.model.replace("v : 1", "reached : 1"),
        "latch": "reached = u\nu = u_rest",
        "plan": CALENDAR.equations.plan.replace("v*", "reached*"),
    }
    form = dataclasses.replace(
        CALENDAR, equations=dataclasses.replace(CALENDAR.equations, **changed), potential="reached"
    )
    silent = {"model": form.silent.model + "\nreached : 1"}
    silent["every_step"] = form.silent.every_step + "\nreached = v"
    form = dataclasses.replace(form, silent=dataclasses.replace(form.silent, **silent))
    neuron = bsnn.TtfsNeuron(name="mine", neuron_forms={"calendar": form})
    found = ttfs_levels(model, images, neuron=neuron, perturbations={"noise": 0.2})
    assert_equal(found, ttfs_levels(model, images, perturbations={"noise": 0.2}))


@pytest.mark.parametrize(
    ("changes", "name", "message"),
    [
        # nothing between the potential and the plan
        (
            {"latch": "", "plan": CALENDAR.equations.latch + CALENDAR.equations.plan},
            "noise",
            "'noise' cannot take hold: the neuron 'mine' has no hook 'after_integration'.*a latch "
            "and a plan; it has threshold, on_the_way",
        ),
        # which is overwritten before it is looked at
        (
            {"plan": "v = u\n" + CALENDAR.equations.plan},
            "noise",
            "'mine' does the same with and without 'v = v",
        ),
        (
            {"latch": "x = u\nu = u_rest", "plan": CALENDAR.equations.plan.replace("v*", "x*")},
            "noise",
            "the same with and without",
        ),
        (
            {"model": CALENDAR.equations.model + "\nu_th : 1 (shared, constant)", "parameters": ()},
            "threshold_spread",
            "declares u_th in its equations for all neurons",
        ),
        (
            {"model": CALENDAR.equations.model + "\nhalf = u_th/2 : 1 (shared)"},
            "threshold_spread",
            r"neurons share half, made of u_th: leave \(shared\) out",
        ),
        ({"plan": "spike_step = int(window_steps - v)"}, "threshold_spread", "without u_th"),
        ({"latch": "noise = u\nv = noise\nu = u_rest"}, "noise", "a variable.*noise of its own"),
    ],
)
def test_two_stage_neurons_that_cannot_be_disturbed(ttfs, changes, name, message):
    model, _ = ttfs
    neuron = own_two_stage(**changes)
    with pytest.raises(bsnn.BuildError, match=message):
        bsnn.build(model, neuron=neuron, perturbations={name: 0.1})


#: What arrives is in x, and v is made of it anew in each step.
FORGETFUL = bsnn.RateNeuron(
    name="forgetful", equations="v : 1\nx : 1", on_pre="x_post += w", update="v = x\nx = 0"
)
#: Its potential is not v.
ELSEWHERE = bsnn.RateNeuron(
    name="elsewhere", equations="v : 1\nx : 1", on_pre="x_post += w", drive="x += drive",
    threshold="x >= v_th", resets={"subtract": "x -= v_th"}, at_start="v = v_start\nx = 0",
)  # fmt: skip
FIXED = bsnn.RateNeuron(
    name="fixed", equations="v : 1", threshold="v >= 1", resets={"subtract": "v -= 1"}
)
SHARING = bsnn.RateNeuron(
    name="sharing", equations="v : 1\nkept = exp(-dt/tau) : 1 (shared)", before_input="v *= kept",
    parameters={"tau": 5 * ms},
)  # fmt: skip
NOISY = bsnn.RateNeuron(name="noisy", equations="v : 1", update="noise = normal_x/9\nv += noise")


@pytest.mark.parametrize(
    ("neuron", "name", "message"),
    [
        (FORGETFUL, "leak", r"'forgetful' does the same with and without 'v \*= 1 - leak'"),
        (ELSEWHERE, "leak", "'elsewhere' does the same"),
        (ELSEWHERE, "noise", "'elsewhere' does the same"),
        (FIXED, "threshold_spread", "'fixed' does the same with and without v_th"),
        (SHARING, "tau_spread", "neurons share kept, made of tau"),
        (NOISY, "noise", "a variable or parameter noise of its own"),
    ],
)
def test_rate_neurons_that_cannot_be_disturbed(regular, neuron, name, message):
    with pytest.raises(bsnn.BuildError, match=f"'{name}' cannot take hold: .*{message}"):
        bsnn.build(regular[0], neuron=neuron, perturbations={name: 0.1})
    with pytest.raises(bsnn.BuildError, match=message):
        bsnn.simulate(*regular, neuron=neuron, perturbations={name: 0.1}, workers=2)


@pytest.mark.parametrize("neuron", [FORGETFUL, ELSEWHERE], ids=lambda neuron: neuron.name)
def test_rate_neurons_of_ones_own_are_disturbed(neuron):
    model, images = tiny_dense(encoder="regular", steps=STEPS)
    plain = rate_spikes(model, images[:2], neuron=neuron)
    names = ["jitter", "loss", "delay", "dead", "threshold_spread", "weight_bits"]
    for name in (*names, *(["noise"] if neuron is FORGETFUL else [])):
        options = {"neuron": neuron, "perturbations": {name: SOMETHING[name]}}
        assert differ(rate_spikes(model, images[:2], **options), plain), name


def one_layer(**options):
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 4))
    return make_rate_model(net, (1, 3, 3), **options)[0]


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        ({"encoder": "regular"}, "dead", "no neurons between its input and its last layer"),
        ({"encoder": "regular", "read_out": "potential"}, "noise", "no neurons that spike"),
        ({"encoder": "constant"}, "jitter", "no population of its own whose spikes go to neurons"),
    ],
)
def test_networks_without_what_is_disturbed(options, name, message):
    with pytest.raises(bsnn.SettingsError, match=f"'{name}' would disturb nothing: .*{message}"):
        bsnn.build(one_layer(**options), perturbations={name: 0.1})


# --- perturbations of one's own ---


def test_perturbations_of_ones_own(monkeypatch, regular):
    """They do what the same statements do in a neuron's own strings."""
    model, images = regular
    own = [
        (
            Perturbation(
                name="drift", about="", unit="thresholds",
                statements={"after_integration": "potential = potential + drift*threshold*unit"},
                refused={"ttfs": "there are no steps."},
            ),
            {"update": "v += 0.05*v_th"},
        ),
        (
            Perturbation(
                name="fatigue", about="", unit="thresholds",
                statements={"after_spike": "potential -= fatigue*threshold*unit"},
                refused={"ttfs": "neurons spike once."},
            ),
            {"resets": {"subtract": "v -= v_th\nv -= 0.05*v_th"}},
        ),
        (
            Perturbation(
                name="gate", about="", unit="thresholds",
                statements={"threshold": "potential < 1.5*threshold + gate or strong > 0"},
                own={"strong": lambda strength, uniform: np.zeros(len(uniform))},
                refused={"ttfs": "it has no meaning."},
            ),
            {"threshold": "v >= v_th and v < 1.5*v_th + 0.05"},
        ),
    ]  # fmt: skip
    for perturbation, strings in own:
        monkeypatch.setitem(PERTURBATIONS, perturbation.name, perturbation)
        found = rate_spikes(model, images[:2], perturbations={perturbation.name: 0.05})
        neuron = dataclasses.replace(NEURON_MODELS["if"], name="own", **strings)
        expected = rate_spikes(model, images[:2], neuron=neuron)
        assert_equal(found, expected)
        assert differ(expected, rate_spikes(model, images[:2]))
    in_volts = rate_spikes(model, images[:2], neuron="lif-volts", perturbations={"drift": 0.05})
    shifted = rate_spikes(
        model, images[:2],
        neuron=dataclasses.replace(NEURON_MODELS["lif-volts"], update="v += 0.05*v_th*v_gap"),
    )  # fmt: skip
    assert_equal(in_volts, shifted)


def test_spike_times_disturbed_by_ones_own(monkeypatch, ttfs):
    model, images = ttfs
    late = Perturbation(
        name="late", about="", unit="steps", delay_line=lambda strength: DelayLinePart(late="late"),
        statements={"on_the_way": "spike_step = spike_step + late*int(spike_step < window_steps)"},
    )  # fmt: skip
    monkeypatch.setitem(PERTURBATIONS, "late", late)
    plain = ttfs_levels(model, images)["input"]
    found = ttfs_levels(model, images, perturbations={"late": 2})["input"]
    np.testing.assert_array_equal(found, np.maximum(plain - 2, 0))


@pytest.mark.parametrize(
    ("options", "coding", "message"),
    [
        ({"statements": {"on_the_way": "spike_step += own"}}, "rate", "plans no spikes"),
        (
            {"delay_line": lambda strength: DelayLinePart(late="1", longest=1)},
            "ttfs",
            "no delay line",
        ),
        ({}, "rate", "adds nothing to it"),
        # the strength is not in it
        ({"statements": {"after_integration": "potential = potential + 1"}}, "rate", "the same"),
        ({"statements": {"before_integration": "i_syn *= 1 - own"}}, "rate", "the same"),
        (
            {"statements": {"threshold": "uniform_own < own"}, "forms": "event"},
            "ttfs",
            "draws no random numbers at the hook 'threshold'",
        ),
    ],
)
def test_perturbations_that_do_nothing(monkeypatch, regular, ttfs, options, coding, message):
    form = options.pop("forms", None)
    own = Perturbation(name="own", about="", unit="", **options)
    monkeypatch.setitem(PERTURBATIONS, "own", own)
    model = (regular if coding == "rate" else ttfs)[0]
    with pytest.raises(bsnn.BuildError, match=f"'own' cannot take hold: .*{message}"):
        bsnn.build(model, form=form, perturbations={"own": 0.1})


def test_perturbations_that_are_wrong():
    with pytest.raises(bsnn.SettingsError, match="no hook 'after_spikes'. Did you mean 'after_spi"):
        Perturbation(name="x", about="", unit="", statements={"after_spikes": "potential = 0"})
    with pytest.raises(bsnn.SettingsError, match="statements do not read: alive"):
        Perturbation(name="x", about="", unit="", own={"alive": lambda strength, uniform: uniform})
