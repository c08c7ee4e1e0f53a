"""Neuron models and perturbations on CUDA, with programs that run on the CPU."""

from __future__ import annotations

import brian2 as b2
import pytest

pytest.importorskip("brian2cuda", reason="brian2cuda is not installed: make test-cuda installs it")

from test_simulate_cuda import assert_same, images, shipped

import bsnn
from bsnn.network import NEURON_MODELS

LEAKY = NEURON_MODELS["conductance"].with_parameters(refractory_period=2 * b2.ms)

#: One of each kind of code: equations that are integrated, random numbers of neurons, delay lines.
CASES = {
    "rate": (
        ("nguyen_2020", "mnist", 8),
        {
            "neuron": LEAKY,
            "perturbations": {
                "noise": 0.1, "jitter": 0.6, "loss": 0.1, "dead": 0.1, "threshold_spread": 0.1,
                "tau_spread": 0.1,
            },
        },
    ),
    "synapses": (
        ("nguyen_2020", "mnist", 8),
        {"synapses": {"fc": bsnn.network.SHORT_TERM.with_delay(1 * b2.ms),
                      "conv2": bsnn.network.STATIC.with_delay(2 * b2.ms)}},
    ),
    "escape": (("nguyen_2020", "mnist", 8), {"neuron": "escape-noise"}),
    "ttfs": (
        ("lopez_randulfe_2022", "mnist_cnn", 8),
        {
            "perturbations": {
                "noise": 0.1, "jitter": 0.6, "loss": 0.1, "dead": 0.1, "threshold_spread": 0.1,
            }
        },
    ),
}  # fmt: skip


@pytest.mark.usefixtures("emulated_gpu")
@pytest.mark.parametrize("case", CASES)
def test_neurons_and_perturbations(case):
    network, options = CASES[case]
    model = shipped(*network)
    expected = bsnn.simulate(model, images(5), device="runtime", progress=False, **options)
    found = bsnn.simulate(model, images(5), device="cuda", chunk=3, progress=False, **options)
    assert_same(found, expected)
    plain = bsnn.simulate(model, images(5), device="runtime", progress=False)
    assert (found.potentials != plain.potentials).any()
