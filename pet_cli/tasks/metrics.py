"""What predictions are worth: the metrics by name, and how they stand in a run's metrics file.

A task names its metrics; the first is the score: what chooses checkpoints and weighs members, what summaries, tables
and the report compare. A new metric is one entry of `METRICS`. What every run says (accuracy, F1, the confusion of
labels, Wilson's interval) is counted here, since loading scikit-learn for it took a second of each run; scikit-learn
and scipy compute the rest, and are loaded when a metric is computed, not when its name is checked.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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


def counts_of(answers: Answers) -> np.ndarray:
    """Of each label how often it was rightly predicted, predicted at all, and there: `[3, labels]`."""
    import numpy as np

    several = answers.kind == "labels"
    gold, predicted = ([set(one) if several else {one} for one in side] for side in (answers.gold, answers.predicted))
    both = [one & other for one, other in zip(gold, predicted, strict=True)]
    size = len(answers.labels)
    return np.array([np.bincount([i for one in side for i in one], minlength=size) for side in (both, predicted, gold)])


def of_label(counts: np.ndarray) -> np.ndarray:
    """Precision, recall and F1 `[3, ...]` of what `counts_of` gives; 0 where there is nothing to divide by."""
    import numpy as np

    right, said, there = counts
    whole = np.stack([said, there, (said + there) / 2])
    return np.divide(right, whole, out=np.zeros(whole.shape), where=whole > 0)


def _macro_f1(answers: Answers) -> float:
    """The mean over labels of F1, those left out that neither occur nor are predicted."""
    counts = counts_of(answers)
    known = counts.any(axis=0)
    return float(of_label(counts)[2, known].mean()) if known.any() else 0.0


def _micro_f1(answers: Answers) -> float:
    """F1 of the answers to every label together."""
    return float(of_label(counts_of(answers).sum(axis=1))[2])


def _f1_of(answers: Answers, label: int) -> float:
    """F1 of one label, the others together being its opposite; 0 where it neither occurs nor is predicted."""
    return float(of_label(counts_of(answers))[2, label])


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


# --- in a metrics file ---------------------------------------------------------------------------------------------


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
