"""Random numbers for equations that do not depend on target, chunk or process."""

from __future__ import annotations

import brian2 as b2

from bsnn.splitmix import splitmix_uniform

__all__ = ["spike_noise"]

# whole numbers of type double are converted by the call
_CPP = """
{qualifiers} inline uint64_t _spike_noise_mix(uint64_t z)
{{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}}
{qualifiers} inline double _spike_noise(int64_t seed, int64_t stream, int64_t number)
{{
    const uint64_t gamma = 0x9E3779B97F4A7C15ULL;
    const uint64_t start = _spike_noise_mix((uint64_t)seed + gamma);
    const uint64_t state = _spike_noise_mix(start + ((uint64_t)stream + 1) * gamma);
    const uint64_t value = _spike_noise_mix(state + ((uint64_t)number + 1) * gamma);
    return (double)(value >> 11) / 9007199254740992.0;
}}
"""

# Cython converts a whole number to a double by itself, but not the other way round
_CYTHON = """
cdef uint64_t _spike_noise_mix(uint64_t z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)
cdef double _spike_noise(double seed, double stream, double number):
    cdef uint64_t gamma = 0x9E3779B97F4A7C15ULL
    cdef uint64_t start = _spike_noise_mix(<uint64_t>seed + gamma)
    cdef uint64_t state = _spike_noise_mix(start + (<uint64_t>stream + 1) * gamma)
    cdef uint64_t value = _spike_noise_mix(state + (<uint64_t>number + 1) * gamma)
    return <double>(value >> 11) / 9007199254740992.0
"""


def _make() -> b2.Function:
    function = b2.Function(
        splitmix_uniform,
        arg_units=[1, 1, 1],
        arg_names=["seed", "stream", "number"],
        return_unit=1,
        # the same arguments give the same number: Brian2 may compute it once
        stateless=True,
    )
    add = function.implementations.add_implementation
    function.implementations.add_numpy_implementation(splitmix_uniform)
    add("cython", _CYTHON, name="_spike_noise")
    add("cpp", _CPP.format(qualifiers="static"), name="_spike_noise")
    # by the name of the target: Brian2CUDA need not be installed
    add("cuda", _CPP.format(qualifiers="__host__ __device__"), name="_spike_noise")
    return function


#: ``spike_noise(seed, stream, number)`` for equations and statements: a random number in [0, 1),
#: the same on all targets, see `bsnn.splitmix.splitmix_uniform`. The arguments are whole
#: numbers of at least 0 and below 2**53; of type float32 they are exact up to 2**24 only, and a
#: variable of type float32 may round the result to 1.
spike_noise = _make()
