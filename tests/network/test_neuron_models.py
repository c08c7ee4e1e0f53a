"""Neuron models: converted networks of any neuron, against plain Brian2 scripts."""

from __future__ import annotations

import dataclasses
import pickle

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import torch
from brian2 import Hz, ms, mV, nS, pF, second, volt  # noqa: F401
from rate_networks import MaxCnn, make_rate_model
from rate_runs import assert_same_spikes, run_here, spikes_of
from targets import RUNTIME_TARGETS
from torch import nn

import bsnn
from bsnn.network import NEURON_MODELS
from bsnn.network.random_numbers import noise_seed
from bsnn.network.rate_neurons import RATE_FORMS

STEPS = 25


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.fc = nn.Linear(3 * 6 * 5, 7)

    def forward(self, x):
        return self.fc(torch.flatten(torch.relu(self.conv(x)), 1))


@pytest.fixture
def chain():
    return make_rate_model(Chain(), (2, 6, 5), encoder="regular", steps=STEPS)


#: A neuron that bsnn does not have: quadratic, in volts, with a current that adapts (Izhikevich).
OWN = bsnn.RateNeuron(
    name="quadratic",
    equations="""
dv/dt = (k*(v - v_rest)*(v - v_low) - u)/tau : volt (unless refractory)
du/dt = (b*(v - v_rest) - u)/tau_u : volt
""",
    on_pre="v_post += w*gap",
    drive="v += drive*gap",
    threshold="v > v_rest + v_th*gap",
    resets={"subtract": "v -= v_th*gap\nu += jump", "zero": "v = v_rest\nu += jump"},
    refractory="1.5*ms",
    at_start="v = v_rest + v_start*gap\nu = 0*volt",
    method="euler",
    parameters={
        "k": 0.02 / mV,
        "v_rest": -60 * mV,
        "v_low": -45 * mV,
        "b": 0.1,
        "tau": 10 * ms,
        "tau_u": 30 * ms,
        "gap": 20 * mV,
        "jump": 2 * mV,
    },
)

#: The equations of each neuron once more, by hand, with numbers in place of names.
PLAIN = {
    "if": ("v : 1", "v += w", "v += b", "v >= 1", "v -= 1", "v = 0", None),
    "lif": (
        "dv/dt = -v/(20*ms) : 1 (unless refractory)",
        "v += w", "v += b", "v >= 1", "v -= 1", "v = 0", 0 * ms,
    ),
    "lif-volts": (
        "dv/dt = (-65*mV - v)/(20*ms) : volt (unless refractory)",
        "v += w*15*mV", "v += b*15*mV", "v >= -50*mV", "v -= 15*mV", "v = -65*mV", 0 * ms,
    ),
    "exponential-current": (
        "dv/dt = -v/(20*ms) : 1 (unless refractory)\ndx/dt = -x/(5*ms) : 1",
        "x += w", "v += b; v += x*(1 - exp(-dt/(5*ms)))", "v >= 1", "v -= 1", "v = 0; x = 0",
        0 * ms,
    ),
    "exponential-current-volts": (
        "dv/dt = (-65*mV - v)/(20*ms) : volt\ndx/dt = -x/(5*ms) : amp",
        # 3 pC move 200 pF by 15 mV
        "x += w*3000*pA*ms/(5*ms)", "v += b*15*mV; v += x*5*ms*(1 - exp(-dt/(5*ms)))/(200*pF)",
        "v >= -50*mV", "v -= 15*mV", "v = -65*mV; x = 0*amp", 0 * ms,
    ),
    "conductance": (
        """dv/dt = (10*nS*(-65*mV - v) + ge*(0*mV - v) + gi*(-80*mV - v))/(200*pF) : volt
        dge/dt = -ge/(3*ms) : siemens
        dgi/dt = -gi/(5*ms) : siemens""",
        # 15 mV by 200 pF, at -57.5 mV: 57.5 mV below one reversal potential, 22.5 above the other
        """ge += clip(w, 0, inf)*15*mV*200*pF/(3*ms)/(57.5*mV)
        gi += clip(-w, 0, inf)*15*mV*200*pF/(5*ms)/(22.5*mV)""",
        "v += b*15*mV", "v >= -50*mV", "v -= 15*mV", "v = -65*mV; ge = 0*nS; gi = 0*nS", 0 * ms,
    ),
    "adaptive-threshold": (
        "dv/dt = -v/(20*ms) : 1\ndh/dt = -h/(50*ms) : 1",
        "v += w", "v += b", "v >= 1 + h", "v -= 1; h += 0.1", "v = 0; h = 0", None,
    ),
    "quadratic": (
        """dv/dt = (0.02/mV*(v + 60*mV)*(v + 45*mV) - u)/(10*ms) : volt (unless refractory)
        du/dt = (0.1*(v + 60*mV) - u)/(30*ms) : volt""",
        "v += w*20*mV", "v += b*20*mV", "v > -40*mV", "v -= 20*mV; u += 2*mV",
        "v = -60*mV; u = 0*volt", 1.5 * ms,
    ),
}  # fmt: skip

