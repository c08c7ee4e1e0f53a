"""Taking Brian2's abstract code apart, and making what it does depend on a condition."""

from __future__ import annotations

from collections.abc import Container, Iterator

from brian2.parsing.statements import parse_statement

__all__ = ["gated", "statements"]

#: Operations after which a variable is what it was before if nothing is added.
_ADDING = ("+=", "-=")


def statements(code: str) -> Iterator[tuple[str, str, str]]:
    """Take abstract code apart: variable, operation and expression of each statement."""
    for line in code.replace(";", "\n").splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            variable, operation, expression, _ = parse_statement(line)
            yield str(variable), str(operation), str(expression)


def gated(code: str, gate: str, variables: Container[str]) -> str:
    """Return statements that change variables where `gate` is one, and leave them where it is zero.

    Parameters
    ----------
    code : str
        Abstract code.
    gate : str
        Name of a number that is zero or one. Where it is one, what is computed is the same; for
        ``*=`` and ``/=`` but for rounding, as Brian2 orders the factors of a product.
    variables : container of str
        Which names are variables; others are names for intermediate results.
    """
    lines = []
    for name, operation, expression in statements(code):
        if name not in variables:
            lines.append(f"{name} {operation} {expression}")
        elif operation in _ADDING:
            lines.append(f"{name} {operation} ({expression})*{gate}")
        elif operation == "=":
            lines.append(f"{name} = ({expression})*{gate} + {name}*(1 - {gate})")
        else:
            changed = f"{name} {operation[:-1]} ({expression})"
            lines.append(f"{name} = ({changed})*{gate} + {name}*(1 - {gate})")
    return "\n".join(lines)
