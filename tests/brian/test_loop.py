"""Images one after another on a network that is built once: present, run, read, again and again."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
import rate_reference
import reference
from brian2 import ms
from rate_networks import tiny_dense
from torch import nn
from ttfs_networks import make_model

import bsnn
from bsnn.devices import start, use_code_target
from bsnn.explain.tracing import Watch, trace_form
from bsnn.network import STATIC

TTFS_KINDS = [
    {"form": form, "connectivity": connectivity}
    for form in ("calendar", "event", "trace")
    for connectivity in ("shared", "synapses")
]
#: With each an encoder and a read-out.
RATE_KINDS = [
    ({"form": "one-pass", "connectivity": "shared"}, "poisson", "count"),
    ({"form": "one-pass", "connectivity": "synapses"}, "constant", "potential"),
    ({"form": "neuron-group", "connectivity": "shared"}, "regular", "count"),
    ({"form": "neuron-group", "connectivity": "synapses"}, "poisson", "potential"),
]


def kind_name(kind) -> str:
    return f"{kind['form']}-{kind['connectivity']}"


every_ttfs_kind = pytest.mark.parametrize("kind", TTFS_KINDS, ids=kind_name)
few_ttfs_kinds = pytest.mark.parametrize(
    "kind", [TTFS_KINDS[0], TTFS_KINDS[3], TTFS_KINDS[4]], ids=kind_name
)


@pytest.fixture(scope="module")
def times():
    """A network in time-to-first-spike coding, and images."""
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(),
        nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3),
    )  # fmt: skip
    return make_model(net, (1, 5, 5), seed=4, steps=5)


@pytest.fixture(scope="module")
def rates():
    """The same in rate coding, with images that are noise."""
    return tiny_dense(encoder="poisson", steps=12)


def spiking(model) -> list[str]:
    return [name for name in model.populations if model.spikes(name)]


def recorded(model, **options):
    """Build a network with everything that reads it."""
    monitors = {name: ["count", "spikes"] for name in spiking(model)}
    net = bsnn.build(model, monitors=monitors, **options)
    for name in spiking(model):
        net.record(name)
    if model.coding == "rate":
        net.record_read_out()
    return net


def steps_of(net) -> int:
    return round(float(net.duration / net.clock.dt))


def run(net, steps: int | None = None) -> None:
    net.network.run(net.duration if steps is None else steps * net.clock.dt, namespace={})


def check_ttfs(net, images) -> None:
    """Compare all readers with the oracle."""
    model = net.model
    expected = reference.simulate(model, images)
    assert sum(np.count_nonzero(level) for level in expected.levels.values()) > 0
    for name, level in expected.levels.items():
        found = net.recorded(name)
        np.testing.assert_array_equal(found[: len(images)], level, err_msg=name)
        neurons, steps = net.recorded_spikes(name)
        first = model.populations[name].depth * model.steps
        window = net.schedule.interval * model.steps
        row, step = np.divmod(steps - first, window)
        flat = np.zeros((net.rounds, net.batch * model.populations[name].size))
        flat[row, neurons] = model.steps - step
        by_layer = net.to_layer(name, flat.reshape(net.capacity, -1))[: len(images)]
        np.testing.assert_array_equal(by_layer, level, err_msg=name)
    potentials = net.read_potentials()[: len(images)]
    np.testing.assert_allclose(potentials, expected.potentials, rtol=1e-9, atol=1e-9)


def check_rate(net, images, numbers=None, seed=0) -> None:
    """Compare all readers with the oracle."""
    model = net.model
    expected = rate_reference.simulate(model, images, seed, numbers)
    for name, spikes in expected.spikes.items():
        assert spikes.any(), name
        neurons, steps = net.recorded_spikes(name)
        flat = np.zeros((net.rounds * model.steps, net.batch * model.populations[name].size))
        np.add.at(flat, (steps, neurons), 1)
        flat = flat.reshape(net.rounds, model.steps, net.batch, -1).swapaxes(1, 2)
        size = model.populations[name].size
        found = net.to_layer(name, flat.reshape(-1, size)).reshape(
            net.capacity, model.steps, *model.populations[name].shape
        )[: len(images)]
        np.testing.assert_array_equal(found, np.abs(spikes), err_msg=name)
        counts = net.recorded(name)[: len(images)]
        np.testing.assert_array_equal(counts, np.abs(spikes).sum(axis=1), err_msg=name)
    told = net.recorded_read_out()[: len(images)]
    wanted = rate_reference.read_out(model, expected)
    np.testing.assert_allclose(told, wanted, rtol=1e-9, atol=1e-9)


def counts_of(net) -> dict[str, np.ndarray]:
    return {name: np.array(net.monitors[name]["count"].count) for name in spiking(net.model)}


@every_ttfs_kind
def test_a_loop_in_time_to_first_spike(times, numpy_target, kind):
    """After a run without an image and one that is broken off; in parts, and for too long."""
    model, images = times
    net = recorded(model, **kind)
    whole = steps_of(net)
    run(net, 7)
    net.present(images[:1])
    run(net, 8)
    for k, parts in ((1, (13, whole - 5)), (2, (whole,))):
        before = counts_of(net)
        net.present(images[k : k + 1])
        for part in parts:
            run(net, part)
        check_ttfs(net, images[k : k + 1])
        for name, count in counts_of(net).items():
            level = reference.simulate(model, images[k : k + 1]).levels[name]
            assert (count - before[name]).sum() == np.count_nonzero(level)


@pytest.mark.parametrize(("kind", "encoder", "read_out"), RATE_KINDS)
def test_a_loop_in_rate_coding(numpy_target, kind, encoder, read_out):
    model, images = tiny_dense(encoder=encoder, read_out=read_out, reset="zero", steps=12)
    net = recorded(model, seed=3, **kind)
    run(net, 7)
    net.present(images[:1])
    run(net, 5)
    for k, parts in ((1, (5, 7)), (2, (12,))):
        net.present(images[k : k + 1], np.array([k + 5]))
        for part in parts:
            run(net, part)
        check_rate(net, images[k : k + 1], np.array([k + 5]), seed=3)


@pytest.mark.parametrize("encoder", ["poisson", "constant"])
def test_after_the_last_image_there_is_none(numpy_target, encoder):
    model, images = tiny_dense(encoder=encoder, steps=12)
    hidden = next(name for name in model.populations if name != model.input.name)
    net, blank = (bsnn.build(model, monitors={hidden: "spikes"}) for _ in range(2))
    net.present(images[:1])
    run(net, 24)
    run(blank, 12)
    shown, dark = (np.transpose(made.recorded_spikes(hidden)) for made in (net, blank))
    np.testing.assert_array_equal(shown[shown[:, 1] >= 12] - [0, 12], dark)
    assert (shown[:, 1] < 12).sum() > len(dark)


@few_ttfs_kinds
def test_several_images_a_run(times, numpy_target, kind):
    model, images = times
    net = recorded(model, images=3, batch=2, **kind)
    for shown in (images[:3], images[3:5]):
        net.present(shown)
        run(net)
        check_ttfs(net, shown)


def test_several_images_a_run_in_rate_coding(rates, numpy_target):
    """Whose noise goes with their numbers."""
    model, images = rates
    net = recorded(model, images=3, batch=2)
    for first in (0, 3):
        shown, numbers = images[first : first + 3], 10 + first + np.arange(3)
        net.present(shown, numbers)
        run(net)
        check_rate(net, shown, numbers)


@every_ttfs_kind
def test_spikes_on_their_way_do_not_reach_the_next_image(residual_cnn, numpy_target, kind):
    model, images = residual_cnn(steps=4)
    assert any(path.delay for p in model.populations.values() for path in p.projections)
    net = recorded(model, images=2, **kind)
    net.present(images[4:6])
    run(net, 14)
    net.present(images[6:8])
    run(net)
    check_ttfs(net, images[6:8])


NOT_IDEAL = {
    "a delay for all": {"synapses": {"*": STATIC.with_delay(3 * ms)}},
    "a delay for each": {"synapses": {"*": STATIC.with_delay("(1 + 4*uniform_delay)*ms")}},
    "explicit": {"synapses": {"*": STATIC.with_delay(2 * ms)}, "connectivity": "synapses"},
    "short-term": {"synapses": {"*": "short-term"}},
    "refractory": {
        "neuron": bsnn.network.NEURON_MODELS["lif"].with_parameters(refractory_period=3 * ms)
    },
    "current": {"neuron": "exponential-current"},
    "escape": {"neuron": "escape-noise"},
    "noise": {"perturbations": {"noise": 0.1, "leak": 0.02}},
    "delay lines": {"perturbations": {"jitter": 2.0, "loss": 0.2}},
    "late": {"perturbations": {"delay": 3}, "batch": 2},
}


@pytest.mark.parametrize("options", NOT_IDEAL.values(), ids=NOT_IDEAL)
def test_neurons_and_synapses_that_remember(rates, numpy_target, options):
    """A run equals that of a network that has never seen another image."""
    model, images = rates
    batch = options.get("batch", 1)

    def show(net, k):
        net.present(images[k : k + batch], np.arange(k, k + batch))
        run(net)

    net = recorded(model, images=batch, **options)
    show(net, 0)
    net.present(images[10 : 10 + batch])
    run(net, 7)
    show(net, 6)
    fresh = recorded(model, images=batch, **options)
    show(fresh, 6)
    np.testing.assert_array_equal(net.recorded_read_out(), fresh.recorded_read_out())
    for name in spiking(model):
        np.testing.assert_array_equal(net.recorded(name), fresh.recorded(name))
        assert fresh.recorded(name).any()
        found, wanted = net.recorded_spikes(name), fresh.recorded_spikes(name)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(net[name].spike_count[:], fresh[name].spike_count[:])


def test_disturbed_times_to_first_spike(times, numpy_target):
    """What is random goes with the number of the image, not with the run in which it is shown."""
    model, images = times
    perturbations = {"noise": 0.1, "jitter": 1.0, "loss": 0.1}

    def show(net, first):
        net.present(images[first : first + 2], np.arange(first, first + 2))
        run(net)
        return {name: net.recorded(name) for name in spiking(model)}

    net = recorded(model, images=2, perturbations=perturbations)
    found = [show(net, first) for first in (0, 2, 0)]
    fresh = show(recorded(model, images=2, perturbations=perturbations), 2)
    for name in spiking(model):
        np.testing.assert_array_equal(found[0][name], found[2][name])
        np.testing.assert_array_equal(found[1][name], fresh[name])
        assert (found[0][name] != found[1][name]).any()


def test_in_a_network_of_the_users(times, rates, numpy_target):
    """Whose time is another, and in which two are presented at different times."""
    (model, images), (other, others) = times, rates
    left, right = recorded(model, name="left"), recorded(other, name="right", dt=1 * ms)
    clock = b2.NeuronGroup(1, "dx/dt = 1/second : 1", method="euler", clock=left.clock)
    network = b2.Network(clock)
    network.run(13 * ms, namespace={})
    network.add(left.network.objects, right.network.objects)
    left.present(images[:1])
    network.run(left.duration, namespace={})
    check_ttfs(left, images[:1])
    left.present(images[1:2])
    network.run(9 * ms, namespace={})
    right.present(others[2:3])
    network.run(left.duration - 9 * ms, namespace={})
    check_ttfs(left, images[1:2])
    network.run(right.duration - left.duration + 9 * ms, namespace={})
    check_rate(right, others[2:3])
    check_ttfs(left, images[1:2])
    assert float(clock.x[0]) == pytest.approx(float(network.t / b2.second))


def test_store_and_restore(times, numpy_target):
    """Before and after a presentation; what is restored is also when it begins."""
    model, images = times
    net = recorded(model)
    run(net, 3)
    net.network.store("blank")
    net.present(images[:1])
    net.network.store("presented")
    run(net)
    check_ttfs(net, images[:1])
    for k in (2, 1):
        net.network.restore("blank")
        net.present(images[k : k + 1])
        run(net)
        check_ttfs(net, images[k : k + 1])
    net.network.restore("presented")
    run(net)
    # the images are those that were presented last
    check_ttfs(net, images[1:2])


def test_reading_before_the_end(times, rates, numpy_target):
    model, images = times
    net = recorded(model)
    net.present(images[:1])
    run(net)
    net.present(images[1:2])
    for steps in (0, steps_of(net) - 5):
        if steps:
            run(net, steps)
        with pytest.raises(bsnn.SimulationError, match="read out for 0 of 1 images"):
            net.read_potentials()
    # nothing of the image before is left
    for name, level in reference.simulate(model, images[1:2]).levels.items():
        np.testing.assert_array_equal(net.recorded(name), level)
    run(net, 5)
    check_ttfs(net, images[1:2])
    other, others = rates
    rate = recorded(other)
    rate.present(others[:1])
    run(rate)
    rate.present(others[1:2])
    with pytest.raises(bsnn.SimulationError, match="read out for 0 of 1 images"):
        rate.recorded_read_out()
    assert not rate.recorded(other.input.name).any()
    assert not len(rate.recorded_spikes(other.input.name)[0])


def test_images_that_do_not_fit_leave_the_last_ones(times, numpy_target):
    model, images = times
    net = recorded(model)
    net.present(images[:1])
    run(net)
    with pytest.raises(bsnn.SimulationError):
        net.present(images[:2])
    check_ttfs(net, images[:1])


@few_ttfs_kinds
def test_after_more_steps_than_int32_counts(times, numpy_target, kind):
    model, images = times
    net = recorded(model, **kind)
    net.network.t_ = float((2**31 - 11) * net.clock.dt)
    net.present(images[:1])
    run(net)
    check_ttfs(net, images[:1])


def test_rates_after_more_steps_than_int32_counts(rates, numpy_target):
    model, images = rates
    net = recorded(model)
    net.network.t_ = float((2**31 - 6) * net.clock.dt)
    net.present(images[:1])
    run(net)
    check_rate(net, images[:1])


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_simulate_a_network_that_has_run(times, rates, numpy_target, coding):
    model, images = times if coding == "ttfs" else rates
    wanted = bsnn.simulate(model, images[:3], progress=False).potentials
    net = bsnn.build(model, images=2)
    net.present(images[5:7])
    run(net, 8)
    for _ in range(2):
        found = bsnn.simulate(net, images[:3], progress=False).potentials
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_traces_in_a_loop(times, rates, numpy_target, coding):
    model, images = times if coding == "ttfs" else rates
    options = {"one_at_a_time": True} if coding == "ttfs" else {}
    layer = next(name for name, p in model.populations.items() if p.role == "neurons")

    def traces(shown):
        net = bsnn.build(model, form=trace_form(model), **options)
        watch = Watch(net, layer, range(4))
        for k in shown:
            net.present(images[k : k + 1])
            run(net)
        return watch.traces(images[shown[-1]])

    for found, wanted in zip(traces([0, 2]), traces([2]), strict=True):
        np.testing.assert_array_equal(found.spikes, wanted.spikes)
        for what in ("potential", "left", "current", "decoded"):
            np.testing.assert_array_equal(getattr(found, what), getattr(wanted, what))


def test_a_neuron_has_no_start_step_of_its_own(rates):
    model, _ = rates
    neuron = bsnn.RateNeuron(name="own", equations="v : 1\nstart_step : 1")
    with pytest.raises(bsnn.BuildError, match="variable start_step of its own"):
        bsnn.build(model, neuron=neuron)


def test_standalone_refuses_what_it_would_not_show(times, cpp_standalone):
    model, images = times
    net = recorded(model)
    # chosen twice before the run: the last holds
    net.present(images[:1])
    net.present(images[1:2])
    run(net)
    with pytest.raises(bsnn.SimulationError, match=r"all images at once.*run_args.*reinit"):
        net.present(images[2:3])
    cpp_standalone()
    check_ttfs(net, images[1:2])
    with pytest.raises(bsnn.SimulationError, match=r"all images at once.*run_args.*reinit"):
        net.present(images[2:3])
    check_ttfs(net, images[1:2])
    b2.device.run(with_output=False, run_args=net.presentation(images[2:3]))
    check_ttfs(net, images[2:3])
    with pytest.raises(bsnn.BuildError, match=r"built and run a program already.*reinit"):
        start(net)


@pytest.mark.long
@pytest.mark.parametrize("coding", ["ttfs", "rate"])
def test_a_loop_in_cython(times, rates, coding):
    model, images = times if coding == "ttfs" else rates
    check = check_ttfs if coding == "ttfs" else check_rate
    with use_code_target("cython"):
        net = recorded(model, images=3, batch=2)
        for first in (0, 3):
            net.present(images[first + 10 : first + 13])
            run(net, 17)
            net.present(images[first : first + 3])
            run(net)
            check(net, images[first : first + 3])
