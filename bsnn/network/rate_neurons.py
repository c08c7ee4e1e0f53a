"""Neurons for networks in rate coding, each of them Brian2 strings and parameters with units.

Weights and thresholds are those of the conversion: in units of the neuron's threshold, so that a
weight of one brings a neuron at rest to a threshold of one. For a potential in volts, ``v_gap``
volts stand for such a unit, and all that a converted network says is multiplied by it. A current
has the effect of its charge: an exponential current of weight ``w`` moves the potential by ``w`` in
all, a conductance by about as much, exactly so for small weights at the middle between rest and
threshold (`CONDUCTANCE_MAPPING`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import brian2 as b2
from brian2.equations.equations import DIFFERENTIAL_EQUATION
from brian2.utils.stringtools import get_identifiers

from bsnn.errors import BuildError
from bsnn.network.hooks import HOOKS, NAMES, Place, depends_on, joined
from bsnn.network.neuron_models import NeuronModel, register_neuron

__all__ = ["CONDUCTANCE_MAPPING", "RATE_FORMS", "RESET_STATEMENTS", "RateNeuron"]

#: Forms of a rate-coded neuron: ``one-pass`` does update, threshold and reset of a neuron in one
#: go, ``neuron-group`` is plain Brian2. Both emit the same spikes.
RATE_FORMS = ("one-pass", "neuron-group")

#: What a spike does to the potential, by the name of the reset.
RESET_STATEMENTS = {"subtract": "v -= v_th", "zero": "v = 0"}

#: Names that equations may use and that the builder provides.
PROVIDED = {
    "w": "weight of a connection (in on_pre)",
    "v_th": "threshold",
    "tie": "share of the threshold by which a potential may miss it, for rounding (in threshold)",
    "drive": "constant input of a step: the bias, and a constant-current image (in drive)",
    "v_start": "potential at the beginning of an image (in at_start)",
}


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RateNeuron(NeuronModel):
    """A neuron that adds up what arrives and spikes at a threshold, again and again.

    In a time step differential equations are integrated, for all neurons of the network at once;
    then, layer by layer, the spikes of the step arrive (`on_pre`), the constant input is added
    (`drive`), `update` is run, the threshold is tested, and the neurons that spike are reset. What
    arrives in a step is there when the threshold is tested, and no reset removes it.

    Strings may use ``v_th``, the threshold; ``uniform_NAME`` and ``normal_NAME``, random numbers
    (in [0, 1), and of mean zero and variance one) that differ from neuron to neuron, image to image
    and step to step, are the same on every target, and independent for different ``NAME``.

    Attributes
    ----------
    equations : str
        Of the variables; one of them is the potential ``v``. Differential equations, parameters and
        subexpressions are as in `brian2.NeuronGroup`. ``v_th``, a dimensionless parameter, and
        `parameters` are added.
    before_input : str
        Statements of a step, before spikes arrive; may be empty.
    on_pre : str
        What a spike does; ``w`` is the weight, of a dimension of one.
    drive : str
        How the constant input of a step, ``drive``, enters: the neuron's bias, and an image that
        flows in as a current.
    update : str
        Further statements of a step, before the threshold; may be empty.
    threshold : str
        Condition of a spike. ``tie`` is the share of the threshold by which a potential may miss it
        for the rounding of numbers (`bsnn.conversion.ties.TIE`; zero in fixed point): who gets
        exactly the threshold spikes.
    resets : mapping of str to str
        What a spike does to the neuron, by the reset rule of the model (``"subtract"``,
        ``"zero"``).
    reset : str
        When the neuron is made, in place of `resets`: what a spike does whatever that rule is, as
        in `brian2.NeuronGroup`.
    refractory : str
        Condition or duration, as in `brian2.NeuronGroup`; empty for none.
    at_start : str
        Statements for the beginning of an image, at which nothing of the last one may be left;
        ``v_start`` is the initial potential.
    potential_unit : str
        What a potential of one (in units of the weights) is in those of ``v``.
    varied : frozenset of str
        Of ``v_th`` and the parameters those that differ from neuron to neuron.
    """

    equations: str
    before_input: str = ""
    on_pre: str = "v_post += w"
    drive: str = "v += drive"
    update: str = ""
    threshold: str = "v >= v_th*(1 - tie)"
    resets: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(RESET_STATEMENTS))
    refractory: str = ""
    at_start: str = "v = v_start"
    potential_unit: str = "1"
    varied: frozenset[str] = frozenset()
    reset: dataclasses.InitVar[str] = ""

    coding = "rate"
    on_the_way = "delay line"

    def __post_init__(self, reset: str) -> None:
        if reset:
            if self.resets != RESET_STATEMENTS:
                raise BuildError(
                    f"The neuron {self.name!r} has a reset and resets: leave one of them out."
                )
            object.__setattr__(self, "resets", dict.fromkeys(RESET_STATEMENTS, reset))
        try:
            equations = b2.Equations(self.equations)
        except Exception as error:
            raise BuildError(
                f"The equations of the neuron {self.name!r} are not right: {error}"
            ) from error
        if "v" not in equations:
            raise BuildError(
                f"The neuron {self.name!r} has no variable v, the potential that is reset at the "
                "beginning of an image."
            )
        taken = [name for name in self.parameters if name in equations]
        if taken:
            raise BuildError(
                f"The neuron {self.name!r} defines {', '.join(taken)} in its equations and as a "
                "parameter: leave one of them out."
            )
        unknown = sorted(self.varied - self.varying)
        if unknown:
            raise BuildError(
                f"The neuron {self.name!r} has no parameter {', '.join(unknown)} to differ from "
                f"neuron to neuron: there are {', '.join(sorted(self.varying))}."
            )

    def parsed(self) -> b2.Equations:
        """Return its equations."""
        return b2.Equations(self.equations)

    @property
    def integrated(self) -> bool:
        """Say whether there is a differential equation."""
        return any(e.type == DIFFERENTIAL_EQUATION for e in self.parsed().values())

    @property
    def forms(self) -> tuple[str, ...]:
        if self.integrated or self.refractory:
            return ("neuron-group",)
        return RATE_FORMS

    @property
    def decays(self) -> bool:
        return self.integrated or self.potential_unit != "1"

    def places(self, form: str) -> dict[str, Place]:
        # what happens to spikes on their way is what delay lines do
        hooks = tuple(hook for hook in HOOKS if hook != "on_the_way")
        parameters = ("v_th", *self.parameters)
        depends = RateNeuron.depends_on
        return {"equations": Place("", self, hooks, self.names, parameters, depends, hooks)}

    @property
    def hooks(self) -> tuple[str, ...]:
        """Where perturbations can add to it: everywhere, as a step is put together of its parts."""
        return tuple(HOOKS)

    @property
    def varying(self) -> frozenset[str]:
        """Parameters that can differ from neuron to neuron."""
        return frozenset({"v_th", *self.parameters})

    def names(self, hook: str) -> dict[str, str]:
        """Return what stands for the names of `bsnn.network.hooks.NAMES` at a hook."""
        return dict(zip(NAMES, ("v", "v_th", f"({self.potential_unit})"), strict=True))

    @property
    def identifiers(self) -> frozenset[str]:
        """Names in its strings, and its parameters."""
        return self.varying | get_identifiers("\n".join((*self.texts, self.refractory)))

    def with_added(
        self, added: Mapping[str, str], parameters: Mapping[str, float], varied: Collection[str]
    ) -> RateNeuron:
        """Return it with something added.

        Parameters
        ----------
        added : mapping of str to str
            Statements, or a condition, by hook.
        parameters : mapping of str to float
            Further ones, without units.
        varied : collection of str
            Parameters that differ from neuron to neuron.
        """
        after_spike, condition = added.get("after_spike", ""), added.get("threshold")
        return dataclasses.replace(
            self,
            before_input=joined(added.get("before_integration", ""), self.before_input),
            update=joined(self.update, added.get("after_integration", "")),
            threshold=f"({self.threshold}) and {condition}" if condition else self.threshold,
            resets={name: joined(text, after_spike) for name, text in self.resets.items()},
            parameters={**self.parameters, **parameters},
            varied=self.varied.union(varied),
        )

    def depends_on(self, sources: Collection[str]) -> bool:
        """Say whether its spikes depend on parameters of some names."""
        code = [
            *((text, False) for text in self.resets.values()),
            (self.before_input, True),
            (self.on_pre, False),
            (self.drive, False),
            (self.update, True),
        ]
        decision = f"({self.threshold}, {self.refractory})"
        return depends_on(sources, decision, self.parsed(), code)

    @property
    def texts(self) -> tuple[str, ...]:
        """All strings in which names may stand."""
        return (
            self.equations,
            self.before_input,
            self.on_pre,
            self.drive,
            self.update,
            self.threshold,
            *self.resets.values(),
            self.at_start,
            self.potential_unit,
        )


IF = register_neuron(
    RateNeuron(
        name="if",
        about="integrate and fire, without a leak: the neuron that conversion assumes",
        equations="v : 1",
    )
)

LIF = register_neuron(
    RateNeuron(
        name="lif",
        about="leaky integrate and fire with a refractory period, in which input is ignored",
        equations="dv/dt = -v/tau : 1 (unless refractory)",
        refractory="refractory_period",
        parameters={"tau": 20 * b2.ms, "refractory_period": 0 * b2.ms},
    )
)

LIF_VOLTS = register_neuron(
    RateNeuron(
        name="lif-volts",
        about="the same in volts: rest at v_rest, threshold v_gap above it (for a scale of one)",
        equations="dv/dt = (v_rest - v)/tau : volt (unless refractory)",
        on_pre="v_post += w*v_gap",
        drive="v += drive*v_gap",
        threshold="v >= v_rest + v_th*(1 - tie)*v_gap",
        resets={"subtract": "v -= v_th*v_gap", "zero": "v = v_rest"},
        refractory="refractory_period",
        at_start="v = v_rest + v_start*v_gap",
        potential_unit="v_gap",
        parameters={
            "tau": 20 * b2.ms,
            "refractory_period": 0 * b2.ms,
            "v_rest": -65 * b2.mV,
            "v_gap": 15 * b2.mV,
        },
    )
)

CURRENT = register_neuron(
    RateNeuron(
        name="exponential-current",
        about="leaky integrate and fire; a spike's charge arrives as a current that dies away",
        equations="""
