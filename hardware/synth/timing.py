# SPDX-License-Identifier: MIT
"""Area and static timing of a mapped netlist, from the tables of a Liberty file.

There is no timing analyser among the wheels. This one does what the block needs: one ideal clock,
rising edges, worst arrival and worst slew at every net for both edges, bilinear interpolation in
the tables (and extrapolation beyond them). There are no wires: the load of a net is the pins on it.
"""

from __future__ import annotations

import bisect
import dataclasses
import gzip
import re
from pathlib import Path

TOKEN = re.compile(
    r"/\*.*?\*/|//[^\n]*|\\\r?\n|(?P<string>\"[^\"]*\")|(?P<mark>[(){};:,])"
    r"|(?P<word>[^\s(){};:,\"]+)|\s+",
    re.DOTALL,
)
EDGES = ("rise", "fall")


@dataclasses.dataclass
class Group:
    """Group of a Liberty file.

    Parameters
    ----------
    kind, names
        As in ``pin (A) { ... }``.
    """

    kind: str
    names: list[str]
    values: dict[str, str] = dataclasses.field(default_factory=dict)
    lists: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    groups: list[Group] = dataclasses.field(default_factory=list)

    def all(self, kind: str) -> list[Group]:
        """Groups of a kind within this one.

        Parameters
        ----------
        kind
            Such as ``pin``.
        """
        return [group for group in self.groups if group.kind == kind]

    def number(self, name: str, default: float = 0.0) -> float:
        """Numeric value.

        Parameters
        ----------
        name
            Of the attribute.
        default
            If it is not there.
        """
        return float(self.values.get(name, default))


def read_liberty_text(path: Path) -> str:
    """Text of a Liberty file, plain or packed.

    Parameters
    ----------
    path
        ``.lib`` or ``.lib.gz``.
    """
    data = Path(path).read_bytes()
    return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")


def parse_liberty(text: str) -> Group:
    """Parse a Liberty file.

    Parameters
    ----------
    text
        Its content.

    Returns
    -------
    library
        The outermost group.
    """
    tokens = [
        match.group("string") or match.group("mark") or match.group("word")
        for match in TOKEN.finditer(text)
        if match.lastgroup
    ]
    root = Group("", [])
    stack = [root]
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token == "}":
            stack.pop()
            i += 1
        elif token == ";":
            i += 1
        elif tokens[i + 1] == ":":
            # an expression may have several words; some files forget the semicolon
            end = i + 3
            while tokens[end] not in (";", "}") and tokens[end + 1] not in (":", "("):
                end += 1
            stack[-1].values[token] = " ".join(tokens[i + 2 : end]).strip('"')
            i = end
        elif tokens[i + 1] == "(":
            end = tokens.index(")", i)
            names = [name.strip('"') for name in tokens[i + 2 : end] if name != ","]
            if end + 1 < len(tokens) and tokens[end + 1] == "{":
                stack.append(Group(token, names))
                stack[-2].groups.append(stack[-1])
                i = end + 2
            else:
                stack[-1].lists[token] = names
                i = end + 1
        else:
            raise ValueError(
                f"the Liberty file has an unexpected '{token}' after {tokens[i - 3 : i]}"
            )
    return next(group for group in root.groups if group.kind == "library")


def numbers(texts: list[str]) -> list[float]:
    """Numbers of an attribute such as index_1.

    Parameters
    ----------
    texts
        Strings of numbers with commas or blanks between them.
    """
    return [float(word) for text in texts for word in text.replace(",", " ").split()]


class Table:
    """Table of one or two variables.

    Parameters
    ----------
    group
        Such as ``cell_rise``.
    templates
        Tables of the library by name.
    """

    def __init__(self, group: Group, templates: dict[str, Group]):
        template = templates.get(group.names[0]) if group.names else None
        self.variables = [
            template.values[name]
            for name in ("variable_1", "variable_2")
            if template and name in template.values
        ]
        self.axes = [
            numbers(group.lists.get(name) or template.lists[name])
            for name in ("index_1", "index_2")[: len(self.variables)]
            if template
        ]
        self.cells = numbers(group.lists["values"])

    @staticmethod
    def _position(axis: list[float], value: float) -> tuple[int, float]:
        if len(axis) == 1:
            return 0, 0.0
        i = min(max(bisect.bisect_right(axis, value) - 1, 0), len(axis) - 2)
        return i, (value - axis[i]) / (axis[i + 1] - axis[i])

    def look_up(self, point: dict[str, float]) -> float:
        """Value at a point.

        Parameters
        ----------
        point
            Value of every variable by name.
        """
        if not self.axes:
            return self.cells[0]
        places = [
            self._position(axis, point[variable])
            for axis, variable in zip(self.axes, self.variables, strict=True)
        ]
        columns = len(self.axes[1]) if len(self.axes) > 1 else 1
        (i, u), (j, v) = (*places, (0, 0.0))[:2]
        right = 1 if len(self.axes) > 1 and columns > 1 else 0
        below = columns if len(self.axes[0]) > 1 else 0
        at = i * columns + j
        return (
            self.cells[at] * (1 - u) * (1 - v)
            + self.cells[at + below] * u * (1 - v)
            + self.cells[at + right] * (1 - u) * v
            + self.cells[at + below + right] * u * v
        )


