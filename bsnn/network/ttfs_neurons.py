"""Equations of the populations, as Brian2 strings.

The two-stage neuron of López-Randulfe et al. (2022) integrates its input during a silent stage and
encodes its potential in the time of one spike during the spiking stage after it. It comes in three
forms, which emit the same spikes:

``trace``
    The paper's differential form: each input spike changes the slope of the potential by its
    weight (eq. 2), and in the spiking stage a constant current charges it up to the threshold
    (eq. 4). One membrane holds one image at a time, so that images are two windows apart.
``event``
    The analytic form: an input spike at step k adds what it will have contributed at the end of
    the stage, and the spike time follows from the potential. The next image's potential grows
    while the last one's is told, so that an image enters every window.
``calendar``
    The analytic form again, for many images: the step of the spike is computed once, when the
    spiking stage begins, so that a neuron costs something once a window and when it spikes, and
    nothing in other steps (`bsnn.brian.spiking_groups.CalendarGroup`).

A form is one entry in `NEURON_FORMS`. Neurons of your own have forms of their own: give them to a
`TtfsNeuron`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import brian2 as b2
from brian2.equations.equations import DIFFERENTIAL_EQUATION, PARAMETER
from brian2.utils.stringtools import get_identifiers

from bsnn.brian.time_origin import MIDDLE_OF_STEP
from bsnn.errors import BuildError
from bsnn.network.hooks import HOOKS, NAMES, Place, depends_on, joined
from bsnn.network.named_models import parameter_equations
from bsnn.network.neuron_models import NeuronModel, register_neuron
from bsnn.network.window_model import WINDOW_MODEL

__all__ = [
    "NEURON_FORMS",
    "NeuronForm",
    "PopulationEquations",
    "TtfsNeuron",
]


@dataclasses.dataclass(frozen=True)
class PopulationEquations:
    """What a `brian2.NeuronGroup` is made of.

    Neurons either test their threshold in every step (`threshold`, `reset`, `every_step`), or plan
    their spikes at the start of a window (`latch` and `plan`, see `CalendarGroup`).

    Attributes
    ----------
    model : str
        Equations.
    threshold, reset : str
        Condition and statements.
    every_step : str
        Statements that are run in every step, before the threshold; they use ``window_step``.
    latch : str
        Statements that are run once a window, before `plan`, and keep the potential that has been
        reached; may be empty if there is none.
    plan : str
        Statements that set ``spike_step``, the step of the window in which the neuron will spike.
    before_integration : str
        Statements of each step, before differential equations are integrated.
    parameters : tuple of str
        Of ``u_th``, the threshold, and the neuron's parameters those that are added to `model`;
        others are declared there.
    derived : mapping of str to str
        Dimensionless subexpressions by name that are added, too.
    varied : frozenset of str
        Of the `parameters` those that differ from neuron to neuron; all neurons share the others,
        and what is derived from those only.
    """

    model: str
    threshold: str = ""
    reset: str = ""
    every_step: str = ""
    latch: str = ""
    plan: str = ""
    before_integration: str = ""
    parameters: tuple[str, ...] = ()
    derived: Mapping[str, str] = dataclasses.field(default_factory=dict)
    varied: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        stepped = [
            name for name in ("threshold", "reset", "every_step") if getattr(self, name).strip()
        ]
        if self.plan and stepped:
            raise BuildError(
                f"Neurons that plan their spikes test nothing in other steps, and there is a plan "
                f"and {', '.join(stepped)}: leave one or the other out."
            )
        if self.latch and not self.plan:
            raise BuildError(
                "There is a latch, whose statements are run before those of a plan, and no plan: "
                "write a plan, or every_step in place of the latch."
            )

    @property
    def hooks(self) -> tuple[str, ...]:
        """Where perturbations can add to it, by names in `bsnn.network.hooks.HOOKS`."""
        integrated = any(e.type == DIFFERENTIAL_EQUATION for e in self.parsed().values())
        there = {
            "before_integration": integrated,
            "after_integration": self.latch,
            "threshold": self.threshold or self.plan,
            "after_spike": self.threshold,
            "on_the_way": self.plan,
        }
        return tuple(name for name, needed in there.items() if needed)

    @staticmethod
    def needed_for(hook: str) -> str:
        """Return what there must be for a hook."""
        return _NEEDED[hook]

    @property
    def varying(self) -> frozenset[str]:
        """Parameters that can differ from neuron to neuron."""
        own = b2.Equations(self.model).values()
        return frozenset(self.parameters) | {
            e.varname for e in own if e.type == PARAMETER and "shared" not in e.flags
        }

    @property
    def identifiers(self) -> frozenset[str]:
        """Names in its strings, and its parameters."""
        texts = (self.threshold, self.reset, self.every_step, self.latch, self.plan)
        texts = (str(self.parsed()), self.before_integration, *texts)
        return frozenset({*self.parameters, *get_identifiers("\n".join(texts))})

    def with_added(
        self, added: Mapping[str, str], parameters: Collection[str], varied: Collection[str]
    ) -> PopulationEquations:
        """Return it with something added.

        Parameters
        ----------
        added : mapping of str to str
            Statements, or a condition, by hook.
        parameters : collection of str
            Names of further ones.
        varied : collection of str
            Parameters that differ from neuron to neuron.
        """
        threshold, condition = self.threshold, added.get("threshold")
        unless = ""
        if condition and self.plan:
            unless = f"spike_step += window_steps*(1 - int({condition}))"
        elif condition:
            threshold = f"({threshold}) and {condition}"
        return dataclasses.replace(
            self,
            before_integration=joined(self.before_integration, added.get("before_integration", "")),
            latch=joined(self.latch, added.get("after_integration", "")),
            plan=joined(self.plan, unless, added.get("on_the_way", "")),
            threshold=threshold,
            reset=joined(self.reset, added.get("after_spike", "")),
            parameters=(*self.parameters, *parameters),
            varied=self.varied.union(set(varied) & {*self.parameters, *parameters}),
        )

    def with_spike_step(self) -> PopulationEquations:
        """Return it with the step of the window in which a neuron has spiked, ``spike_step``.

        Of neurons that do not spike it is one after the window.
        """
        if self.plan:
            # a plan may also say a step before the window
            after = "spike_step += (window_steps - spike_step)*int(spike_step < 0)"
            return dataclasses.replace(self, plan=joined(self.plan, after))
        begin = "spike_step = int(window_step > 0)*spike_step + int(window_step == 0)*window_steps"
        return dataclasses.replace(
            self,
            model=f"{self.model}\nspike_step : integer",
            reset=joined(self.reset, "spike_step = window_step"),
            every_step=joined(self.every_step, begin),
        )

    def parsed(self, values: Mapping[str, Any] | None = None) -> b2.Equations:
        """Return the whole of its equations.

        Parameters
        ----------
        values : mapping, optional
            Of the `parameters`, of which their units are taken; without them they have none.

        Raises
        ------
        BuildError
            There is no parameter of a name.
        """
        values = dict.fromkeys(self.parameters, 1.0) if values is None else values
        unknown = [name for name in self.parameters if name not in values]
        if unknown:
            raise BuildError(
                f"The equations of a population name {', '.join(unknown)} among their parameters; "
                f"there are {', '.join(values)}."
            )
        lines = parameter_equations({name: values[name] for name in self.parameters}, self.varied)
        differs = set(self.varied)
        for name, expression in self.derived.items():
            shared = differs.isdisjoint(get_identifiers(expression))
            lines.append(f"{name} = {expression} : 1" + (" (shared)" if shared else ""))
            differs |= set() if shared else {name}
        return b2.Equations("\n".join([self.model, *lines]))

    def depends_on(self, sources: Collection[str], on_pre: str, potential: str) -> bool:
        """Say whether its spikes, or without them its potential, depend on some parameters."""
        code = [
            (self.reset, False),
            (self.before_integration, True),
            (on_pre, False),
            (self.every_step, True),
            (self.latch, True),
            (self.plan, True),
        ]
        decision = self.threshold or ("spike_step" if self.plan else potential)
        return depends_on(sources, decision, self.parsed(), code)


#: What populations need so that there is a hook.
_NEEDED = {
    "before_integration": "a differential equation",
    "after_integration": "a latch and a plan",
    "threshold": "a threshold or a plan",
    "after_spike": "a threshold",
    "on_the_way": "a plan",
}


@dataclasses.dataclass(frozen=True)
class NeuronForm:
    """A form of the two-stage neuron.

    Attributes
    ----------
    name : str
        As in `NEURON_FORMS`.
    equations : PopulationEquations
        The neuron.
    input : PopulationEquations
        The population that encodes the images.
    silent : PopulationEquations
        A last layer that is read out by its potential and does not spike.
    on_pre : str
        What an input spike does to it; ``w`` is the weight.
    potential : str
        Variable that holds the potential reached in the silent stage, in the first step of the
        spiking stage.
    shortest_interval : int
        Least number of windows from one image to the next.
    """

    name: str
    equations: PopulationEquations
    input: PopulationEquations
    silent: PopulationEquations
    on_pre: str
    potential: str
    shortest_interval: int

    @property
    def identifiers(self) -> frozenset[str]:
        """Names in its strings."""
        parts = (self.equations, self.input, self.silent)
        own = get_identifiers(self.on_pre)
        return frozenset(own.union(*(part.identifiers for part in parts)))

    def parts(self, hook: str) -> tuple[str, ...]:
        """Return in which of its populations something is added at a hook, by their fields."""
        return _PARTS.get(hook, ("equations",))

    def names(self, hook: str) -> dict[str, str]:
        """Return what stands for the names of `bsnn.network.hooks.NAMES` at a hook."""
        potential = "u" if hook == "before_integration" else self.potential
        return dict(zip(NAMES, (potential, "u_th", "1"), strict=True))


# Potentials are integrated by all that have one, and spikes of the input are on their way, too.
_PARTS = {"before_integration": ("equations", "silent"), "on_the_way": ("equations", "input")}


#: The input: pixel values as levels, one row of the timed array an image.
_INPUT = PopulationEquations(
    model=WINDOW_MODEL,
    threshold=f"spiking_stage == 1 and image_values({MIDDLE_OF_STEP}, i)"
    " == window_steps - window_step",
)

_INPUT_CALENDAR = PopulationEquations(
    model=WINDOW_MODEL + "spike_step : integer",
    plan=f"spike_step = window_steps - spiking_stage*int(image_values({MIDDLE_OF_STEP}, i))",
)

_TWO_STAGE = (
    WINDOW_MODEL
    + """