dv/dt = -v/tau : 1 (unless refractory)
di_syn/dt = -i_syn/tau_syn : 1
""",
        on_pre="i_syn_post += w",
        # the charge that flows in a step; all of them together are w
        update="v += i_syn*(1 - exp(-dt/tau_syn))",
        refractory="refractory_period",
        at_start="""
v = v_start
i_syn = 0
""",
        parameters={
            "tau": 20 * b2.ms,
            "tau_syn": 5 * b2.ms,
            "refractory_period": 0 * b2.ms,
        },
    )
)

CURRENT_VOLTS = register_neuron(
    RateNeuron(
        name="exponential-current-volts",
        about="the same in volts and amperes: a weight of one is the charge that moves the "
        "potential by v_gap",
        equations="""
dv/dt = (v_rest - v)/tau : volt (unless refractory)
di_syn/dt = -i_syn/tau_syn : amp
""",
        on_pre="i_syn_post += w*v_gap*capacitance/tau_syn",
        drive="v += drive*v_gap",
        update="v += i_syn*tau_syn/capacitance*(1 - exp(-dt/tau_syn))",
        threshold="v >= v_rest + v_th*(1 - tie)*v_gap",
        resets={"subtract": "v -= v_th*v_gap", "zero": "v = v_rest"},
        refractory="refractory_period",
        at_start="""