@dataclasses.dataclass
class Arc:
    """Timing arc.

    Parameters
    ----------
    source
        Pin it comes from.
    kind, sense
        timing_type and timing_sense.
    tables
        By name, such as ``cell_rise``.
    """

    source: str
    kind: str
    sense: str
    tables: dict[str, Table]


@dataclasses.dataclass
class Cell:
    """Cell of the library.

    Parameters
    ----------
    name, area
        Of the cell.
    flip_flop
        Whether it stores a bit at a clock edge.
    capacitance
        Of each input pin and edge.
    arcs
        By the pin they end at.
    function
        Of each output.
    """

    name: str
    area: float
    flip_flop: bool
    capacitance: dict[str, dict[str, float]]
    arcs: dict[str, list[Arc]]
    function: dict[str, str]


class Library:
    """Cells of a Liberty file.

    Parameters
    ----------
    text
        Content of the file.
    """

    def __init__(self, text: str):
        library = parse_liberty(text)
        self.name = library.names[0]
        unit_text = library.values["time_unit"]
        found = re.fullmatch(r"([\d.]+)\s*(\w+)", unit_text)
        if found is None:
            raise ValueError(f"the time unit {unit_text!r} is not understood")
        scale, unit = found.groups()
        self.seconds = float(scale) * {"ns": 1e-9, "ps": 1e-12, "us": 1e-6}[unit]
        scale, unit = library.lists["capacitive_load_unit"]
        self.farads = float(scale) * {"ff": 1e-15, "pf": 1e-12}[unit.lower()]
        templates = {group.names[0]: group for group in library.all("lu_table_template")}
        self.cells = {
            group.names[0]: self._cell(group, templates)
            for group in library.all("cell")
            if group.values.get("dont_use") != "true"
        }
        self.nand2 = self._smallest(self._is_nand2, "two-input NAND")
        self.buffer = self._smallest(self._is_buffer, "buffer")

    @staticmethod
    def _cell(group: Group, templates: dict[str, Group]) -> Cell:
        cell = Cell(group.names[0], group.number("area"), bool(group.all("ff")), {}, {}, {})
        for pin in group.all("pin"):
            name = pin.names[0]
            if pin.values.get("direction") == "input":
                cell.capacitance[name] = {
                    edge: pin.number(f"{edge}_capacitance", pin.number("capacitance"))
                    for edge in EDGES
                }
            elif "function" in pin.values:
                cell.function[name] = pin.values["function"]
            arcs = cell.arcs.setdefault(name, [])
            for timing in pin.all("timing"):
                tables = {
                    table.kind: Table(table, templates)
                    for table in timing.groups
                    if "values" in table.lists
                }
                kind = timing.values.get("timing_type", "combinational")
                sense = timing.values.get("timing_sense", "non_unate")
                for source in timing.values.get("related_pin", "").split():
                    arcs.append(Arc(source, kind, sense, tables))
        return cell

    @staticmethod
    def _is_nand2(cell: Cell) -> bool:
        if len(cell.capacitance) != 2 or len(cell.function) != 1:
            return False
        (function,) = cell.function.values()
        first, second = cell.capacitance
        plain = re.sub(r"[\s()]", "", function)
        inner = {f"{first}{mark}{second}" for mark in "&*"}
        inner |= {f"{second}{mark}{first}" for mark in "&*"}
        negated = {f"!{first}{mark}!{second}" for mark in "|+"}
        negated |= {f"!{second}{mark}!{first}" for mark in "|+"}
        whole = "".join(function.split()).startswith("!(")
        return (whole and plain[1:] in inner) or plain in negated

    @staticmethod
    def _is_buffer(cell: Cell) -> bool:
        if len(cell.capacitance) != 1 or len(cell.function) != 1 or cell.flip_flop:
            return False
        (function,) = cell.function.values()
        return re.sub(r"[\s()]", "", function) in cell.capacitance

    def _smallest(self, wanted, what: str) -> Cell:
        found = [cell for cell in self.cells.values() if cell.area > 0 and wanted(cell)]
        if not found:
            raise ValueError(f"the library {self.name} has no {what}")
        return min(found, key=lambda cell: cell.area)


