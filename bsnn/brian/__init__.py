"""A Brian2 extension: computed connections, pooling, groups and recorders of windows."""

from bsnn.brian.convolution import Convolution
from bsnn.brian.dense import Dense
from bsnn.brian.max_pooling import FIRST_SPIKE, GatedPool
from bsnn.brian.noise import spike_noise
from bsnn.brian.pooling import AveragePooling, MaxPooling, Windows
from bsnn.brian.quantities import parse_quantity
from bsnn.brian.spike_step_recorder import SpikeStepRecorder
from bsnn.brian.spiking_groups import CalendarGroup, OnePassGroup
from bsnn.brian.time_origin import TimeOrigin
from bsnn.brian.window_recorder import WindowRecorder
from bsnn.brian.window_start import WindowStart

__all__ = [
    "FIRST_SPIKE",
    "AveragePooling",
    "CalendarGroup",
    "Convolution",
    "Dense",
    "GatedPool",
    "MaxPooling",
    "OnePassGroup",
    "SpikeStepRecorder",
    "TimeOrigin",
    "WindowRecorder",
    "WindowStart",
    "Windows",
    "parse_quantity",
    "spike_noise",
]