u_rest : 1 (constant)
"""
)

_TRACE_NEURON = PopulationEquations(
    model=_TWO_STAGE
    + """
t_max : second (shared, constant)
du/dt = slope/t_max : 1
slope : 1
""",
    threshold="spiking_stage == 1 and u >= u_th",
    reset="""
u = 0
slope = 0
""",
    # a window that is not the spiking stage starts afresh; the spiking stage keeps what the
    # silent stage has reached, and the current that charges it takes the place of the inputs
    every_step="""
charge = int(window_step == 0) * spiking_stage
clear = int(window_step == 0) * (1 - spiking_stage)
keep = int(window_step > 0)
u = clear*u_rest + (1 - clear)*u
slope = charge*u_th + keep*slope
""",
    parameters=("u_th",),
)

_TRACE = NeuronForm(
    name="trace",
    equations=_TRACE_NEURON,
    input=_INPUT,
    silent=dataclasses.replace(_TRACE_NEURON, threshold="", reset=""),
    on_pre="slope_post += w",
    potential="u",
    shortest_interval=2,
)

# u is what the silent stage has reached so far, v what it reached for the image that is being
# told. Generated C++ divides two integers in float32: a step's share of a window is a number of
# its own.
_ANALYTIC = (
    _TWO_STAGE
    + """
