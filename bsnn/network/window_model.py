"""What the equations of populations in a pipeline know of their time windows.

All populations share one clock and count its steps, from ``start_step`` on, in which the images
begin (`bsnn.brian.time_origin`). A window has ``window_steps`` steps; a population spikes in the
window ``first_window`` for the first image, and in every ``image_interval``-th window from there
on, once for each of ``image_count`` images. Time is compared as whole numbers of steps only:
comparing seconds goes wrong after some simulated time, when their rounding exceeds the tolerance.
The names are long so that they do not meet those of a user's script, which Brian2 would warn about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bsnn.network.network import SpikingNetwork

__all__ = ["WINDOW_MODEL", "follow_schedule"]

#: Equations of a group whose windows `follow_schedule` sets; ``spiking_stage`` is one in the
#: windows in which the population spikes.
WINDOW_MODEL = """
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


def follow_schedule(net: SpikingNetwork, name: str) -> None:
    """Set the windows of a population's group, which has `WINDOW_MODEL` among its equations."""
    group = net[name]
    net.origin.link(group)
    group.window_steps = net.model.steps
    group.first_window = net.schedule.depths[name]
    group.image_interval = net.schedule.interval
    group.image_count = net.rounds