class Netlist:
    """Mapped netlist.

    Parameters
    ----------
    module
        As Yosys writes it in JSON.
    library
        Cells it is mapped to.
    """

    def __init__(self, module: dict, library: Library):
        self.library = library
        self.ports = module["ports"]
        self.instances = []
        for name, cell in module["cells"].items():
            if cell["type"] == "$scopeinfo":
                continue
            if cell["type"] not in library.cells:
                raise ValueError(f"{name} is a {cell['type']}, which is not in {library.name}")
            pins = {pin: bits[0] for pin, bits in cell["connections"].items() if bits}
            self.instances.append((library.cells[cell["type"]], pins))

    @property
    def area(self) -> float:
        """Area in the unit of the library."""
        return sum(cell.area for cell, _ in self.instances)

    @property
    def flip_flops(self) -> int:
        """Number of flip-flops."""
        return sum(cell.flip_flop for cell, _ in self.instances)

    def _loads(self, output_load: float) -> dict:
        loads: dict = {}
        for cell, pins in self.instances:
            for pin, capacitance in cell.capacitance.items():
                load = loads.setdefault(pins.get(pin), dict.fromkeys(EDGES, 0.0))
                for edge in EDGES:
                    load[edge] += capacitance[edge]
        for port in self.ports.values():
            if port["direction"] == "output":
                for bit in port["bits"]:
                    load = loads.setdefault(bit, dict.fromkeys(EDGES, 0.0))
                    for edge in EDGES:
                        load[edge] += output_load
        return loads

    def minimum_period(
        self, clock: str, input_slew: float = 50e-12, output_load: float = 10e-15
    ) -> float:
        """Shortest period of the clock in seconds.

        Inputs change at the clock edge, outputs must be there at the next one.

        Parameters
        ----------
        clock
            Port of the clock, which is ideal.
        input_slew
            Seconds.
        output_load
            Farad at each output.
        """
        load = self._loads(output_load / self.library.farads)
        clock_bit = self.ports[clock]["bits"][0]
        # (arrival, slew) of each net and edge
        state: dict = {}
        start = (0.0, input_slew / self.library.seconds)
        for port in self.ports.values():
            if port["direction"] == "input":
                for bit in port["bits"]:
                    state[bit] = dict.fromkeys(EDGES, start)
        state[clock_bit] = dict.fromkeys(EDGES, (0.0, 0.0))

        period = 0.0
        for cell, pins in self._in_order(clock_bit):
            for pin, arcs in cell.arcs.items():
                net = pins.get(pin)
                if pin not in cell.capacitance and net is not None:
                    state[net] = self._drive(arcs, pins, state, load.get(net))
        for cell, pins in self.instances:
            for pin in cell.capacitance:
                for arc in cell.arcs.get(pin, []):
                    if arc.kind == "setup_rising" and pins.get(pin) in state:
                        period = max(period, self._setup(arc, state[pins[pin]]))
        for port in self.ports.values():
            if port["direction"] == "output":
                for bit in port["bits"]:
                    for arrival, _ in state.get(bit, {}).values():
                        period = max(period, arrival)
        return period * self.library.seconds

    def _in_order(self, clock_bit) -> list:
        """Instances such that what drives an instance comes before it."""
        drivers = {}
        for number, (cell, pins) in enumerate(self.instances):
            for pin in cell.arcs:
                if pin not in cell.capacitance and pin in pins:
                    drivers[pins[pin]] = number
        before = []
        for cell, pins in self.instances:
            nets = [] if cell.flip_flop else [pins.get(pin) for pin in cell.capacitance]
            before.append([drivers[net] for net in nets if net in drivers])
        order, done = [], [False] * len(self.instances)
        for root in range(len(self.instances)):
            stack = [(root, iter(before[root]))]
            while stack:
                number, rest = stack[-1]
                following = next((other for other in rest if not done[other]), None)
                if following is not None:
                    stack.append((following, iter(before[following])))
                    continue
                stack.pop()
                if not done[number]:
                    done[number] = True
                    order.append(self.instances[number])
        return order

    @staticmethod
    def _drive(arcs: list[Arc], pins: dict, state: dict, load: dict | None) -> dict:
        result = dict.fromkeys(EDGES, (0.0, 0.0))
        for arc in arcs:
            source = state.get(pins.get(arc.source))
            if source is None or arc.kind not in ("combinational", "rising_edge"):
                continue
            for edge in EDGES:
                if f"cell_{edge}" not in arc.tables:
                    continue
                if arc.kind == "rising_edge":
                    causes = ["rise"]
                elif arc.sense == "positive_unate":
                    causes = [edge]
                elif arc.sense == "negative_unate":
                    causes = ["fall" if edge == "rise" else "rise"]
                else:
                    causes = list(EDGES)
                for cause in causes:
                    arrival, slew = source[cause]
                    point = {
                        "input_net_transition": slew,
                        "input_transition_time": slew,
                        "total_output_net_capacitance": load[edge] if load else 0.0,
                    }
                    delay = arc.tables[f"cell_{edge}"].look_up(point)
                    out_slew = arc.tables[f"{edge}_transition"].look_up(point)
                    result[edge] = (
                        max(result[edge][0], arrival + delay),
                        max(result[edge][1], out_slew),
                    )
        return result

    @staticmethod
    def _setup(arc: Arc, source: dict) -> float:
        return max(
            source[edge][0]
            + arc.tables[f"{edge}_constraint"].look_up(
                {"related_pin_transition": 0.0, "constrained_pin_transition": source[edge][1]}
            )
            for edge in EDGES
        )