u : 1
v : 1
share_of_step : 1 (shared, constant)
share_left = share_of_step*(window_steps - window_step) : 1 (shared)
"""
)

_EVENT_NEURON = PopulationEquations(
    model=_ANALYTIC,
    # both sides of the second comparison are the first's of the step before, so that exactly one
    # step of the window satisfies both, whatever the rounding
    threshold="""
spiking_stage == 1 and v*window_steps >= u_th*(window_steps - window_step)
and (v*window_steps < u_th*(window_steps - window_step + 1) or window_step == 0)
""".replace("\n", " ").strip(),
    every_step="""
v = int(window_step == 0)*u + int(window_step > 0)*v
u = int(window_step == 0)*u_rest + int(window_step > 0)*u
""",
    parameters=("u_th",),
)

_EVENT = NeuronForm(
    name="event",
    equations=_EVENT_NEURON,
    input=_INPUT,
    silent=dataclasses.replace(_EVENT_NEURON, threshold="", reset=""),
    on_pre="u_post += w*share_left_post",
    potential="v",
    shortest_interval=1,
)

_CALENDAR = dataclasses.replace(
    _EVENT,
    name="calendar",
    input=_INPUT_CALENDAR,
    equations=PopulationEquations(
        model=_ANALYTIC + "spike_step : integer",
        latch="""