METHODS = {"conductance": "exponential_euler", "quadratic": "euler"}


def plain_spikes(name: str, told: np.ndarray, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Simulate a layer with plain Brian2: spikes (steps, sources), weights (targets, sources)."""
    equations, on_pre, every_step, threshold, reset, start, refractory = PLAIN[name]
    step, source = np.nonzero(told)
    clock = b2.Clock(dt=1 * ms)
    before = b2.SpikeGeneratorGroup(
        told.shape[1], source, step * ms, clock=clock, when="start", order=1
    )
    neurons = b2.NeuronGroup(
        len(weights),
        equations + "\nb : 1 (constant)",
        threshold=threshold,
        reset=reset.replace("; ", "\n"),
        refractory=False if refractory is None else refractory,
        method=METHODS.get(name, "exact"),
        clock=clock,
    )
    for statement in start.split("; "):
        variable, value = statement.split(" = ")
        setattr(neurons, variable, value)
    neurons.b = bias
    neurons.run_regularly(every_step.replace("; ", "\n"), when="before_thresholds", clock=clock)
    synapses = b2.Synapses(
        before, neurons, "w : 1", on_pre=on_pre.replace("v +=", "v_post +="), clock=clock
    )
    synapses.connect()
    synapses.w = weights[synapses.j[:], synapses.i[:]]
    monitor = b2.SpikeMonitor(neurons)
    network = b2.Network(before, neurons, synapses, monitor)
    # what arrives in a step is there when its threshold is tested
    network.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]
    network.run(len(told) * ms)
    spikes = np.zeros((len(told), len(weights)))
    spikes[np.rint(np.asarray(monitor.t / ms)).astype(int), monitor.i] = 1
    return spikes


def matrix(layer: nn.Module, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a layer, by torch."""
    with torch.no_grad():
        double = layer.double()
        zero = double(torch.zeros((1, *shape), dtype=torch.float64))
        impulses = torch.eye(int(np.prod(shape)), dtype=torch.float64).reshape(-1, *shape)
        weights = (double(impulses) - zero).reshape(len(impulses), -1).T
    return weights.numpy(), zero.numpy().ravel()


def assert_plain(net, images, name: str) -> None:
    """Each layer tells what a plain script tells that is given the spikes before it."""
    model = net.model
    module = Chain()
    for layer in ("conv", "fc"):
        for array in ("weight", "bias"):
            getattr(module, layer).__dict__["_parameters"][array].data = torch.from_numpy(
                getattr(model.graph[layer], array).astype(np.float64)
            )
    told = {n: spikes_of(net, n) for n in model.populations}
    values = model.encode(images)
    for layer, source in (("conv", "input"), ("fc", "conv")):
        shape = model.populations[source].shape
        shape = shape if layer == "conv" else (int(np.prod(shape)),)
        weights, bias = matrix(getattr(module, layer), shape)
        scale = model.scales[layer]
        for image in range(len(images)):
            own = weights * model.scales[source] / scale
            if source == "input":
                own = own * np.sign(values[image].ravel())
            expected = plain_spikes(name, told[source][image].reshape(STEPS, -1), own, bias / scale)
            found = told[layer][image].reshape(STEPS, -1)
            np.testing.assert_array_equal(found, expected, err_msg=f"{layer}, image {image}")
        assert told[layer].any()


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("connectivity", ["shared", "synapses"])
@pytest.mark.parametrize("name", [name for name in PLAIN if name != "quadratic"])
def test_neurons_do_what_plain_brian2_does(chain, name, connectivity):
    model, images = chain
    net = run_here(model, images[:2], neuron=name, connectivity=connectivity)
    assert_plain(net, images[:2], name)


@pytest.mark.parametrize("target", [*RUNTIME_TARGETS, "cpp"])
def test_a_neuron_of_ones_own(chain, target, tmp_path):
    model, images = chain
    bsnn.register_neuron(OWN)
    try:
        if target == "cpp":
            with bsnn.use_device("cpp", tmp_path):
                net = bsnn.build(
                    model, images=3, neuron="quadratic",
                    monitors=dict.fromkeys(model.populations, "spikes"),
                )  # fmt: skip
                net.present(images[:3])
                net.network.run(net.duration, namespace={})
                b2.device.build(directory=str(tmp_path), with_output=False)
                told = {name: spikes_of(net, name) for name in model.populations}
            net = type("Read", (), {"model": model, "told": told})
        else:
            before = b2.prefs.codegen.target
            b2.prefs.codegen.target = target
            net = run_here(model, images[:3], neuron="quadratic")
            b2.prefs.codegen.target = before
            told = {name: spikes_of(net, name) for name in model.populations}
    finally:
        del NEURON_MODELS["quadratic"]
    b2.prefs.codegen.target = "numpy"
    expected = run_here(model, images[:3], neuron=OWN)
    assert_plain(expected, images[:3], "quadratic")
    for name, spikes in told.items():
        np.testing.assert_array_equal(spikes, spikes_of(expected, name))


LIMITS = {
    "lif": {"tau": np.inf * ms},
    "lif-volts": {"tau": np.inf * ms},
    # a charge that flows in much less than a step
    "exponential-current": {"tau": np.inf * ms, "tau_syn": 1e-3 * ms},
    "adaptive-threshold": {"tau": np.inf * ms, "jump": 0.0},
    "escape-noise": {"tau": np.inf * ms, "escape_rate": 1e6 * Hz, "escape_width": 1e-9},
}


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("encoder", ["poisson", "constant"])
@pytest.mark.parametrize("name", LIMITS)
def test_in_their_limit_neurons_are_ideal(name, encoder):
    model, images = make_rate_model(MaxCnn(), (2, 7, 7), encoder=encoder, steps=12)
    neuron = NEURON_MODELS[name].with_parameters(**LIMITS[name])
    assert_same_spikes(run_here(model, images[:3], neuron=neuron), images[:3])


@pytest.mark.usefixtures("numpy_target")
@pytest.mark.parametrize("name", [n for n, m in NEURON_MODELS.items() if m.coding == "rate"])
def test_images_leave_nothing_behind(chain, name):
    model, images = chain
    neuron = NEURON_MODELS[name]
    if "refractory_period" in neuron.parameters:
        neuron = neuron.with_parameters(refractory_period=6 * ms)
    numbers = np.array([7, 8, 9])
    together = run_here(model, images[:3], numbers, neuron=neuron)
    side_by_side = run_here(model, images[:3], numbers, neuron=neuron, batch=3)
    for k in range(3):
        alone = run_here(model, images[k : k + 1], numbers[k : k + 1], neuron=neuron)
        for population in model.populations:
            expected = spikes_of(alone, population)[0]
            np.testing.assert_array_equal(spikes_of(together, population)[k], expected)
            neurons, steps = side_by_side.recorded_spikes(population)
            size = model.populations[population].size
            own = neurons // size == k
            found = np.zeros((STEPS, size))
            found[steps[own], neurons[own] % size] = 1
            found = together.to_layer(population, found).reshape(expected.shape)
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("numpy_target")
def test_a_refractory_neuron_takes_nothing_in(chain):
    model, images = chain
    neuron = NEURON_MODELS["lif"].with_parameters(tau=np.inf * ms, refractory_period=4 * ms)
    net = run_here(model, images[:2], neuron=neuron)
    told = spikes_of(net, "conv").reshape(2, STEPS, -1)
    for image, neuron_number in np.ndindex(2, told.shape[2]):
        assert (np.diff(np.flatnonzero(told[image, :, neuron_number])) >= 4).all()
    assert told.sum(axis=1).max() == -(-STEPS // 4) - 1


@pytest.mark.usefixtures("numpy_target")
def test_chance_of_an_escape(chain):
    """A neuron at the threshold spikes in a step with probability 1 - exp(-rate*dt)."""
    model, images = chain
    steps = 400
    model = dataclasses.replace(model, steps=steps)
    neuron = dataclasses.replace(
        NEURON_MODELS["escape-noise"].with_parameters(escape_rate=200 * Hz, escape_width=0.1),
        name="held",
        # held at 0.9 thresholds
        update="v = 0.9*v_th",
    )
    net = run_here(model, images[:2], neuron=neuron)
    told = spikes_of(net, "conv").reshape(2, steps, -1)
    p = 1 - np.exp(-0.2 * np.exp(-1))
    assert abs(told.mean() - p) < 4 * np.sqrt(p * (1 - p) / told.size)
    # the numbers are those of the oracle's generator
    size = told.shape[2]
    number = np.arange(steps)[:, np.newaxis] * size + np.arange(size)
    for image in range(2):
        uniform = rate_reference.splitmix(noise_seed(0, "conv", "escape"), [image], number)
        expected = net.to_layer("conv", (uniform < p).astype(float)).reshape(steps, -1)
        np.testing.assert_array_equal(told[image], expected)


@pytest.mark.usefixtures("numpy_target")
def test_random_numbers_of_a_neuron(chain):
    model, images = chain
    model = dataclasses.replace(model, steps=200)
    neuron = bsnn.RateNeuron(
        name="probe", equations="v : 1\nx : 1\ny : 1\nz : 1",
        update="x = normal_one\ny = normal_two\nz = uniform_one",
    )  # fmt: skip
    net = bsnn.build(model, images=3, neuron=neuron, monitors={"conv": ["x", "y", "z"]})
    net.present(images[:3], np.array([4, 5, 6]))
    net.network.run(net.duration, namespace={})
    x, y, z = (np.asarray(getattr(net.monitors["conv"][v], v)) for v in "xyz")
    count = x.size
    for values in (x, y, (z - 0.5) * np.sqrt(12)):
        assert abs(values.mean()) < 4 / np.sqrt(count)
        assert abs(values.var() - 1) < 4 * np.sqrt(2 / count)
        # neither from neuron to neuron, nor step to step, nor image to image is it the same
        assert len(np.unique(values)) == count
        assert abs(np.mean(values[:, 1:] * values[:, :-1])) < 4 / np.sqrt(count)
    assert abs(np.mean(x * y)) < 4 / np.sqrt(count)
    again = bsnn.build(model, neuron=neuron, monitors={"conv": "x"})
    again.present(images[1:2], np.array([5]))
    again.network.run(again.duration, namespace={})
    np.testing.assert_array_equal(again.monitors["conv"]["x"].x, x[:, 200:400])
    other = bsnn.build(model, neuron=neuron, seed=1, monitors={"conv": "x"})
    other.present(images[1:2], np.array([5]))
    other.network.run(other.duration, namespace={})
    assert (np.asarray(other.monitors["conv"]["x"].x) != x[:, 200:400]).all()


@pytest.mark.usefixtures("numpy_target")
def test_a_read_out_that_does_not_spike_adds_up():
    model, images = make_rate_model(
        Chain(), (2, 6, 5), encoder="regular", steps=9, read_out="potential"
    )
    net = run_here(model, images[:2], neuron="lif-volts")
    told = spikes_of(net, "conv")
    weights = model.graph["fc"].weight.astype(np.float64) * model.scales["conv"]
    expected = told.mean(axis=1).reshape(2, -1) @ weights.T + model.graph["fc"].bias
    np.testing.assert_allclose(net.recorded_read_out()[:2, -1], expected, rtol=1e-9)


@pytest.mark.usefixtures("numpy_target")
def test_result_names_the_neuron(chain, tmp_path):
    model, images = chain
    neuron = NEURON_MODELS["lif"].with_parameters(tau=12 * ms)
    result = bsnn.simulate(model, images[:4], neuron=neuron, perturbations={"loss": 0.1},
                           progress=False)  # fmt: skip
    assert "lif (tau = 12. ms" in result.neuron
    assert result.perturbations == {"loss": 0.1}
    assert ("perturbation: loss", "0.1") in result.rows()
    result.save(tmp_path / "result.h5")
    again = bsnn.load_result(tmp_path / "result.h5")
    assert (again.neuron, again.perturbations) == (result.neuron, result.perturbations)
    assert again.summary()["neuron"] == result.neuron


@pytest.mark.usefixtures("numpy_target")
def test_a_checkpoint_of_other_neurons_is_refused(chain, tmp_path):
    model, images = chain
    kept = tmp_path / "kept"
    bsnn.simulate(model, images[:4], neuron="lif", checkpoint=kept, progress=False)
    # the same name, other equations
    other = dataclasses.replace(NEURON_MODELS["lif"], threshold="v >= 0.9*v_th")
    with pytest.raises(bsnn.SimulationError, match="neuron"):
        bsnn.simulate(model, images[:4], neuron=other, checkpoint=kept, resume=True, progress=False)


def test_neurons_can_be_sent_to_other_processes(chain):
    model, images = chain
    for neuron in (*NEURON_MODELS.values(), OWN):
        again = pickle.loads(pickle.dumps(neuron))
        assert repr(again) == repr(neuron)
    alone = bsnn.simulate(model, images[:6], neuron=OWN, device="runtime", progress=False)
    shared = bsnn.simulate(
        model, images[:6], neuron=OWN, device="runtime", workers=2, progress=False
    )
    np.testing.assert_array_equal(shared.potentials, alone.potentials)


def test_forms():
    assert NEURON_MODELS["if"].forms == RATE_FORMS
    assert NEURON_MODELS["lif"].forms == ("neuron-group",)
    assert NEURON_MODELS["two-stage"].forms == ("calendar", "event", "trace")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"neuron": "liff"}, bsnn.SettingsError, "Did you mean 'lif'"),
        ({"neuron": "two-stage"}, bsnn.SettingsError, "coding ttfs"),
        (
            {"neuron": "lif", "form": "one-pass"},
            bsnn.UnknownNameError,
            "no form of the neuron 'lif'",
        ),
        (
            {"neuron": dataclasses.replace(OWN, resets={"zero": "v = v_rest"})},
            bsnn.BuildError,
            "no reset 'subtract'.*it has zero",
        ),
    ],
)
def test_neurons_that_there_are_not(chain, options, error, message):
    with pytest.raises(error, match=message):
        bsnn.build(chain[0], **options)


