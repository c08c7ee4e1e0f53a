"""What Brian2CUDA makes of the templates: how it looks, and what it computes without a GPU."""

from __future__ import annotations

import re
from pathlib import Path

import brian2 as b2
import numpy as np
import pytest
from brian2.core.base import BrianObjectException

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

import scenes
from projects import (
    cuda_standalone,
    generate,
    simulate,
    spikes,
    states,
)

import bsnn
from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.noise import spike_noise
from bsnn.brian.spiking_groups import OnePassGroup
from bsnn.errors import BuildError
from bsnn.graph import AvgPool2d, Conv2d, Flatten, Input, Linear, MaxPool2d, ReLU

SPIKING = ["source", "pool", "one_pass", "windowed", "plain", "grouped", "largest", "mean", "fixed",
           "fixed_max", "fixed_mean", "last", "images", "images_pool", "images_gated", "seen",
           "seen_fixed"]  # fmt: skip
SCATTERED = ["conv_plain", "conv_grouped", "conv_max", "conv_mean", "dense_part", "dense_of_part"]
GATHERED = ["conv_fixed", "conv_fixed_max", "conv_fixed_mean", "dense_fixed", "dense_ordered"]
KINDS = ["conv", "conv_max", "conv_mean", "dense", "dense_of_pooled"]
SCATTERED_BATCHES = [f"images_{kind}" for kind in KINDS]
GATHERED_BATCHES = [f"images_fixed_{kind}" for kind in KINDS]

#: Those that others extend or import.
PARTS_OF_TEMPLATES = {"arriving_spikes", "own_spikes"}

# networks that a test builds and does not run are deleted on purpose
b2.BrianLogger.suppress_name("unused_brian_object")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("scene") / "project")


@pytest.fixture(scope="module")
def expected():
    return simulate()


# -------------------------------------------------------------------- how it looks


def test_all_templates_are_looked_at(project):
    templates = {path.stem for path in Path(bsnn.brian.__file__).parent.glob("templates/*.cu")}
    assert templates - project.templates == PARTS_OF_TEMPLATES


@pytest.mark.parametrize("name", SCATTERED + SCATTERED_BATCHES)
def test_threads_take_taps(project, name):
    code = project.code(f"{name}_pre")
    kernel = code[code.index("_run_kernel") : code.index("\nvoid _run_")]
    # blocks stride over spikes, whatever their number, and threads over the taps of a spike
    assert re.search(r"_s < _num_spikes; _s \+= gridDim.x \* \d+\)", kernel)
    assert re.search(r"_tap \+= \d+\)", kernel)
    assert "const int32_t _num_spikes = *_spike_count;" in kernel
    assert len(re.findall(r"_brian_atomicAdd\(&_ptr_array_\w+_v\[", kernel)) == 1
    assert len(re.findall(r"_brian_atomicAdd\(&_ptr_array_\w+_got\[", kernel)) >= 1


@pytest.mark.parametrize("name", GATHERED + GATHERED_BATCHES)
def test_threads_take_targets(project, name):
    code = project.code(f"{name}_pre")
    kernel = code[code.index("_run_kernel") : code.index("\nvoid _run_")]
    assert re.search(r"_target < \d+; _target \+= gridDim.x \* blockDim.x", kernel)
    assert "atomic" not in kernel


def test_one_image_costs_no_division(project):
    """What is generated without a batch knows of none."""
    pools = "pool_gate", "gated_0_gate", "gated_1_gate"
    for name in [*(f"{name}_pre" for name in SCATTERED + GATHERED), *pools]:
        assert "_image" not in project.code(name), name
    pools = "images_pool_gate", "images_gated_gate"
    for name in [*(f"{name}_pre" for name in SCATTERED_BATCHES + GATHERED_BATCHES), *pools]:
        assert "int32_t _image = " in project.code(name), name


def test_spikes_times_taps_beyond_32_bits():
    """Images of 2^10 neurons with 2^12 taps each, counted apart: the taps by rows of blocks."""
    with cuda_standalone():
        source = b2.NeuronGroup(512 * 1024, "v : 1", threshold="v > 1", reset="")
        target = b2.NeuronGroup(512 * 1024, "v : 1")
        connections = Convolution(
            source, target, np.ones((64, 1, 8, 8)), "v_post += w", stride=8, batch=512,
            source_shape=(1, 32, 32),
        )  # fmt: skip
        b2.Network(source, target, connections).run(1 * b2.ms, namespace={})
        code = connections.pre.codeobj.code.cu_file
    assert "_s < _num_spikes; _s += gridDim.x * 1)" in code
    assert "_tap = blockIdx.y * 1024 + threadIdx.x % 256; _tap < min(4096, " in code
    assert "<<<dim3(num_blocks, 4), num_threads>>>" in code


