"""CUDA standalone by Brian2CUDA, on a GPU of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bsnn.devices.cuda.configuration import configured
from bsnn.devices.cuda.memory import check_gpu_memory
from bsnn.devices.cuda.names import check_names
from bsnn.devices.device import DEVICES, Runnable, default_step
from bsnn.devices.standalone import Standalone
from bsnn.errors import BuildError

__all__ = ["CudaStandalone"]


class CudaStandalone(Standalone):
    """Brian2CUDA, with `bsnn.devices.cuda.configure`'s preferences while it is active."""

    name = "cuda"
    language = "CUDA"
    brian_name = "cuda_standalone"
    parallel = True
    # copied from the GPU at once
    record_bytes = 1_000_000_000

    @contextmanager
    def active(self, directory: Path | None) -> Iterator[Path]:
        with configured() as found:
            if found.gpu is None:
                raise BuildError(
                    f"There is no GPU to simulate on: {found.no_gpu}. To compile for one "
                    "elsewhere, use bsnn export."
                )
            with self.activated(directory) as folder, default_step():
                yield folder

    @contextmanager
    def generating(self) -> Iterator[Path]:
        # which GPU the code is for is said when it is compiled
        with configured(generate_only=True, compute_capability=9.0), self.activated(None) as folder:
            yield folder

    def check(self, net: Runnable) -> None:
        check_names(net.network)

    def prepare(self, net: Runnable) -> None:
        check_gpu_memory(net.stored_connections)


DEVICES.add(CudaStandalone.name, CudaStandalone())
