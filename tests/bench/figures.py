# SPDX-License-Identifier: MIT
"""Medians, and how far they can be trusted."""
import math


def median(values):
    ordered = sorted(values)
    n = len(ordered)
    return ordered[n // 2] if n % 2 else (ordered[n // 2 - 1] + ordered[n // 2]) / 2


def interval(values):
    """Of the median, at 95 percent, from the order of the values alone: the ranks between
    which it lies by the binomial distribution. With fewer than six values: all of them."""
    ordered = sorted(values)
    n = len(ordered)
    low, reached = 0, 0.0
    for k in range(n // 2):
        reached += math.comb(n, k) / 2**n
        if reached > 0.025:
            break
        low = k
    return ordered[low], ordered[n - 1 - low]


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def spread(values):
    """Half the width of the interval, as a part of the median."""
    low, high = interval(values)
    middle = median(values)
    return (high - low) / 2 / middle if middle else 0.0
