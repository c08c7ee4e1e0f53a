"""Gates of max-pooling in rate coding: the neuron of a window whose spikes pass.

In each step the neuron with the largest key wins; of equal keys the first, row by row. Its spike
passes, if it has one. Whether the rate of what passes becomes the largest of the rates depends on
the key.

The largest of the rates passes if a spike does exactly when it makes a new highest count of the
window, which is the default.

Nguyen et al. (2020) propose the membrane potential in place of a count of spikes, and do not say,
as far as their text can be read, at which point of a step it is taken. That point decides: with the
potential that has reached the threshold, before it is reset, a neuron that spikes has more than all
that do not, so that the gate passes a spike whenever any neuron has one.
"""

from __future__ import annotations

import ast

import numpy as np

from bsnn.errors import ConversionError
from bsnn.registry import Registry

__all__ = [
    "AVERAGE",
    "DEFAULT_GATE",
    "GATES",
    "GATE_QUANTITIES",
    "evaluate_key",
    "gate_key",
    "gate_quantities",
    "winning_spikes",
]

#: What the key of a gate may depend on, for each neuron. Potentials are in the neuron's units.
GATE_QUANTITIES = {
    "v": "membrane potential, after the reset of this step",
    "v_before": "membrane potential before the input of this step",
    "v_reached": "membrane potential with the input of this step, before the reset",
    "v_removed": "what resets have taken from the membrane potential since the image began",
    "v_th": "threshold",
    "spiked": "one in a step in which the neuron spikes, else zero",
    "spike_count": "spikes since the image began, that of this step counted",
    "since_first_spike": "steps since the first spike of the image, that one counted; else zero",
}

#: Key of each gate.
GATES: Registry[str] = Registry(
    "gate",
    {
        # a spike passes that makes a new highest count of the window, and not one that merely
        # catches up with it: after each step as many have passed as the neuron with the most
        # spikes has had
        "new_maximum": "spike_count - 0.5*spiked",
        # the membrane potential as if it were never reset: the sum of all input, whose order is at
        # last that of the trained network's activations
        "accumulated": "v + v_removed",
        # the potential that the last step has left
        "previous": "v_before",
        # a neuron that has just spiked is below its neighbours
        "post_reset": "v",
        # the same as passing any spike of the window (OR), for neurons with one threshold
        "pre_reset": "v_reached",
        # the cumulative number of spikes (Rueckauer et al. 2017); of neurons that are level the
        # first wins, so that one level may pass twice
        "count": "spike_count",
        # whoever has spiked first
        "first_spike": "since_first_spike",
    },
)

#: The gate that errs least (``bsnn reproduce nguyen_2020``).
DEFAULT_GATE = "new_maximum"

#: The name under which all spikes of a window pass, each with its share: average pooling of a
#: network that was trained with max-pooling.
AVERAGE = "average"

# What an expression may consist of.
_NODES = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd,
    ast.USub, ast.Compare, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq, ast.Call, ast.Name,
    ast.Load, ast.Constant,
)  # fmt: skip

# Functions that mean the same in Brian2's expressions.
_FUNCTIONS = {
    "abs": np.abs,
    "clip": np.clip,
    "exp": np.exp,
    "int": lambda x: np.asarray(x).astype(np.int64),
    "log": np.log,
    "sqrt": np.sqrt,
}


def gate_key(gate: str) -> str:
    """Return the expression that a gate compares.

    Parameters
    ----------
    gate : str
        A name in `GATES`, or an expression of one's own, as Brian2 takes it, over the names in
        `GATE_QUANTITIES`.

    Raises
    ------
    ConversionError
        It is neither.
    """
    if gate in GATES:
        return GATES[gate]
    try:
        tree = ast.parse(gate, mode="eval")
    except SyntaxError:
        raise _unknown(gate, "is neither a gate nor an expression") from None
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = set()
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            raise _unknown(gate, f"has a {type(node).__name__}, which is not offered")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
            raise _unknown(gate, f"has the constant {node.value!r}, which is no number")
        if isinstance(node, ast.Name):
            known = _FUNCTIONS if node in called else GATE_QUANTITIES
            if node.id not in known:
                raise _unknown(gate, f"has the unknown name {node.id!r}")
            names.add(node.id)
    if not names & GATE_QUANTITIES.keys():
        raise _unknown(gate, "depends on nothing")
    return gate


def gate_quantities(gate: str) -> frozenset[str]:
    """Return the names in `GATE_QUANTITIES` that the key of a gate depends on."""
    names = {n.id for n in ast.walk(ast.parse(gate_key(gate))) if isinstance(n, ast.Name)}
    return frozenset(names & GATE_QUANTITIES.keys())


def evaluate_key(
    gate: str, quantities: dict[str, np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Return the key of each neuron, with numpy; float64, of the given shape.

    Parameters
    ----------
    gate : str
        See `gate_key`.
    quantities : dict of str to numpy.ndarray
        What it depends on; spread over the shape.
    shape : tuple of int
        Of the result.
    """
    # only what `gate_key` has let through is evaluated
    code = compile(gate_key(gate), "<gate>", "eval")
    keys = eval(code, {"__builtins__": {}, **_FUNCTIONS}, quantities)
    return np.broadcast_to(np.asarray(keys, dtype=np.float64), shape)


def winning_spikes(
    gate: str,
    quantities: dict[str, np.ndarray],
    spikes: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
) -> np.ndarray:
    """Return what passes a gate in one step, with numpy.

    Parameters
    ----------
    gate : str
        See `gate_key`.
    quantities : dict of str to numpy.ndarray
        What its key depends on, of the shape of `spikes`.
    spikes : numpy.ndarray
        Spikes of the neurons that are pooled, shape ``(n, channels, height, width)``.
    rows, columns : numpy.ndarray
        Which rows and columns each window sees, shape ``(windows, size)``; -1 for none.

    Returns
    -------
    numpy.ndarray
        Shape ``(n, channels, rows of windows, columns of windows)``.
    """
    keys = evaluate_key(gate, quantities, spikes.shape)
    inside = (rows >= 0)[:, np.newaxis, :, np.newaxis] & (columns >= 0)[:, np.newaxis, :]
    place = (..., rows[:, np.newaxis, :, np.newaxis], columns[:, np.newaxis, :])
    windows = np.where(inside, keys[place], -np.inf)
    flat = (*windows.shape[:-2], -1)
    winner = windows.reshape(flat).argmax(axis=-1)[..., np.newaxis]
    return np.take_along_axis(spikes[place].reshape(flat), winner, axis=-1)[..., 0]


def _unknown(gate: str, what: str) -> ConversionError:
    return ConversionError(
        f"The gate {gate!r} {what}. There are {', '.join([*GATES, AVERAGE])}, or an expression "
        f"over {', '.join(GATE_QUANTITIES)} with the functions {', '.join(_FUNCTIONS)}, such as "
        f"{GATES[DEFAULT_GATE]!r}."
    )
