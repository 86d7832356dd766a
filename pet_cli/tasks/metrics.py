"""What predictions are worth: the metrics by name, and all that a run's metrics file says of its predictions.

A task names its metrics; the first is the score: what chooses checkpoints and weighs members, what summaries, tables
and the report compare. A new metric is one entry of `METRICS`. What every run says (accuracy, F1, the confusion of
labels, Wilson's interval) is counted here, since loading scikit-learn for it took a second of each run; scikit-learn
and scipy compute the rest, and are loaded when a metric is computed, not when its name is checked.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from pet_cli.errors import UserError, not_allowed

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Answers:
    """Predictions beside the truth.

    Attributes:
        kind: of the target: `label`, `labels`, `number` or `choice`.
        gold, predicted: `[examples]`; by kind a label's index, a tuple of label indices, a number, a candidate's index
            (gold may be a tuple of candidates that are all right).
        probabilities: `[examples, labels]`, or `[examples, candidates]` padded with 0.
        labels: names of the labels.
        groups: of each example, what it belongs to (a question id); None where each stands for itself.
        candidates: of each example, where it brings its own.
    """

    kind: str
    gold: Sequence[Any]
    predicted: Sequence[Any]
    probabilities: np.ndarray
    labels: Sequence[str] = ()
    groups: Sequence[Hashable] | None = None
    candidates: Sequence[Sequence[str]] = ()

    def take(self, rows: Sequence[int]) -> Answers:
        """Some of the examples, in the order given, an example as often as it is named."""
        return replace(
            self,
            gold=[self.gold[i] for i in rows],
            predicted=[self.predicted[i] for i in rows],
            probabilities=self.probabilities[list(rows)],
            groups=None if self.groups is None else [self.groups[i] for i in rows],
            candidates=[self.candidates[i] for i in rows] if self.candidates else (),
        )


@dataclass(frozen=True)
class Metric:
    """One metric: higher is better, and everywhere it is one number for many examples.

    Attributes:
        name: as it is written in `task.metrics`; with the label it is about after a colon, where it is about one.
        title: as a table and the report write it.
        kinds: the targets it fits.
        of: its value; one that is about a label takes the label's index beside the answers.
        right: for a metric that is a share, of each unit (an example or a question) whether it is right, `[units]`;
            the metric is their mean, and its interval is Wilson's. None for any other; its interval is a bootstrap's.
        low, high: its range.
        per_label: whether it is about one label, which its name then says.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    of: Callable[..., float]
    right: Callable[[Answers], np.ndarray] | None = None
    low: float = 0.0
    high: float = 1.0
    per_label: bool = False

    @property
    def is_share(self) -> bool:
        return self.right is not None


# --- shares of right answers ---------------------------------------------------------------------------------------


def _share(name: str, title: str, kinds: tuple[str, ...], right: Callable[[Answers], np.ndarray]) -> Metric:
    return Metric(name, title, kinds, lambda answers: float(right(answers).mean()), right)


def is_right(gold: Any, predicted: Any) -> bool:
    """Whether an answer is right; of several right candidates any is."""
    if isinstance(gold, tuple) and not isinstance(predicted, tuple):
        return predicted in gold
    return bool(gold == predicted)


def _examples_right(answers: Answers) -> np.ndarray:
    import numpy as np

    return np.array([is_right(g, p) for g, p in zip(answers.gold, answers.predicted, strict=True)], dtype=float)


def _groups_right(answers: Answers) -> np.ndarray:
    """Of each group whether all its answers are right, in the order of the groups' first examples."""
    import numpy as np

    all_right: dict[Hashable, float] = {}
    groups = answers.groups if answers.groups is not None else range(len(answers.gold))
    for group, right in zip(groups, _examples_right(answers).tolist(), strict=True):
        all_right[group] = min(all_right.get(group, 1.0), right)
    return np.array(list(all_right.values()))


def _text_exact(answers: Answers) -> np.ndarray:
    import numpy as np

    found = [max(float(plain_answer(said) == plain_answer(gold)) for gold in golds) for said, golds in _texts(answers)]
    return np.array(found)


# --- texts of candidates -------------------------------------------------------------------------------------------


