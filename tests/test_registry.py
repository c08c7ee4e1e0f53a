"""Things that are found by name."""

from __future__ import annotations

import pickle

import pytest

import bsnn
from bsnn.conversion import CODINGS, ENCODERS
from bsnn.datasets import DATASETS
from bsnn.devices import DEVICES
from bsnn.network import NEURON_MODELS, PERTURBATIONS, SYNAPSE_MODELS
from bsnn.registry import Registry, check_name


def test_a_name_that_is_not_there_says_what_is():
    letters = Registry("letter", {"alpha": 1, "beta": 2})
    assert letters["beta"] == 2
    message = r"^There is no letter 'alfa'\. Did you mean 'alpha'\? Known are alpha, beta\.$"
    with pytest.raises(bsnn.UnknownNameError, match=message) as caught:
        letters["alfa"]
    assert isinstance(caught.value, bsnn.SettingsError)
    # as a worker sends it
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.raises(bsnn.UnknownNameError, match=r"no letter 'x'\. Known are none\."):
        Registry("letter")["x"]
    with pytest.raises(bsnn.UnknownNameError, match="no axis 'z'. Known are x, y"):
        check_name("z", ("x", "y"), "axis")


def test_a_name_is_taken_once():
    letters = Registry("letter")
    first = letters.add("alpha", [1])
    assert letters.add("alpha", first) is first
    with pytest.raises(bsnn.SettingsError, match="a letter 'alpha' already"):
        letters.add("alpha", [1])
    del letters["alpha"]
    letters.add("alpha", [2])


@pytest.mark.parametrize(
    "registry",
    [CODINGS, DATASETS, DEVICES, ENCODERS, NEURON_MODELS, PERTURBATIONS, SYNAPSE_MODELS],
    ids=lambda registry: registry.kind,
)
def test_what_bsnn_finds_by_name(registry):
    """Each says what it is, what is there, and what may have been meant."""
    name = next(iter(registry))
    with pytest.raises(bsnn.UnknownNameError, match=f"no {registry.kind} .*{name!r}"):
        registry[f"{name}x"]
    for known, entry in registry.items():
        assert getattr(entry, "name", known) == known
