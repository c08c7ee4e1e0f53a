"""What every shipped network did, kept to the last digit: a guard for rebuilding.

    python tests/regression/corpus.py --data path/to/data [--only NAME] [--check]

makes ``corpus.json`` beside this file, or with ``--check`` says what differs from it. A case is a
shipped network, a device, a precision, and where it is cheap another form or connectivity. It holds
the JSON of ``bsnn run`` without times and versions, and for each image the classes and each layer's
spikes. `test_corpus.py` runs the cases.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import platform
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import brian2 as b2
import numpy as np

import bsnn
from bsnn import networks
from bsnn.devices import use_code_target

FILE = Path(__file__).with_name("corpus.json")

#: Of the JSON of ``bsnn run`` what depends on the machine.
LEFT_OUT = ("build_seconds", "run_seconds", "cpu_seconds", "wall_seconds", "versions")

#: What is a sum of floating-point numbers in BLAS or numpy, whose order differs from one kind of
#: processor to the next.
ROUNDED = ("layer_rmse",)

TTFS = ("lopez_randulfe_2022/mnist_cnn", "lopez_randulfe_2022/mnist_cnn_sparse")
SHALLOW = ("nguyen_2020/mnist", "nguyen_2020/cifar10")
DEEP = ("sengupta_2019/resnet20", "sengupta_2019/vgg16")


def _cases() -> Iterable[dict[str, Any]]:
    for network, precision in itertools.product((*TTFS, *SHALLOW, *DEEP), ("float64", "float32")):
        yield {"network": network, "device": "cpp", "images": 20, "precision": precision}
    for network, target in itertools.product((*TTFS, *SHALLOW), ("numpy", "cython")):
        yield {"network": network, "device": target, "images": 2}
    for network, target in itertools.product(DEEP, ("numpy", "cython -O0")):
        # their hundreds of objects take minutes to compile with optimisation
        yield {"network": network, "device": target, "images": 2, "steps": 250}
    for network, form in itertools.product(TTFS, ("event", "trace")):
        yield {"network": network, "device": "cpp", "images": 20, "form": form}
        yield {"network": network, "device": "numpy", "images": 2, "form": form}
    for network in SHALLOW:
        yield {"network": network, "device": "cpp", "images": 20, "form": "neuron-group"}
        yield {"network": network, "device": "numpy", "images": 2, "form": "neuron-group"}
    small = SHALLOW[0]
    for form in ("one-pass", "neuron-group"):
        yield {
            "network": small,
            "device": "cpp",
            "images": 20,
            "form": form,
            "connectivity": "synapses",
        }
    for form in ("calendar", "event", "trace"):
        yield {
            "network": TTFS[0],
            "device": "numpy",
            "images": 2,
            "form": form,
            "connectivity": "synapses",
        }


#: By name.
CASES = {" ".join(str(value) for value in case.values()): case for case in _cases()}


def run(case: dict[str, Any], data: Path) -> dict[str, Any]:
    """Return what a network does, ready for JSON."""
    options = dict(case)
    model = bsnn.load_model(Path(networks.__file__).parent / f"{options.pop('network')}.h5")
    test = bsnn.datasets.load(model.calibration["images_from"], "test", data)
    test = test.exact().first(options.pop("images"))
    model = dataclasses.replace(model, steps=options.pop("steps", model.steps))
    device, *flags = options.pop("device").split()
    with contextlib.ExitStack() as stack:
        if device != "cpp":
            stack.enter_context(use_code_target(device))
        if flags:
            stack.enter_context(_compiler_flags(["-w", *flags]))
        result = bsnn.simulate(
            model,
            test.images,
            test.labels,
            device="cpp" if device == "cpp" else "runtime",
            progress=False,
            **options,
        )
    summary = {name: x for name, x in result.summary().items() if name not in LEFT_OUT}
    if "accuracy_at_step" in summary:
        correct = [round(x * len(result)) for x in summary.pop("accuracy_at_step")]
        assert np.array_equal(np.divide(correct, len(result)), result.accuracy_at_step)
        summary["correct_at_step"] = [(n, len(list(run))) for n, run in itertools.groupby(correct)]
    found = {
        **summary,
        "predictions": result.predictions.tolist(),
        "ann_predictions": result.ann_predictions.tolist(),
        "spikes": _by_layer(result, "spikes"),
        "operations": _by_layer(result, "operations"),
    }
    if result.predictions_at_step is not None:
        at_step = np.ascontiguousarray(result.predictions_at_step, dtype="<i2")
        found["predictions_at_step_sha256"] = hashlib.sha256(at_step.tobytes()).hexdigest()
    # as it is read back: tuples are lists
    return json.loads(json.dumps(found))


@contextlib.contextmanager
def _compiler_flags(flags: list[str]) -> Iterator[None]:
    before = b2.prefs["codegen.cpp.extra_compile_args_gcc"]
    b2.prefs["codegen.cpp.extra_compile_args_gcc"] = flags
    try:
        yield
    finally:
        b2.prefs["codegen.cpp.extra_compile_args_gcc"] = before


def _by_layer(result: bsnn.Result, what: str) -> dict[str, list[int]]:
    values = {name: getattr(layer, what) for name, layer in result.populations.items()}
    return {name: array.tolist() for name, array in values.items() if array is not None}


def machine() -> str:
    """Return on what the last digits of sums of floating-point numbers depend."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"]
    simd = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    return f"{platform.machine()} {'+'.join(simd)}, numpy {np.__version__}, BLAS {blas}"


def differences(expected: dict[str, Any], found: dict[str, Any], same_machine: bool) -> list[str]:
    """Return what differs, a line for each: nothing may, to the last digit.

    On another machine than the one on which the corpus was made, `ROUNDED` may differ by rounding.
    """
    lines = [f"{name} is gone" for name in expected.keys() - found.keys()]
    lines += [f"{name} is new: {found[name]}" for name in found.keys() - expected.keys()]
    for name in expected.keys() & found.keys():
        if name in ROUNDED and not same_machine and expected[name].keys() == found[name].keys():
            pairs = [(x, found[name][layer]) for layer, x in expected[name].items()]
            if np.allclose(*zip(*pairs, strict=True), rtol=1e-5, atol=1e-9):
                continue
        if expected[name] != found[name]:
            lines.append(f"{name} was {expected[name]}, is {found[name]}")
    return sorted(lines)


def _main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    arguments = parser.parse_args()
    kept = json.loads(FILE.read_text()) if FILE.exists() else {"machine": machine(), "cases": {}}
    failed = 0
    for name, case in CASES.items():
        if arguments.only not in name:
            continue
        print(name, flush=True)
        found = run(case, arguments.data)
        if not arguments.check:
            kept["cases"][name] = found
            lines = [f"  {json.dumps(key)}: {json.dumps(x)}" for key, x in kept["cases"].items()]
            head = json.dumps(kept["machine"])
            FILE.write_text(f'{{"machine": {head}, "cases": {{\n' + ",\n".join(lines) + "\n}}\n")
            continue
        for line in differences(kept["cases"][name], found, machine() == kept["machine"]):
            print("  ", line[:300])
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(_main())
