"""Templates of bsnn for each of Brian2's code generation targets.

Brian2 makes the code of an object from a template of the target that is active. The templates here
stand in the folder ``templates``, one file a target, told apart by the extension that Brian2 uses
for it (``.py_`` numpy, ``.pyx`` Cython, ``.cpp`` C++ standalone, ``.cu`` CUDA standalone). A class
of code objects is derived for each target, whose templater looks here first.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import brian2 as b2
from brian2.codegen.runtime.numpy_rt import NumpyCodeObject
from brian2.core.functions import Function
from brian2.groups.group import CodeRunner

from bsnn.errors import BuildError

__all__ = ["TemplateRunner", "runs_in_parallel"]


class TemplateRunner(CodeRunner):
    """A `CodeRunner` with a template of this package, for whichever target is active."""

    def before_run(self, run_namespace):
        self.codeobj_class = _with_templates(_stock_class(), self.template)
        super().before_run(run_namespace)

    def create_default_code_object(self, run_namespace):
        if _stock_class() is NumpyCodeObject:
            # a Python function serves as it is; Brian2 sees to that for its own class only
            for value in {**run_namespace, **(self.group.namespace or {})}.values():
                if isinstance(value, Function) and not _has_numpy(value):
                    value.implementations.add_numpy_implementation(value.pyfunc)
        return super().create_default_code_object(run_namespace)


def _has_numpy(function: Function) -> bool:
    try:
        function.implementations[NumpyCodeObject]
    except KeyError:
        return False
    return True


def runs_in_parallel() -> bool:
    """Say whether the active device executes statements for many neurons at the same time."""
    device: Any = b2.get_device()
    return _atomics_class(device.code_object_class()) is not None


def _atomics_class(stock: type) -> type | None:
    return getattr(sys.modules[stock.__module__], "CUDAStandaloneAtomicsCodeObject", None)


def _stock_class() -> type:
    """Brian2's class of code objects for the active device and its preferences."""
    device: Any = b2.get_device()
    stock = device.code_object_class()
    # several threads add to one target neuron: Brian2CUDA has a class whose code does so atomically
    return _atomics_class(stock) or stock


def _with_templates(stock: type, template: str) -> type:
    derived = _derived(stock)
    try:
        getattr(derived.templater, template)
    except KeyError:
        raise BuildError(
            f"There is no template {template!r} for the target {stock.__name__}. Use Brian2's "
            "targets numpy, cython, C++ standalone or CUDA standalone, or connectivity='synapses'."
        ) from None
    return derived


@functools.cache
def _derived(stock: type) -> type:
    return type(
        f"Bsnn{stock.__name__}", (stock,), {"templater": stock.templater.derive("bsnn.brian")}
    )
