"""Systems that bsnn is compared with by `bsnn bench`; found by `bsnn.benchmark.systems`."""

from .event_driven import EventDrivenCpp

SYSTEMS = (EventDrivenCpp(),)