def test_taps_of_a_convolution(project):
    """6 output channels, 3x3 kernel: 54 taps a spike, for which 64 threads are as good as 8."""
    code = project.code("conv_plain_pre")
    assert "_s = blockIdx.x * 4 + threadIdx.x / 64;" in code
    assert "_tap = threadIdx.x % 64; _tap < 54; _tap += 64)" in code


@pytest.mark.parametrize(
    "name",
    [f"{name}_pre" for name in SCATTERED + GATHERED + SCATTERED_BATCHES + GATHERED_BATCHES]
    + ["source_spike_calendar", "pool_gate", "one_pass_one_pass"]
    + ["clear", "recorded", "recorded_part", "recorded_steps"],
)
def test_the_host_does_not_wait(project, name):
    code = project.code(name)
    assert not re.search(r"cudaMemcpy|Synchronize", code)


def test_the_calendar_is_made_once_a_window(project):
    code = project.code("source_spike_calendar")
    at_start = code[code.index("if (_step == 0)") :]
    at_start = at_start[: at_start.index("_copy_step")]
    assert len(re.findall("<<<", at_start)) == 3
    assert len(re.findall("<<<", code)) == 4


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("clear", r"\(\w+\[0\] - \w+\[0\]\) % 4 == 0"),
        ("recorded", r"_since_first >= 0 && _since_first % 4 == 0\s+&& _since_first / 4 < 3"),
    ],
)
def test_a_kernel_is_started_once_a_window(project, name, condition):
    code = project.code(name)
    assert len(re.findall("<<<", code)) == 1
    assert re.search(rf"if \({condition}\)\s+{{\s+_run_kernel_{name}_codeobject<<<", code)


def test_names_of_arrays_are_lower_case(project):
    """Brian2CUDA lower-cases names of files that are given to a run."""
    names = {file for file, _ in project.files.values()} | set(
        re.findall(r"dev(_array_\w+)", project.source)
    )
    own = {name for name in names if not name.endswith("_N") and "_N_" not in name}
    assert len(own) > 50
    assert not [name for name in own if name != name.lower()]


# -------------------------------------------------------------------- what it computes


@pytest.mark.parametrize("order", ["forwards", "backwards", "scattered"])
def test_emulated(project, expected, order):
    found = project.emulated(order)
    for group in SPIKING:
        assert spikes(expected, group), group
        assert spikes(found, group) == spikes(expected, group), group
    for name, values in states(expected).items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("order", ["forwards", "backwards", "scattered"])
def test_deterministic_sums_do_not_depend_on_the_order_of_threads(project, expected, order):
    found = project.emulated(order)
    for name in ("fixed.v", "fixed_max.v", "fixed_mean.v", "seen_fixed.v"):
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


# -------------------------------------------------------------------- what is refused


def two_groups(**options):
    source = b2.NeuronGroup(6, "x : 1", threshold="x > 1", reset="", name="from_here", **options)
    target = b2.NeuronGroup(
        5, "v : 1\ng : 1\ncount : integer\ntotal : 1 (shared)", name="to_there", **options
    )
    return source, target


def run_dense(on_pre, *, source=None, target=None, **options):
    if source is None:
        source, target = two_groups()
    connections = Dense(source, target, np.ones((len(target), len(source))), on_pre, **options)
    net = b2.Network({source, target}, connections)
    net.run(1 * b2.ms, namespace={})
    return connections


@pytest.mark.parametrize(
    ("on_pre", "gathers"),
    [
        ("v_post += w", False),
        ("v_post -= w*x_pre; g_post += 1", False),
        ("v_post *= w", False),
        ("count_post += 1", False),
        ("v_post += w; v_post *= 0.5", True),
        ("g_post += w; v_post += g_post", True),
        ("v_post += w*v_post", True),
        ("v_post = w", True),
        # Brian2CUDA's atomic division is upside down
        ("v_post /= 1 + w", True),
    ],
)
def test_what_is_more_than_a_sum_is_done_in_order(on_pre, gathers):
    with cuda_standalone():
        code = run_dense(on_pre).pre.codeobj.code.cu_file
    assert ("_target <" in code) == gathers
    kernel = code[code.index("_run_kernel") :]
    assert ("_brian_atomic" in kernel) != gathers


def test_random_numbers_for_connections_are_refused():
    with cuda_standalone(), pytest.raises(BrianObjectException) as error:
        run_dense("v_post += w*rand()")
    assert isinstance(error.value.__cause__, BuildError)
    assert "uses 'rand'" in str(error.value.__cause__)


