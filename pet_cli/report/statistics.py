"""What runs say beyond their means: intervals, where the variance comes from, paired comparisons.

Values are scores of runs, whatever metric they are, higher being better.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


# --- an interval for the mean --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean with its spread.

    Attributes:
        std: standard deviation over the values (n - 1); None for a single one.
        low, high: the ends of the interval for the mean; None for a single value.
    """

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def estimate(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean, standard deviation and t-interval of at least one value."""
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(n, mean, None, None, None)
    from scipy import stats

    std = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * std / math.sqrt(n)
    return Estimate(n, mean, std, mean - half, mean + half)


# --- where the variance comes from ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A factor's part of the variance.

    Attributes:
        share: of the total sum of squares, in [0, 1].
        chance: the share it would have on average if it had no effect at all: levels are fitted to noise too.
    """

    name: str
    levels: int
    share: float
    chance: float


@dataclass(frozen=True)
class Decomposition:
    """The variance of scores over runs, by factor.

    Attributes:
        std: standard deviation of all values (n - 1).
        sources: the factors that vary, in the order given; factors that always move together are one.
        rest: the share left to interactions and noise.
        rest_chance: the rest's share if no factor had an effect.
        fixed: the factors that do not vary.
    """

    n: int
    mean: float
    std: float
    sources: tuple[Source, ...]
    rest: float
    rest_chance: float
    fixed: tuple[str, ...]

    @property
    def saturated(self) -> bool:
        """Whether no run is left over to tell an effect from noise."""
        return self.rest_chance < 1e-9


def decompose(values: Sequence[float], factors: Mapping[str, Sequence[Hashable]]) -> Decomposition | None:
    """Divides the variance of `values` among the main effects of `factors`.

    In a balanced design a factor's share is its sum of squares over the total. Elsewhere a sum of squares depends on
    the order in which factors enter a least-squares fit, so it is the mean over all orders (Lindeman, Merenda & Gold
    1980), which equals the former where that exists.

    Args:
        values: `[runs]`.
        factors: name -> the run's level, `[runs]`.

    Returns:
        None where there are fewer than two values, no factor varies, or the values do not.
    """
    y = np.asarray(values, dtype=float)
    partitions = {name: _partition(levels) for name, levels in factors.items()}
    fixed = tuple(name for name, codes in partitions.items() if len(set(codes)) < 2)
    together: dict[tuple[int, ...], list[str]] = {}
    for name, codes in partitions.items():
        if name not in fixed:
            together.setdefault(codes, []).append(name)
    total = float(((y - y.mean()) ** 2).sum()) if len(y) else 0.0
    if len(y) < 2 or not together or total < 1e-12:
        return None
    dummies = [np.eye(max(codes) + 1)[list(codes)] for codes in together]
    explained, rank = {}, {}
    indices = range(len(dummies))
    for subset in itertools.chain.from_iterable(itertools.combinations(indices, k) for k in range(len(dummies) + 1)):
        design = np.hstack([np.ones((len(y), 1)), *(dummies[i] for i in subset)])
        fit, _, own_rank, _ = np.linalg.lstsq(design, y, rcond=None)
        explained[frozenset(subset)] = float(((design @ fit - y.mean()) ** 2).sum()) / total
        rank[frozenset(subset)] = (int(own_rank) - 1) / (len(y) - 1)
    sources = tuple(
        Source(_together(names), max(codes) + 1, _mean_gain(explained, i), _mean_gain(rank, i))
        for i, (codes, names) in enumerate(together.items())
    )
    everything = frozenset(indices)
    return Decomposition(
        n=len(y),
        mean=float(y.mean()),
        std=float(y.std(ddof=1)),
        sources=sources,
        rest=max(0.0, 1 - explained[everything]),
        rest_chance=1 - rank[everything],
        fixed=fixed,
    )


def _partition(levels: Sequence[Hashable]) -> tuple[int, ...]:
    """Levels as numbers in the order of their appearance: equal for factors that always move together."""
    order: dict[Hashable, int] = {}
    return tuple(order.setdefault(level, len(order)) for level in levels)


def _together(names: Sequence[str]) -> str:
    if set(names) == {"sample", "training seed"}:
        return "seed (sample and training together)"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]} (together)"


def _mean_gain(value: Mapping[frozenset[int], float], index: int) -> float:
    """How much `index` adds to a set function, over all orders in which the members may enter."""
    members = max(value, key=len)
    others = members - {index}
    gain = 0.0
    for size in range(len(others) + 1):
        weight = math.factorial(size) * math.factorial(len(others) - size) / math.factorial(len(members))
        for chosen in itertools.combinations(sorted(others), size):
            before = frozenset(chosen)
            gain += weight * (value[before | {index}] - value[before])
    return max(0.0, gain)


# --- comparisons ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A minus B in score.

    Attributes:
        low, high: the 95 % percentile interval over the draws.
        p: how often a difference of the other sign (or none) comes up, doubled: two-sided.
    """

    difference: float
    low: float
    high: float
    p: float
    seeds: int
    examples: int


def paired_bootstrap(difference: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Resamples test examples and seeds together, both configurations alike.

    Of S seeds, S - 1 are drawn: drawing S would understate the variance of the mean by (S - 1) / S, which matters at
    three seeds. A single seed is kept, and the answer then speaks of these trained models only.

    Args:
        difference: what an example contributes to the score of A minus to that of B, `[seeds, examples]`; NaN where
            a seed did not score an example.
    """
    seeds, examples = difference.shape
    rng = np.random.default_rng(seed)
    # Examples on which all seeds agree in the same way are interchangeable, so drawing how often each kind comes up
    # is the same bootstrap at a cost that does not grow with the test set.
    kinds, counts = np.unique(difference, axis=1, return_counts=True, equal_nan=True)
    there = ~np.isnan(kinds)
    kinds = np.nan_to_num(kinds)

    def by_seed(weights: np.ndarray) -> np.ndarray:
        """Mean difference of each seed under example weights `[draws, kinds]`, as `[draws, seeds]`."""
        seen = weights @ there.T.astype(float)
        return np.asarray((weights @ kinds.T) / np.maximum(seen, 1))

    observed = float(by_seed(counts[None].astype(float)).mean())
    blocks = [min(250, draws - start) for start in range(0, draws, 250)]  # bounds the memory of many kinds
    means = np.vstack([by_seed(rng.multinomial(examples, counts / examples, size=n).astype(float)) for n in blocks])
    if seeds > 1:
        chosen = rng.integers(seeds, size=(draws, seeds - 1))
        means = np.take_along_axis(means, chosen, axis=1)
    sampled = means.mean(axis=1)
    low, high = np.quantile(sampled, [0.025, 0.975])
    tail = min((sampled <= 0).sum(), (sampled >= 0).sum())
    p = min(1.0, 2 * (int(tail) + 1) / (draws + 1))
    return Comparison(observed, float(low), float(high), p, seeds, examples)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = running
    return adjusted
