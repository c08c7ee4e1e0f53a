"""Systems that bsnn is compared with by `bsnn bench`; found by `bsnn.benchmark.systems`."""

from .event_driven import EventDrivenCpp
from .torch_time_stepped import SYSTEMS as TORCH_SYSTEMS

SYSTEMS = (EventDrivenCpp(), *TORCH_SYSTEMS)