def test_gates_look_at_potentials_without_units():
    model, _ = make_rate_model(MaxCnn(), (2, 7, 7), encoder="regular", gate="accumulated")
    with pytest.raises(bsnn.BuildError, match=r"gate 'accumulated'.*has a unit"):
        bsnn.build(model, neuron="lif-volts")
    with pytest.raises(bsnn.BuildError, match=r"gate 'accumulated'.*reset in a way"):
        bsnn.build(model, neuron="adaptive-threshold")


def test_models_that_are_wrong():
    with pytest.raises(bsnn.BuildError, match="'x'.*not right"):
        bsnn.RateNeuron(name="x", equations="dv/dt = : 1")
    with pytest.raises(bsnn.BuildError, match="no variable v"):
        bsnn.RateNeuron(name="x", equations="u : 1")
    with pytest.raises(bsnn.BuildError, match="tau in its equations and as a parameter"):
        bsnn.RateNeuron(name="x", equations="v : 1\ntau : second", parameters={"tau": 1 * ms})
    with pytest.raises(bsnn.BuildError, match="the parameter tau, which is in none of its equat"):
        dataclasses.replace(NEURON_MODELS["two-stage"], parameters={"tau": 1 * ms})
    with pytest.raises(bsnn.BuildError, match="no parameter tua to differ"):
        dataclasses.replace(NEURON_MODELS["lif"], varied=frozenset({"tua"}))
    with pytest.raises(bsnn.BuildError, match="a plan and threshold: leave one"):
        bsnn.network.PopulationEquations(model="", threshold="u > 1", plan="spike_step = 1")
    with pytest.raises(bsnn.BuildError, match="no plan"):
        bsnn.network.PopulationEquations(model="", threshold="u > 1", latch="v = u")
    with pytest.raises(bsnn.SettingsError, match="no parameter 'tua'.*tau"):
        NEURON_MODELS["lif"].with_parameters(tua=1 * ms)
    with pytest.raises(bsnn.SettingsError, match="unit"):
        NEURON_MODELS["lif"].with_parameters(tau=1 * mV)
    with pytest.raises(bsnn.SettingsError, match="already"):
        bsnn.register_neuron(bsnn.RateNeuron(name="lif", equations="v : 1"))