def plain_answer(text: str) -> str:
    """An answer as SQuAD and ReCoRD compare it: lower case, no punctuation, no articles, single spaces."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _texts(answers: Answers) -> list[tuple[str, list[str]]]:
    """Of each example the candidate said and the right ones, as texts."""
    return [
        (own[said], [own[index] for index in (gold if isinstance(gold, tuple) else (gold,))])
        for own, said, gold in zip(answers.candidates, answers.predicted, answers.gold, strict=True)
    ]


def _overlap(said: str, gold: str) -> float:
    one, other = plain_answer(said).split(), plain_answer(gold).split()
    both = sum((Counter(one) & Counter(other)).values())
    return 2 * both / (len(one) + len(other)) if both else float(one == other)


def _token_f1(answers: Answers) -> float:
    """The mean over examples of the F1 of words said and right, against the right answer that fits best."""
    best = [max(_overlap(said, gold) for gold in golds) for said, golds in _texts(answers)]
    return float(sum(best) / len(best))


# --- over all examples at once -------------------------------------------------------------------------------------


def _counts(answers: Answers) -> np.ndarray:
    """Of each label how often it was rightly predicted, predicted at all, and there: `[3, labels]`."""
    import numpy as np

    several = answers.kind == "labels"
    gold, predicted = ([set(one) if several else {one} for one in side] for side in (answers.gold, answers.predicted))
    both = [one & other for one, other in zip(gold, predicted, strict=True)]
    size = len(answers.labels)
    return np.array([np.bincount([i for one in side for i in one], minlength=size) for side in (both, predicted, gold)])


def _of_label(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 `[3, ...]` of counts as `_counts` gives them; 0 where there is nothing to divide by."""
    import numpy as np

    right, said, there = counts
    whole = np.stack([said, there, (said + there) / 2])
    return np.divide(right, whole, out=np.zeros(whole.shape), where=whole > 0)


def _macro_f1(answers: Answers) -> float:
    """The mean over labels of F1, those left out that neither occur nor are predicted."""
    counts = _counts(answers)
    known = counts.any(axis=0)
    return float(_of_label(counts)[2, known].mean()) if known.any() else 0.0


def _micro_f1(answers: Answers) -> float:
    """F1 of the answers to every label together."""
    return float(_of_label(_counts(answers).sum(axis=1))[2])


def _f1_of(answers: Answers, label: int) -> float:
    """F1 of one label, the others together being its opposite; 0 where it neither occurs nor is predicted."""
    return float(_of_label(_counts(answers))[2, label])


def _matthews(answers: Answers) -> float:
    """Matthews's; 0 where all is one label, of which scikit-learn would warn."""
    from sklearn.metrics import matthews_corrcoef

    if len({*answers.gold, *answers.predicted}) < 2:
        return 0.0
    return float(matthews_corrcoef(list(answers.gold), list(answers.predicted)))


def _correlation(answers: Answers, kind: str) -> float:
    """Pearson's or Spearman's; 0 where one side is all the same, of which no correlation can be said."""
    from scipy import stats

    gold, predicted = list(map(float, answers.gold)), list(map(float, answers.predicted))
    if len(set(gold)) < 2 or len(set(predicted)) < 2:
        return 0.0
    return float(getattr(stats, kind)(gold, predicted).statistic)


