"""A network that covers all templates, on whichever device is active."""

from __future__ import annotations

import itertools

import brian2 as b2
import numpy as np

from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.max_pooling import FIRST_SPIKE, GatedPool
from bsnn.brian.noise import spike_noise
from bsnn.brian.pooling import AveragePooling, MaxPooling
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.spiking_groups import CalendarGroup, OnePassGroup
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.brian.window_start import WindowStart

STEPS = 12
DT = 0.1 * b2.ms
WINDOW_STEPS = 4
CHANNELS, HEIGHT, WIDTH = 4, 7, 6
SHAPE = (CHANNELS, HEIGHT, WIDTH)
SIZE = CHANNELS * HEIGHT * WIDTH
#: Images side by side, and what one of them is.
BATCH = 3
IMAGE = (2, 5, 4)

#: Variables whose values at the end are compared.
STATES = {"v", "got", "label", "spent", "spike_step", "_rows", "_levels"}

#: Has more in it than one addition: a factor from the namespace, a variable that all connections
#: share, a difference, and a refractory period that guards what is written.
LIF = """
dv/dt = -v/(10*ms) : 1 (unless refractory)
got : 1
label : integer (constant)
gain : 1 (shared)
"""
ON_PRE = """
charge = w*gain_post*strength
v_post += charge
got_post -= 2*charge
"""


def kernel(rng, *shape) -> np.ndarray:
    """Multiples of 1/64, whose sums are exact in any order."""
    return rng.integers(-40, 64, shape) / 64