# --- thresholds fitted to spikes ---


def test_refitted_rates_are_those_asked_for(chain):
    model, images = chain
    model = dataclasses.replace(model, steps=60)
    neuron = NEURON_MODELS["lif"].with_parameters(tau=8 * ms)
    there = bsnn.refit_thresholds(model, images[:12], neuron=neuron, progress=False)
    assert set(there.threshold_factors) == {"conv", "fc"}
    net = run_here(there, images[:12], neuron=neuron)
    exact = model.graph.activations(images[:12])
    for name, layer in (("conv", model.populations["conv"].layer), ("fc", "fc")):
        wanted = np.clip(exact[layer] / model.scales[name], 0, 1)
        rates = spikes_of(net, name).mean(axis=1)
        assert (wanted * rates).sum() / (rates**2).sum() == pytest.approx(1, abs=0.05)
    plain = bsnn.simulate(model, images[:12], neuron=neuron, device="cpp", progress=False)
    fitted = bsnn.simulate(there, images[:12], neuron=neuron, device="cpp", progress=False)
    for name in ("conv", "fc"):
        assert fitted.layer_rmse[name] < plain.layer_rmse[name]


@pytest.mark.usefixtures("numpy_target")
def test_fitted_thresholds(chain, tmp_path):
    model, images = chain
    fitted = dataclasses.replace(model, threshold_factors={"conv": 0.8, "fc": 1.25})
    fitted.save(tmp_path / "fitted.h5")
    assert bsnn.load_model(tmp_path / "fitted.h5").threshold_factors == fitted.threshold_factors
    net = run_here(fitted, images[:2])
    told = spikes_of(net, "conv")
    from bsnn.conversion.rate_dynamics import RateDynamics

    dynamics = RateDynamics(fitted, images[:2])
    for step in range(STEPS):
        np.testing.assert_array_equal(dynamics.step()["conv"], told[:, step])
    assert net["conv"].v_th == pytest.approx(0.8)
    for factors in ({"conv": 0.0}, {"none": 1.0}):
        with pytest.raises(ValueError, match="is multiplied by"):
            dataclasses.replace(model, threshold_factors=factors).check()


