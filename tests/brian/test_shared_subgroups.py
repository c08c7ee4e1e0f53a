"""Shared connections between parts of groups, against brian2.Synapses."""

from __future__ import annotations

import brian2 as b2
import numpy as np
import pytest
from targets import RUNTIME_TARGETS

from bsnn.brian.dense import Dense

ON_PRE = "v_post += w*(i + 1); g_post += i_pre + 10*j + 100*i_post"


def run(connect):
    source = b2.NeuronGroup(9, "", threshold="t_in_timesteps % 4 == i % 3", reset="")
    target = b2.NeuronGroup(8, "v : 1\ng : 1")
    connections = connect(source[2:7], target[3:])
    b2.Network(source, target, connections).run(1 * b2.ms, namespace={})
    return target.v[:], target.g[:]


@pytest.mark.parametrize("codegen_target", RUNTIME_TARGETS)
def test_numbers_of_neurons_begin_with_their_subgroup(codegen_target):
    weights = np.arange(25).reshape(5, 5) / 8

    def synapses(source, target):
        made = b2.Synapses(
            source, target, "w : 1", on_pre="v_post += w*(i + 1); g_post += i + 10*j + 100*j"
        )
        made.connect()
        made.w = "(i + 5*j)/8"
        return made

    before = b2.prefs.codegen.target
    b2.prefs.codegen.target = codegen_target
    try:
        found = run(lambda source, target: Dense(source, target, weights, ON_PRE))
        expected = run(synapses)
    finally:
        b2.prefs.codegen.target = before
    assert np.any(expected[1])
    np.testing.assert_array_equal(found, expected)
