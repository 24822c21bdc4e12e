"""Random numbers in compiled code, the same on every machine: splitmix64.

Steele et al., Fast splittable pseudorandom number generators, 2014, https://doi.org/10.1145/2660193.2660195
"""

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import inlined, jit

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@jit
def start(seed: int) -> npt.NDArray[np.uint64]:
    """uint64 (1,): the state of a generator."""
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    return state


@inlined
def next_word(state: npt.NDArray[np.uint64]) -> np.uint64:
    """64 random bits."""
    state[0] += np.uint64(_STEP)
    word = state[0]
    word = (word ^ (word >> np.uint64(30))) * np.uint64(_FIRST)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(_SECOND)
    return np.uint64(word ^ (word >> np.uint64(31)))


@inlined
def next_unit(state: npt.NDArray[np.uint64]) -> float:
    """A number in [0, 1)."""
    return float(np.int64(next_word(state) >> np.uint64(11))) * 2.0**-53


@inlined
def next_below(state: npt.NDArray[np.uint64], limit: int) -> int:
    """An integer in [0, limit); limits are small, so that multiplying favours none by more than 2⁻³⁰."""
    return int(next_unit(state) * limit)
