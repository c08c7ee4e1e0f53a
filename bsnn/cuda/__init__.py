"""CUDA for Brian2 scripts and for bsnn's own: one call before the device is set.

>>> import bsnn.cuda
>>> bsnn.cuda.configure()                                       # doctest: +SKIP
>>> brian2.set_device("cuda_standalone", build_on_run=False)    # doctest: +SKIP
"""

from bsnn.cuda.configuration import Configuration, configure, configured
from bsnn.cuda.gpu import Gpu, find_gpu
from bsnn.cuda.names import check_names
from bsnn.cuda.toolkit import Toolkit, find_toolkit

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