_ALL = (
    _share("accuracy", "accuracy", ("label", "choice"), _examples_right),
    Metric("macro_f1", "macro-F1", ("label", "labels"), _macro_f1),
    Metric("micro_f1", "micro-F1", ("labels",), _micro_f1),
    Metric("f1", "F1", ("label",), _f1_of, per_label=True),
    Metric("f1a", "F1 over all answers", ("label",), _f1_of, per_label=True),
    Metric("matthews", "Matthews correlation", ("label",), _matthews, low=-1.0),
    Metric("pearson", "Pearson correlation", ("number",), partial(_correlation, kind="pearsonr"), low=-1.0),
    Metric("spearman", "Spearman correlation", ("number",), partial(_correlation, kind="spearmanr"), low=-1.0),
    _share("exact_match", "exact match", ("label", "labels"), _groups_right),
    _share("em", "exact match", ("choice",), _text_exact),
    Metric("token_f1", "token F1", ("choice",), _token_f1),
)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""`f1` and `f1a` (MultiRC: Khashabi et al. 2018) are of a label, `f1:LABEL`; `exact_match` is of all answers to one
question where examples belong to questions, and of all labels where an example has several; `em` and `token_f1`
compare texts (SQuAD, ReCoRD: Zhang et al. 2018)."""

ALWAYS: dict[str, tuple[str, ...]] = {
    "label": ("accuracy", "macro_f1"),
    "labels": ("micro_f1", "macro_f1", "exact_match"),
    "number": ("pearson", "spearman"),
    "choice": ("accuracy",),
}
"""What a run says of its predictions whatever the task names, by kind of target; the first is the score by default."""


def named(names: Any, kind: str, labels: Sequence[str], key: str = "task.metrics") -> tuple[Metric, ...]:
    """The metrics that `task.metrics` names: a list, or a single one; none: the first of `ALWAYS`.

    Args:
        kind: of the task's target.
        labels: of the task; a metric of one label names one of them.
        key: the setting that names them, for messages.

    Raises:
        UserError: a metric that nobody knows, that does not fit the target, or whose label is none.
    """
    listed = list(names) if isinstance(names, (list, tuple)) else [] if names is None else [names]
    found = []
    for name in listed or ALWAYS[kind][:1]:
        base, colon, label = str(name).partition(":")
        if base not in METRICS:
            fitting = [one for one, metric in METRICS.items() if kind in metric.kinds]
            raise not_allowed(key, name, fitting)
        metric = METRICS[base]
        if kind not in metric.kinds:
            fitting = [one for one, other in METRICS.items() if kind in other.kinds]
            raise UserError(f"{key}={name}: not for task.target={kind}; what fits it: {', '.join(fitting)}.")
        if not metric.per_label:
            if colon:
                raise UserError(f"{key}={name}: {base} is not of one label; write {base}.")
        elif label not in labels:
            if not colon:
                raise UserError(f"{key}={name}: of which label? Write {base}:{labels[-1]}, for example.")
            raise not_allowed(f"{key}={base}:LABEL", label, labels)
        else:
            of = partial(metric.of, label=list(labels).index(label))
            metric = replace(metric, name=f"{base}:{label}", title=f"{metric.title} of {label}", of=of)
        found.append(metric)
    if len({metric.name for metric in found}) < len(found):
        raise UserError(f"{key}={listed}: a metric stands there twice.")
    return tuple(found)


def title(name: str) -> str:
    """How a table writes a metric, by its name in a metrics file."""
    base, _, label = name.partition(":")
    own = METRICS[base].title if base in METRICS else name
    return f"{own} of {label}" if label else own


# --- all of a run --------------------------------------------------------------------------------------------------


def calibration_error(gold: Sequence[int], probabilities: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (Guo et al. 2017): |accuracy - confidence| over equal bins of confidence."""
    import numpy as np

    confidence = probabilities.max(axis=1)
    best = probabilities.argmax(axis=1).tolist()
    right = np.array([is_right(g, p) for g, p in zip(gold, best, strict=True)])
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = bin_of == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def evaluate(answers: Answers, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What `metrics.json` says of predictions: the score, the task's metrics, and by kind what always is of use.

    `per_label` and `confusion` (`[gold, predicted]`) are there where examples have labels, the calibration error where
    one answer is chosen, `one_label` (or None) where every prediction is the same.
    """
    always = tuple(METRICS[name] for name in ALWAYS[answers.kind])
    values = {metric.name: metric.of(answers) for metric in (*always, *metrics)}
    found: dict[str, Any] = {"metric": metrics[0].name, "score": values[metrics[0].name], **values}
    if answers.kind in ("label", "choice"):
        found["calibration_error"] = calibration_error(answers.gold, answers.probabilities)
    if answers.kind in ("label", "labels"):
        found["per_label"] = _per_label(answers)
    if answers.kind == "label":
        import numpy as np

        table = np.zeros((len(answers.labels), len(answers.labels)), dtype=int)
        np.add.at(table, (list(answers.gold), list(answers.predicted)), 1)
        found["confusion"] = table.tolist()
    found["one_label"] = _one_answer(answers)
    return found


def _per_label(answers: Answers) -> dict[str, dict[str, Any]]:
    counts = _counts(answers)
    precision, recall, f1 = _of_label(counts)
    return {
        label: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "n": int(counts[2, i]),
            "predicted": int(counts[1, i]),
        }
        for i, label in enumerate(answers.labels)
    }


def _one_answer(answers: Answers) -> str | None:
    """What every prediction is, where all are the same."""
    if len(set(answers.predicted)) != 1:
        return None
    only = answers.predicted[0]
    if answers.kind == "number":
        return f"{only:g}"
    if answers.kind == "choice":
        return f"candidate {only + 1}"
    names = [answers.labels[index] for index in (only if isinstance(only, tuple) else (only,))]
    return ", ".join(names) or "no label"


def values(found: Mapping[str, Any]) -> dict[str, float]:
    """The metrics among what a metrics file says, by name, in its order."""
    return {name: float(value) for name, value in found.items() if is_metric(name)}


def in_short(found: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a metrics file alone, without what it says of each label."""
    error = {name: found[name] for name in ("calibration_error",) if name in found}
    return {"score": found["score"], **values(found), **error}


def is_metric(name: str) -> bool:
    """Whether a key of a metrics file or a column of a table is a metric."""
    return name.partition(":")[0] in METRICS


def titled(found: Mapping[str, Any]) -> dict[str, str]:
    """The names of a metrics file's metrics with their titles, the score first."""
    first, _ = score(found)
    return {name: title(name) for name in dict.fromkeys((first, *values(found)))}


def score(found: Mapping[str, Any]) -> tuple[str, float]:
    """The name and value of the score in a metrics file; in one written before there were others it is accuracy."""
    name = str(found.get("metric", "accuracy"))
    return name, float(found["score"] if "score" in found else found[name])


def contributions(answers: Answers, metric: Metric) -> tuple[list[Hashable], np.ndarray]:
    """A metric as a mean: what each unit (an example by its place, or a group) contributes, `[units]`.

    Of a share, whether the unit is right. Of any other metric m the jackknife's pseudo-values about m,
    m + (n - 1) (mean of all m without a unit - m without this unit), whose mean is m and whose spread over n is m's
    variance (Efron & Tibshirani 1993, chapter 11). So a paired bootstrap of means serves every metric.
    """
    import numpy as np

    units: dict[Hashable, list[int]] = {}
    for place, group in enumerate(answers.groups if answers.groups is not None else range(len(answers.gold))):
        units.setdefault(group, []).append(place)
    if metric.right is not None:
        right = metric.right(answers)
        if len(right) == len(units):
            return list(units), right
        return list(range(len(right))), right
    every = range(len(answers.gold))
    known: dict[Any, float] = {}
    without = []
    for places in units.values():
        # Two examples with the same gold label and the same prediction are alike to a metric of labels.
        alike = tuple((answers.gold[i], answers.predicted[i]) for i in places)
        if alike not in known or answers.kind == "choice":
            out = set(places)
            kept = [place for place in every if place not in out]
            known[alike] = metric.of(answers.take(kept)) if kept else 0.0
        without.append(known[alike])
    jackknife = np.array(without)
    return list(units), metric.of(answers) + (len(units) - 1) * (jackknife.mean() - jackknife)


# --- how sure one can be -------------------------------------------------------------------------------------------


def interval(
    answers: Answers, metric: Metric, level: float = 0.95, draws: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Where a metric would lie on other test examples: Wilson's interval for a share (Wilson 1927), else the
    percentiles of a bootstrap over examples, or over groups where there are any."""
    import numpy as np

    if metric.right is not None:
        right = metric.right(answers)
        n, share, z = len(right), float(right.mean()), NormalDist().inv_cdf((1 + level) / 2)
        middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        return max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))
    units: dict[Hashable, list[int]] = {}
    for row, group in enumerate(answers.groups if answers.groups is not None else range(len(answers.gold))):
        units.setdefault(group, []).append(row)
    rows = list(units.values())
    rng = np.random.default_rng(seed)
    drawn = [
        metric.of(answers.take([row for unit in rng.integers(len(rows), size=len(rows)) for row in rows[unit]]))
        for _ in range(draws)
    ]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