v = u
u = u_rest
""",
        # spike_step holds the level first: by a factor that is a little too small it comes out
        # right or one too low, and the comparison of the event form settles which
        plan="""
spike_step = int(v*levels_per_unit)
spike_step += int(v*window_steps >= u_th*(spike_step + 1))
spike_step = (window_steps - spike_step)*int(spike_step < window_steps)
spike_step += window_steps*(1 - spiking_stage)
""",
        parameters=("u_th",),
        derived={"levels_per_unit": "0.99999*window_steps/u_th"},
    ),
)

#: The forms by name.
NEURON_FORMS: dict[str, NeuronForm] = {form.name: form for form in (_CALENDAR, _EVENT, _TRACE)}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TtfsNeuron(NeuronModel):
    """A neuron that encodes a value in the time of one spike.

    Attributes
    ----------
    neuron_forms : mapping of str to NeuronForm
        Its equations, in one form or several that emit the same spikes; the default first.
    """

    neuron_forms: Mapping[str, NeuronForm]

    coding = "ttfs"
    on_the_way = "plan"

    def __post_init__(self) -> None:
        names = {name for form in self.neuron_forms.values() for name in form.identifiers}
        unknown = [name for name in self.parameters if name not in names]
        if unknown:
            raise BuildError(
                f"The neuron {self.name!r} has the parameter {', '.join(unknown)}, which is in "
                "none of its equations: leave it out, or declare it there."
            )

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(self.neuron_forms)

    def places(self, form: str) -> dict[str, Place]:
        own = self.neuron_forms[form]
        about = {"equations": "", "input": "for its input ", "silent": "where it does not spike "}

        def depends(strings: PopulationEquations, names: Collection[str]) -> bool:
            return strings.depends_on(names, own.on_pre, own.potential)

        return {
            part: Place(
                text,
                getattr(own, part),
                tuple(hook for hook in HOOKS if part in own.parts(hook)),
                own.names,
                ("u_th", *self.parameters) if part == "equations" else (),
                depends,
                # one for each neuron and window, drawn when it begins
                ("after_integration", "on_the_way")
                + ("threshold",) * bool(getattr(own, part).plan),
            )
            for part, text in about.items()
        }


TWO_STAGE = register_neuron(
    TtfsNeuron(
        name="two-stage",
        about="a silent stage that integrates, then a spiking stage whose spike encodes how much "
        "(López-Randulfe et al. 2022)",
        neuron_forms=NEURON_FORMS,
        method="euler",
    )
)
