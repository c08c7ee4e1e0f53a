"""CUDA for Brian2 scripts and for bsnn's own: one call before the device is set.

>>> import bsnn.devices.cuda
>>> bsnn.devices.cuda.configure()                                       # doctest: +SKIP
>>> brian2.set_device("cuda_standalone", build_on_run=False)    # doctest: +SKIP
"""

from bsnn.devices.cuda.configuration import Configuration, configure, configured
from bsnn.devices.cuda.gpu import Gpu, find_gpu
from bsnn.devices.cuda.names import check_names
from bsnn.devices.cuda.toolkit import Toolkit, find_toolkit

__all__ = [
    "Configuration",
    "Gpu",
    "Toolkit",
    "check_names",
    "configure",
    "configured",
    "find_gpu",
    "find_toolkit",
]