v = v_rest + v_start*v_gap
i_syn = 0*amp
""",
        potential_unit="v_gap",
        parameters={
            "tau": 20 * b2.ms,
            "tau_syn": 5 * b2.ms,
            "capacitance": 200 * b2.pF,
            "refractory_period": 0 * b2.ms,
            "v_rest": -65 * b2.mV,
            "v_gap": 15 * b2.mV,
        },
    )
)

#: How a weight becomes the peak of a conductance: so that a small one, at the potential halfway
#: between rest and a threshold of one, moves the potential by ``w*v_gap`` in all.
CONDUCTANCE_MAPPING = {
    "excitatory": "w*v_gap*capacitance/(tau_excitatory*(e_excitatory - v_rest - 0.5*v_gap))",
    "inhibitory": "-w*v_gap*capacitance/(tau_inhibitory*(v_rest + 0.5*v_gap - e_inhibitory))",
}

CONDUCTANCE = register_neuron(
    RateNeuron(
        name="conductance",
        about="conductance-based synapses with reversal potentials; a positive weight excites, a "
        "negative one inhibits (Dale's law, as if each neuron had an inhibitory twin)",
        equations="""
dv/dt = (g_leak*(v_rest - v) + g_excitatory*(e_excitatory - v)
         + g_inhibitory*(e_inhibitory - v))/capacitance : volt (unless refractory)
