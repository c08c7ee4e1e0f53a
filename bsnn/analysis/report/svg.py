"""Figures as SVG inside a page."""

from __future__ import annotations

import io
import itertools
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from bsnn.analysis.style import FILL, INK, MUTED, PALETTE, RULE

__all__ = ["THEME", "inline_svg"]

#: Colours of figures, and the variables of the page's style sheet that take their place.
THEME = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    FILL: "var(--fill)",
    "#ffffff": "var(--paper)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(PALETTE)},
}

_COLOUR = re.compile("|".join(THEME), re.IGNORECASE)
_REFERENCE = re.compile(r"#([\w-]+)")
# Sizes and weights stay; the family is the page's.
_FAMILY = re.compile(r"(font: [^;']*?px) [^;]*")
_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "bsnn", "savefig.dpi": 144}


def inline_svg(figure: Figure, prefix: str, label: str) -> Markup:
    """Return a figure as an SVG element with the colours of the page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; its own ground is left out.
    prefix : str
        What the names of its parts begin with, so that they differ from those of other figures.
    label : str
        What a screen reader says in place of the figure.
    """
    buffer = io.StringIO()
    settings: Any = _SETTINGS
    with mpl.rc_context(settings):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    _remove(root, ("metadata", "style"))
    for element in root.iter():
        element.tag = _local(element.tag)
        for name, value in list(element.attrib.items()):
            del element.attrib[name]
            element.set(_local(name), _restyled(_local(name), value))
    _rename(root, prefix)
    # the page says how large it is
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _remove(root: ElementTree.Element, names: tuple[str, ...]) -> None:
    for parent in root.iter():
        for child in list(parent):
            # its style sheet would be that of the whole page
            if _local(child.tag) in names:
                parent.remove(child)


def _restyled(name: str, value: str) -> str:
    if name not in ("style", "fill", "stroke"):
        return value
    value = _COLOUR.sub(lambda found: THEME[found.group().lower()], value)
    return _FAMILY.sub(r"\1 var(--font)", value)


def _rename(root: ElementTree.Element, prefix: str) -> None:
    """Give short names to what is referred to, and none to the rest."""
    names: dict[str, str] = {}
    numbers = itertools.count()

    def new(found: re.Match) -> str:
        old = found.group(1)
        if old not in names:
            names[old] = f"{prefix}-{next(numbers)}"
        return f"#{names[old]}"

    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "href" or "url(#" in value:
                is_data = value.startswith("data:")
                element.set(name, value if is_data else _REFERENCE.sub(new, value))
    for element in root.iter():
        old = element.attrib.pop("id", None)
        if old in names:
            element.set("id", names[old])