def make(seed: int = 1) -> tuple[b2.Network, dict[str, b2.SpikeMonitor], dict[str, b2.NeuronGroup]]:
    """Return a network, a monitor for each group that spikes, and objects to compare."""
    rng = np.random.default_rng(seed)
    net = b2.Network()
    groups, monitors = {}, {}

    def add(group):
        groups[group.name] = group
        monitors[group.name] = b2.SpikeMonitor(group, name=f"{group.name}_spikes")
        net.add(group, monitors[group.name])
        return group

    def lif(name, size):
        group = b2.NeuronGroup(
            size, LIF, threshold="v > 1", reset="v = 0", refractory=1 * b2.ms, method="euler",
            name=name,
        )  # fmt: skip
        group.gain = 0.5
        return add(group)

    def connect(kind, source, target, *arguments, on_pre=ON_PRE, **options):
        options.setdefault("namespace", {"strength": 0.75})
        net.add(kind(source, target, *arguments, on_pre=on_pre, **options))

    source = add(
        CalendarGroup(
            SIZE,
            "spike_step : integer\nphase : integer (constant)",
            f"spike_step = (phase + 5*(t_in_timesteps//{WINDOW_STEPS})) % {WINDOW_STEPS + 3}",
            window_steps=WINDOW_STEPS,
            name="source",
        )
    )
    source.phase = rng.integers(0, 7, SIZE)
    # a second one, of a part of the neurons, for every other window
    for recorder in (
        SpikeStepRecorder(source, window_steps=WINDOW_STEPS, windows=3, name="recorded_steps"),
        SpikeStepRecorder(source[20:90], window_steps=WINDOW_STEPS, windows=2, interval=2,
                          name="recorded_steps_part"),
    ):  # fmt: skip
        groups[recorder.name] = recorder
        net.add(recorder)
    windows = MaxPooling(2, padding=1).over(HEIGHT, WIDTH)
    pool = add(GatedPool(source, SHAPE, windows, key=FIRST_SPIKE, order=1, name="pool"))
    # choices by what stands in the source: whole numbers with ties, and a function of the step
    for number, (key, windows) in enumerate(
        {
            "spike_step": MaxPooling(2, stride=1, padding=1),
            "(spike_step*7 + phase + t_in_timesteps) % 5": MaxPooling((3, 2), stride=(2, 3)),
        }.items()
    ):
        pooled = add(
            GatedPool(source, SHAPE, windows, key=key, model="got : 1", reset="got += 1",
                      order=1, name=f"gated_{number}")
        )  # fmt: skip
    one_pass = add(
        OnePassGroup(
            50,
            "v : 1\nbias : 1 (constant)\nspent : 1",
            update="v += bias",
            threshold="v >= 1",
            reset="v -= 1; spent += bias",
            name="one_pass",
        )
    )
    one_pass.bias = rng.integers(0, 40, 50) / 64

    windowed = add(
        OnePassGroup(
            40,
            "v : 1\nv_th : 1 (constant)\ngot : 1",
            update="v += spike_noise(9, i, t_in_timesteps)",
            threshold="v >= v_th",
            reset="v -= v_th; got += 1",
            namespace={"spike_noise": spike_noise},
            name="windowed",
        )
    )
    windowed.v_th = rng.integers(32, 128, 40) / 64
    net.add(WindowStart(windowed, "v = i/64; got = 0", window_steps=WINDOW_STEPS, name="clear"))
    # one has a row for each window, the other has no room for the last
    for recorder in (
        WindowRecorder(windowed, "got", window_steps=WINDOW_STEPS, windows=3, dtype=np.int32,
                       name="recorded"),
        WindowRecorder(windowed[10:30], "v/v_th + i", window_steps=WINDOW_STEPS, windows=2,
                       name="recorded_part"),
    ):  # fmt: skip
        groups[recorder.name] = recorder
        net.add(recorder)

    # random numbers differ from device to device: these two only have to compile and to run
    net.add(
        OnePassGroup(7, "v : 1", update="v = rand() + randn()", threshold="v > 1", reset="v = 0",
                     name="noisy"),
        CalendarGroup(7, "spike_step : integer", "spike_step = int(4*rand())",
                      window_steps=WINDOW_STEPS, name="noisy_source"),
    )  # fmt: skip

    plain = lif("plain", 6 * 4 * 6)
    connect(Convolution, source, plain, kernel(rng, 6, 4, 3, 3), source_shape=SHAPE,
            stride=(2, 1), padding=1, name="conv_plain")  # fmt: skip
    grouped = lif("grouped", 8 * 5 * 3)
    connect(Convolution, source, grouped, kernel(rng, 8, 2, 3, 2), source_shape=SHAPE, groups=2,
            stride=(1, 2), dilation=(1, 2), padding=(0, 0, 1, 1), delay=2 * DT,
            name="conv_grouped")  # fmt: skip
    largest = lif("largest", 3 * 4 * 3)
    connect(Convolution, source, largest, kernel(rng, 3, 4, 2, 3), source_shape=SHAPE,
            padding=(1, 0, 1, 1), pool=MaxPooling(3, stride=2, padding=1),
            name="conv_max")  # fmt: skip
    # windows that overlap, and whose shares are exact
    mean = lif("mean", 3 * 2 * 4)
    connect(Convolution, source, mean, 4 * kernel(rng, 3, 4, 2, 2), source_shape=SHAPE,
            pool=AveragePooling((4, 2), stride=(2, 1), padding=(1, 0)), delay=DT,
            name="conv_mean")  # fmt: skip
    fixed = lif("fixed", 6 * 7 * 6)
    connect(Convolution, source, fixed, kernel(rng, 6, 4, 3, 3), source_shape=SHAPE, padding=1,
            deterministic=True, name="conv_fixed")  # fmt: skip
    fixed_max = lif("fixed_max", 3 * 3 * 3)
    connect(Convolution, source, fixed_max, kernel(rng, 3, 4, 1, 1), source_shape=SHAPE,
            pool=MaxPooling(2, stride=2), deterministic=True, delay=DT,
            name="conv_fixed_max")  # fmt: skip
    fixed_mean = lif("fixed_mean", 4 * 6 * 3)
    connect(Convolution, source, fixed_mean, 8 * kernel(rng, 4, 2, 1, 1), source_shape=SHAPE,
            groups=2, pool=AveragePooling((2, 4), stride=(1, 2), padding=(0, 1)),
            deterministic=True, name="conv_fixed_mean")  # fmt: skip
    last = lif("last", 20)
    connect(Dense, plain, last[4:15], kernel(rng, 11, plain.N), name="dense_part")
    connect(
        Dense,
        one_pass[10:40],
        last[:4],
        kernel(rng, 4, 30),
        delay=DT,
        on_pre=ON_PRE + "\ngot_post += w*(i + 2*j)",
        name="dense_of_part",
    )
    connect(Dense, pooled, last, kernel(rng, 20, pooled.N), delay=DT, name="dense_of_pooled")
    connect(Dense, pool, last, kernel(rng, 20, pool.N), deterministic=True, name="dense_fixed")
    # more than additions: each target takes its spikes one after the other
    connect(Dense, one_pass, last, kernel(rng, 20, 50), namespace={},
            on_pre="v_post = clip(v_post + w, -1, 0.9)\nlabel_post = i\ngot_post += v_post/2",
            name="dense_ordered")  # fmt: skip

    # images side by side: the same again, each image with a part of one group of targets
    images = add(
        CalendarGroup(
            BATCH * int(np.prod(IMAGE)),
            "spike_step : integer\nphase : integer (constant)",
            f"spike_step = (phase + 2*(t_in_timesteps//{WINDOW_STEPS})) % {WINDOW_STEPS + 3}",
            window_steps=WINDOW_STEPS,
            name="images",
        )
    )
    images.phase = rng.integers(0, 7, images.N)
    images_pool = add(
        GatedPool(images, IMAGE, MaxPooling((2, 3), padding=1), batch=BATCH, key=FIRST_SPIKE,
                  order=1, name="images_pool")
    )  # fmt: skip
    images_gated = add(
        GatedPool(images, IMAGE, MaxPooling(2, stride=1, padding=1), batch=BATCH,
                  key="(spike_step*7 + phase + t_in_timesteps) % 5", model="got : 1",
                  reset="got += 1", order=1, name="images_gated")
    )  # fmt: skip
    # (3, 3) outputs of 4 channels, (2, 1) of 3, (2, 2) of 3; 4 and 5 neurons
    parts = np.cumsum([5, *(BATCH * np.array([36, 6, 12, 4, 5]))])
    seen, seen_fixed = (lif(name, parts[-1]) for name in ("seen", "seen_fixed"))
    for target, prefix, more in (
        (seen, "images", {}),
        (seen_fixed, "images_fixed", {"deterministic": True}),
    ):
        part = [target[begin:end] for begin, end in itertools.pairwise(parts)]
        more = {"batch": BATCH, **more}
        connect(Convolution, images, part[0], kernel(rng, 4, 1, 3, 2), source_shape=IMAGE,
                groups=2, stride=(1, 2), padding=(0, 1), name=f"{prefix}_conv", **more)  # fmt: skip
        connect(Convolution, images, part[1], kernel(rng, 3, 2, 2, 2), source_shape=IMAGE,
                pool=MaxPooling(3, stride=2, padding=1), delay=DT, name=f"{prefix}_conv_max",
                **more)  # fmt: skip
        connect(Convolution, images, part[2], 4 * kernel(rng, 3, 2, 1, 2), source_shape=IMAGE,
                pool=AveragePooling((4, 2), stride=(2, 1), padding=(1, 0)),
                name=f"{prefix}_conv_mean", **more)  # fmt: skip
        connect(Dense, one_pass[10:40], part[3], kernel(rng, 4, 10), delay=2 * DT,
                on_pre=ON_PRE + "\ngot_post += w*(i + 2*j)", name=f"{prefix}_dense",
                **more)  # fmt: skip
        pooled = images_gated if target is seen else images_pool
        connect(Dense, pooled, part[4], kernel(rng, 5, pooled.N // BATCH),
                name=f"{prefix}_dense_of_pooled", **more)  # fmt: skip
    return net, monitors, groups
