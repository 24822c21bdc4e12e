"""How surprising a number of rows is: tails of the beta-binomial distribution, compiled.

Skellam, 1948, https://doi.org/10.1111/j.2517-6161.1948.tb00014.x.
"""

import math

import numpy as np
import numpy.typing as npt

from driftmeter.model.compiled import frozen, inlined, jit

Floats = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-17


def tails(hits: Floats, rows: Floats, mean: Floats, precision: Floats) -> tuple[Floats, Floats]:
    """Probability of at least, and of at most, so many hits among the rows.

    The ratio is drawn from a beta distribution with this mean and precision (alpha + beta), then each row by itself.

    Args:
        hits: float64, any shape: whole numbers, 0 <= hits <= rows.
        rows: The same shape.
        mean: The same shape, in (0, 1).
        precision: The same shape, > 0.

    Returns:
        Upper and lower tail, each float64 of that shape; nan where any argument is, and without rows.

    Cost: one term for each number of hits between the given one and the end of the tail, two gamma functions each way.
    """
    flat = [frozen(np.ascontiguousarray(each, np.float64).ravel()) for each in (hits, rows, mean, precision)]
    upper, lower = _tails(*flat)
    return upper.reshape(hits.shape), lower.reshape(hits.shape)


@jit(error_model="numpy")
def _tails(hits: Floats, rows: Floats, mean: Floats, precision: Floats) -> tuple[Floats, Floats]:
    upper, lower = np.full(len(hits), math.nan), np.full(len(hits), math.nan)
    for i in range(len(hits)):
        x, n, alpha, beta = hits[i], rows[i], mean[i] * precision[i], (1 - mean[i]) * precision[i]
        if not (n > 0 and alpha > 0 and beta > 0 and 0 <= x <= n):
            continue
        if x == 0:  # By far the commonest.
            upper[i], lower[i] = 1.0, _mass(0.0, n, alpha, beta)
            continue
        own = _mass(x, n, alpha, beta)
        if x >= mean[i] * n:
            upper[i] = min(1.0, own + _beyond(x, n, alpha, beta, own))
            lower[i] = min(1.0, 1 - upper[i] + own)
        else:  # The same from the other side: misses in the place of hits.
            lower[i] = min(1.0, own + _beyond(n - x, n, beta, alpha, own))
            upper[i] = min(1.0, 1 - lower[i] + own)
    return upper, lower


@inlined
def _mass(x: float, n: float, alpha: float, beta: float) -> float:
    """Probability of exactly x of n."""
    ways = math.lgamma(n + 1) - math.lgamma(x + 1) - math.lgamma(n - x + 1)
    there = math.lgamma(x + alpha) + math.lgamma(n - x + beta) - math.lgamma(n + alpha + beta)
    return math.exp(ways + there - math.lgamma(alpha) - math.lgamma(beta) + math.lgamma(alpha + beta))


@inlined
def _beyond(x: float, n: float, alpha: float, beta: float, own: float) -> float:
    """Probability of more than x of n, given that of x itself: term by term until they are nothing."""
    total, term = 0.0, own
    while x < n:
        term *= (n - x) * (alpha + x) / ((x + 1) * (beta + n - x - 1))
        total += term
        x += 1
        if term <= _NEGLIGIBLE * total and x > n * alpha / (alpha + beta):
            break
    return total