dg_excitatory/dt = -g_excitatory/tau_excitatory : siemens
dg_inhibitory/dt = -g_inhibitory/tau_inhibitory : siemens
""",
        on_pre=f"""
g_excitatory_post += int(w > 0)*{CONDUCTANCE_MAPPING["excitatory"]}
g_inhibitory_post += int(w < 0)*{CONDUCTANCE_MAPPING["inhibitory"]}
""",
        drive="v += drive*v_gap",
        threshold="v >= v_rest + v_th*(1 - tie)*v_gap",
        resets={"subtract": "v -= v_th*v_gap", "zero": "v = v_rest"},
        refractory="refractory_period",
        at_start="""
v = v_rest + v_start*v_gap
g_excitatory = 0*siemens
g_inhibitory = 0*siemens
""",
        potential_unit="v_gap",
        method="exponential_euler",
        parameters={
            "capacitance": 200 * b2.pF,
            "g_leak": 10 * b2.nS,
            "tau_excitatory": 3 * b2.ms,
            "tau_inhibitory": 5 * b2.ms,
            "e_excitatory": 0 * b2.mV,
            "e_inhibitory": -80 * b2.mV,
            "v_rest": -65 * b2.mV,
            "v_gap": 15 * b2.mV,
            "refractory_period": 0 * b2.ms,
        },
    )
)

ADAPTIVE = register_neuron(
    RateNeuron(
        name="adaptive-threshold",
        about="leaky integrate and fire whose threshold grows by a share with each spike and "
        "returns",
        equations="""
dv/dt = -v/tau : 1
dadaptation/dt = -adaptation/tau_adaptation : 1
""",
        threshold="v >= v_th*(1 + adaptation)*(1 - tie)",
        resets={name: f"{text}\nadaptation += jump" for name, text in RESET_STATEMENTS.items()},
        at_start="""
v = v_start
adaptation = 0
""",
        parameters={"tau": 20 * b2.ms, "tau_adaptation": 50 * b2.ms, "jump": 0.1},
    )
)

ESCAPE = register_neuron(
    RateNeuron(
        name="escape-noise",
        about="leaky integrate and fire that spikes by chance, at a rate that grows exponentially "
        "with the potential (Gerstner et al. 2014, eq. 9.8)",
        equations="dv/dt = -v/tau : 1",
        # far above the threshold the exponential would overflow, and the chance is one
        threshold="uniform_escape < 1 - exp(-escape_rate*dt*"
        "exp(clip((v/v_th - 1)/escape_width, -100, 100)))",
        parameters={"tau": 20 * b2.ms, "escape_rate": 1000 * b2.Hz, "escape_width": 0.05},
    )
)