def test_what_cannot_be_refitted(chain, small_cnn):
    model, images = chain
    ttfs, pixels = small_cnn(steps=8)
    with pytest.raises(bsnn.SettingsError, match="only rates"):
        bsnn.refit_thresholds(ttfs, pixels[:2], progress=False)
    with pytest.raises(bsnn.ConversionError, match="whatever their threshold"):
        bsnn.refit_thresholds(
            model, images[:2], perturbations={"dead": 1.0}, device="runtime", progress=False
        )


# --- time to first spike ---


@pytest.mark.usefixtures("numpy_target")
def test_a_two_stage_neuron_of_ones_own(small_cnn):
    """A leak that is written into the equations is the one that a perturbation adds."""
    model, images = small_cnn(steps=14)
    trace = NEURON_MODELS["two-stage"].neuron_forms["trace"]

    def leaking(equations):
        text = equations.model.replace("du/dt = slope/t_max", "du/dt = slope/t_max - u/tau")
        return dataclasses.replace(equations, model=text + "\ntau : second (shared, constant)")

    form = dataclasses.replace(
        trace, equations=leaking(trace.equations), silent=leaking(trace.silent)
    )
    neuron = bsnn.TtfsNeuron(
        name="leaky-two-stage",
        neuron_forms={"trace": form},
        parameters={"tau": 1 * ms},
        method="euler",
    )
    # Euler's step takes dt/tau of the potential
    found = bsnn.simulate(
        model, images[:4], neuron=neuron.with_parameters(tau=50 * ms), progress=False
    )
    expected = bsnn.simulate(model, images[:4], perturbations={"leak": 0.02}, progress=False)
    assert (found.form, found.neuron) == ("trace", "leaky-two-stage (tau = 50. ms)")
    np.testing.assert_allclose(found.potentials, expected.potentials, rtol=1e-12)
    for name, population in expected.populations.items():
        np.testing.assert_array_equal(found.populations[name].spikes, population.spikes)
    plain = bsnn.simulate(model, images[:4], progress=False)
    assert found.populations["conv1"].spikes.sum() < plain.populations["conv1"].spikes.sum()
