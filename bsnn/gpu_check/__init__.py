"""Whether CUDA on a machine computes what C++ computes there.

Small networks in which no sum is rounded cover all forms of neurons and connections; they must
agree to the last spike. Trained networks show that it holds at their size, how fast they are, and
how much memory they take.
"""

from bsnn.gpu_check.cases import CASES, Case
from bsnn.gpu_check.check_gpu import check_gpu, equipment
from bsnn.gpu_check.checks import CHECKS, TrainedNetwork
from bsnn.gpu_check.report import Line, Report

__all__ = ["CASES", "CHECKS", "Case", "Line", "Report", "TrainedNetwork", "check_gpu", "equipment"]
