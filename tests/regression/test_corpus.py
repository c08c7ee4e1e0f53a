"""Shipped networks do what they did, to the last digit."""

from __future__ import annotations

import json

import corpus
import pytest

KEPT = json.loads(corpus.FILE.read_text())

#: Those that take some seconds, of both codings, both devices and both precisions.
QUICK = (
    "lopez_randulfe_2022/mnist_cnn cpp 20 float32",
    "lopez_randulfe_2022/mnist_cnn numpy 2",
    "lopez_randulfe_2022/mnist_cnn_sparse numpy 2",
    "nguyen_2020/mnist cpp 20 float64",
    "nguyen_2020/mnist numpy 2",
)


def test_every_case_is_kept():
    assert KEPT["cases"].keys() == corpus.CASES.keys()
    assert set(QUICK) <= corpus.CASES.keys()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in corpus.CASES],
)
def test_equal_to_the_last_digit(name, data_folder):
    found = corpus.run(corpus.CASES[name], data_folder)
    same_machine = corpus.machine() == KEPT["machine"]
    assert corpus.differences(KEPT["cases"][name], found, same_machine) == []


def test_a_difference_is_found():
    name = QUICK[0]
    kept = KEPT["cases"][name]
    spikes = {**kept["spikes"], "fc1": [kept["spikes"]["fc1"][0] + 1, *kept["spikes"]["fc1"][1:]]}
    for changed in (
        {"spikes": spikes},
        {"accuracy": kept["accuracy"] - 1e-12},
        {"layer_rmse": {**kept["layer_rmse"], "fc1": kept["layer_rmse"]["fc1"] + 1e-3}},
        {"something": 1},
    ):
        (line,) = corpus.differences(kept, {**kept, **changed}, same_machine=False)
        assert line.startswith(next(iter(changed)))
    rounded = {**kept["layer_rmse"], "fc1": kept["layer_rmse"]["fc1"] * (1 + 1e-9)}
    assert corpus.differences(kept, {**kept, "layer_rmse": rounded}, same_machine=False) == []
    assert corpus.differences(kept, {**kept, "layer_rmse": rounded}, same_machine=True)
