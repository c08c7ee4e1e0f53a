"""Systems that bsnn is compared with by `bsnn bench`; found by `bsnn.benchmark.systems`."""

from .brian2_rate import Brian2Rate
from .event_driven import EventDrivenCpp
from .spikingjelly_rate import SpikingJellyRate
from .torch_time_stepped import SYSTEMS as TORCH_SYSTEMS

SYSTEMS = (EventDrivenCpp(), *TORCH_SYSTEMS, SpikingJellyRate(), Brian2Rate())
