"""Equations of the populations, as Brian2 strings.

All populations share one clock and count its steps, from ``start_step`` on, in which the images
begin (`bsnn.brian.time_origin`). A window has ``window_steps`` steps; a
population spikes in the window ``first_window`` for the first image, and in every
``image_interval``-th window from there on, once for each of ``image_count`` images. Time is
compared as whole numbers of steps only: comparing seconds goes wrong after some simulated time,
when their rounding exceeds the tolerance. The names are long so that they do not meet those of a
user's script, which Brian2 would warn about.

The two-stage neuron of López-Randulfe et al. (2022) integrates its input during a silent stage and
tells its potential by the time of one spike during the spiking stage after it. It comes in three
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
`bsnn.brian.neuron_models.TtfsNeuron`.
"""

from __future__ import annotations

import dataclasses

from bsnn.brian.time_origin import MIDDLE_OF_STEP

__all__ = [
    "MAX_POOL",
    "NEURON_FORMS",
    "POOL_MODEL",
    "NeuronForm",
    "PopulationEquations",
]

_SCHEDULE = """
window_steps : integer (shared, constant)
first_window : integer (shared, constant)
image_interval : integer (shared, constant)
image_count : integer (shared, constant)
window_step = (t_in_timesteps - start_step) % window_steps : integer (shared)
window_number = (t_in_timesteps - start_step) // window_steps - first_window : integer (shared)
image_number = window_number // image_interval : integer (shared)
image_shown = int(window_number >= 0) * int(image_number < image_count) : integer (shared)
spiking_stage = image_shown * int(window_number % image_interval == 0) : integer (shared)
"""


@dataclasses.dataclass(frozen=True)
class PopulationEquations:
    """What a `brian2.NeuronGroup` is made of.

    Attributes
    ----------
    model : str
        Equations.
    threshold, reset : str
        Condition and statements.
    every_step : str
        Statements that are run in every step, before the threshold; they use ``window_step``.
    at_start_of_window : str
        In place of all three: statements that are run once a window and set ``spike_step``, the
        step of the window in which the neuron will spike (see `CalendarGroup`).
    """

    model: str
    threshold: str = ""
    reset: str = ""
    every_step: str = ""
    at_start_of_window: str = ""


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
        The population that tells the images.
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


#: The input: pixel values as levels, one row of the timed array an image.
_INPUT = PopulationEquations(
    model=_SCHEDULE,
    threshold=f"spiking_stage == 1 and pixel_levels({MIDDLE_OF_STEP}, i)"
    " == window_steps - window_step",
)

_INPUT_CALENDAR = PopulationEquations(
    model=_SCHEDULE + "spike_step : integer",
    at_start_of_window="spike_step = window_steps"
    f" - spiking_stage*int(pixel_levels({MIDDLE_OF_STEP}, i))",
)

#: Max-pooling: the first spike of each window of neurons passes, in the same step.
MAX_POOL = PopulationEquations(
    model=_SCHEDULE
    + """
arrived : 1
passed : 1
""",
    threshold="arrived > 0 and passed == 0",
    reset="passed = 1",
    every_step="""
arrived = arrived * int(window_step > 0)
passed = passed * int(window_step > 0)
""",
)

#: The same, if the pooling follows the spikes of its source (see `FirstSpikePool`).
POOL_MODEL = _SCHEDULE

_TWO_STAGE = (
    _SCHEDULE
    + """
u_th : 1 (shared, constant)
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
        model=_ANALYTIC
        + """
levels_per_unit = 0.99999*window_steps/u_th : 1 (shared)
spike_step : integer
""",
        # spike_step holds the level first: by a factor that is a little too small it comes out
        # right or one too low, and the comparison of the event form settles which
        at_start_of_window="""
v = u
u = u_rest
spike_step = int(v*levels_per_unit)
spike_step += int(v*window_steps >= u_th*(spike_step + 1))
spike_step = (window_steps - spike_step)*int(spike_step < window_steps)
spike_step += window_steps*(1 - spiking_stage)
""",
    ),
)

#: The forms by name.
NEURON_FORMS: dict[str, NeuronForm] = {form.name: form for form in (_CALENDAR, _EVENT, _TRACE)}
