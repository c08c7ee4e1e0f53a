"""The devices on which networks run: runtime mode, and generated C++ and CUDA."""

from bsnn.devices.cuda_standalone import CudaStandalone
from bsnn.devices.device import (
    DEVICES,
    Device,
    Runnable,
    Runner,
    active_device,
    check_device,
    code_target,
    default_step,
    generated_file,
    start,
    use_code_target,
    use_device,
)
from bsnn.devices.runtime import RuntimeMode
from bsnn.devices.standalone import CppStandalone, Standalone

__all__ = [
    "DEVICES",
    "CppStandalone",
    "CudaStandalone",
    "Device",
    "Runnable",
    "Runner",
    "RuntimeMode",
    "Standalone",
    "active_device",
    "check_device",
    "code_target",
    "default_step",
    "generated_file",
    "start",
    "use_code_target",
    "use_device",
]