def test_reading_what_other_threads_change_is_refused():
    def group():
        return b2.NeuronGroup(4, "v : 1", threshold="v > 1", reset="", name="itself")

    with cuda_standalone():
        itself = group()
        with pytest.raises(BrianObjectException) as error:
            run_dense("v_post += w*v_pre", source=itself, target=itself)
    assert "reads 'v_pre' of the source and changes it" in str(error.value.__cause__)
    with cuda_standalone():
        itself = group()
        source, target = itself[:2], itself[2:]
        connections = Dense(source, target, np.ones((2, 2)), "v_post += w*v_pre")
        b2.Network(itself, connections).run(1 * b2.ms)


# -------------------------------------------------------------------- whole networks


@pytest.fixture(params=[np.float64, np.float32])
def default_dtype(request):
    before = b2.prefs.core.default_float_dtype
    b2.prefs.core.default_float_dtype = request.param
    yield
    b2.prefs.core.default_float_dtype = before


@pytest.mark.usefixtures("default_dtype")
def test_float32(tmp_path):
    """Weights are multiples of 1/64: sums are exact in either precision."""

    def make():
        rng = np.random.default_rng(3)
        options = {"dtype": np.float32}
        source = OnePassGroup(
            36, "v : 1\nbias : 1 (constant)", threshold="v >= 1", reset="v -= 1", name="source",
            update="v += bias*int(spike_noise(2, i, t_in_timesteps) < 0.875)",
            namespace={"spike_noise": spike_noise}, **options,
        )  # fmt: skip
        source.bias = rng.integers(0, 40, 36) / 64
        target = OnePassGroup(
            50, "v : 1", update="", threshold="v >= 4", reset="v = 0", order=1, name="target",
            **options,
        )  # fmt: skip
        connections = Convolution(
            source, target, scenes.kernel(rng, 2, 1, 2, 2), "v_post += w", padding=0,
            source_shape=(1, 6, 6), dtype=np.float32,
        )  # fmt: skip
        monitors = {g.name: b2.SpikeMonitor(g) for g in (source, target)}
        net = b2.Network(source, target, connections, *monitors.values())
        return net, monitors, {"source": source, "target": target}

    expected = simulate(make, steps=20)
    found = generate(tmp_path / "project", make, steps=20).emulated("scattered")
    for group in ("source", "target"):
        assert spikes(expected, group)
        assert spikes(found, group) == spikes(expected, group)


def small_model(rng) -> bsnn.SpikingModel:
    def normal(*shape):
        return rng.normal(0, 0.4, shape).astype(np.float32)

    graph = bsnn.Graph(
        [
            Input(name="pixels", shape=(1, 8, 8)),
            Conv2d(name="conv1", inputs=("pixels",), weight=normal(3, 1, 3, 3), bias=normal(3),
                   padding=(1, 1, 1, 1)),
            ReLU(name="relu1", inputs=("conv1",)),
            MaxPool2d(name="pool1", inputs=("relu1",), kernel=(2, 2), stride=(2, 2)),
            Conv2d(name="conv2", inputs=("pool1",), weight=normal(4, 3, 2, 2)),
            ReLU(name="relu2", inputs=("conv2",)),
            AvgPool2d(name="pool2", inputs=("relu2",), kernel=(2, 2), stride=(1, 1)),
            Flatten(name="flat", inputs=("pool2",)),
            Linear(name="fc", inputs=("flat",), weight=normal(5, 16)),
        ]
    )  # fmt: skip
    return bsnn.convert_to_ttfs(graph, rng.random((20, 1, 8, 8), dtype=np.float32), steps=8)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_built_network(tmp_path, batch):
    """A spiking model, built as a user does, with images in a TimedArray and its read-out."""
    rng = np.random.default_rng(5)
    model = small_model(rng)
    images = rng.random((2, 1, 8, 8), dtype=np.float32)
    names = [name for name in model.populations if model.spikes(name)]

    def make():
        # on CUDA a network runs on defaultclock, whose step this is
        monitors = dict.fromkeys(names, "spikes")
        net = bsnn.build(model, images=2, batch=batch, dt=scenes.DT, monitors=monitors)
        net.present(images)
        monitors = {name: net.monitors[name]["spikes"] for name in names}
        return net.network, monitors, {"fc_read_out": net.read_out}

    steps = 8 * 5 + 8 * (2 - batch)
    expected = simulate(make, steps)
    found = generate(tmp_path / "project", make, steps).emulated("scattered")
    for name in names:
        assert spikes(expected, name)
        assert spikes(found, name) == spikes(expected, name)
    read_out = expected["fc_read_out._rows"]
    assert len(np.unique(read_out)) == 2 * 5
    np.testing.assert_allclose(found["fc_read_out._rows"], read_out, rtol=1e-12)
