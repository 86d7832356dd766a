"""The notebook's way in: fit, predict, predict_proba. The same configs and the same code as `pet train` underneath."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from pet_cli import methods
from pet_cli.base.files import read_json, write_json
from pet_cli.base.progress import Progress
from pet_cli.base.values import is_missing, spelled
from pet_cli.config import files as conf_files
from pet_cli.config import resolve
from pet_cli.config.build import build
from pet_cli.config.checks import check
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.data.fields import FieldReader, has_text
from pet_cli.data.labels import LabelReader
from pet_cli.data.sampling import k_shot
from pet_cli.errors import UserError, not_allowed
from pet_cli.prompts.template import parse_plain
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config

Text = str | Mapping[str, Any]
_CLASSES = "classes.json"
_GROUPS = ("scoring",)
"""The groups of configs whose option is chosen among the settings."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A text classifier by prompt, or by any other method of `pet train`; an estimator of scikit-learn's.

        clf = PromptClassifier(template="{text} It was {mask}.", verbalizer={"neg": "terrible", "pos": "great"})
        clf.fit(texts, labels).predict(new)

    Texts are strings, or mappings of the task's fields: a list, an array, a Series, or a DataFrame with the fields as
    columns. Labels are strings, whole numbers or booleans, and come back as they went in.

    Args:
        template: one line in the template language; its fields are the keys of the texts, where those are mappings.
        verbalizer: label -> word, or label -> words; its keys are the labels.
        model: hub id, local folder, or a name of `pet list models`.
        tuning: a tuning mode by name, with its defaults from `conf/tuning`; `zero_shot` needs no `fit`.
        task: a task by name, which brings its fields, labels, template and label words; else one of your own.
        method: `prompt`, or one that needs neither template nor label words, such as `tfidf`.
        ensemble: an ensemble by name; `pet` and `ipet` learn from `fit(texts, labels, unlabeled=...)`.
        settings: any other keys of `pet train`, such as `{"trainer.max_steps": 40, "tuning.rank": 4}`, and options of
            groups, such as `{"scoring": "soft"}`.
        tuning_options: keys of the tuning mode, `tuning.*`.
        trainer: keys of `trainer.*`.
        combine: how several words of a label combine, `scoring.combine`.
        config_dir: a folder of configs of your own, as for `pet train --config-dir`.
        progress: whether bars are shown; None: on a terminal.

    Attributes:
        classes_: the labels `[labels]`, sorted, as scikit-learn's scores want them; the columns of `predict_proba`
            stand in this order.
        config_: the settings in full, once it is fitted or loaded.

    Raises:
        UserError: in `fit`, or the first prediction: whatever `pet train` would refuse, in the same words.
    """

    _method: methods.Method

    def __init__(
        self,
        template: str | None = None,
        verbalizer: Mapping[Any, Any] | None = None,
        model: str = "embedded",
        tuning: str = "full",
        *,
        task: str | None = None,
        method: str = "prompt",
        ensemble: str = "none",
        settings: Mapping[str, Any] | None = None,
        tuning_options: Mapping[str, Any] | None = None,
        trainer: Mapping[str, Any] | None = None,
        combine: str | None = None,
        seed: int = 13,
        device: str = "auto",
        precision: str = "auto",
        config_dir: str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.template = template
        self.verbalizer = verbalizer
        self.model = model
        self.tuning = tuning
        self.task = task
        self.method = method
        self.ensemble = ensemble
        self.settings = settings
        self.tuning_options = tuning_options
        self.trainer = trainer
        self.combine = combine
        self.seed = seed
        self.device = device
        self.precision = precision
        self.config_dir = config_dir
        self.progress = progress

    # --- fitting and asking ------------------------------------------------------------------------------------------

    def fit(self, texts: Any, labels: Any, *, unlabeled: Any = None) -> PromptClassifier:
        """Trains on all the examples given; starts from the pretrained weights each time.

        With `settings={"data.dev_shots": N}` so many of each label are held out to choose the checkpoint. Examples
        without text or label are left out, with a warning.
        """
        rows, given = _listed("texts", texts), _listed("labels", labels)
        if len(rows) != len(given):
            raise UserError(f"fit: {len(rows)} texts but {len(given)} labels.")
        if not rows:
            raise UserError("fit: no examples.")
        config = self._configured(rows, given)
        fields = _fields(config, rows, "texts")
        seen = {spelled(label): f"labels, number {number}" for number, label in enumerate(given)}
        names = resolve.labels(config)
        reader = LabelReader(config.task, config.data, names, {k: v for k, v in seen.items() if not is_missing(k)})
        examples = []
        classes: dict[int, Any] = dict(enumerate(self._named(names)))
        for number, (row, label) in enumerate(zip(fields, given, strict=True)):
            index = reader.index(label)
            if index is None or not has_text(row):
                continue
            classes[index] = label.item() if isinstance(label, np.generic) else label
            examples.append(Example(number, row, index))
        if len(examples) < len(given):
            left = f"{len(given) - len(examples)} of {len(given)} examples"
            warnings.warn(f"fit: {left} have no text or no label and are left out", stacklevel=2)
        if not examples:
            raise UserError("fit: no example has a text and a label.")
        splits = {"train": Split("train", tuple(examples)), "dev": Split("dev", ())}
        data = config.data
        if data.dev_shots or data.shots is not None:
            drawn = k_shot(
                examples, resolve.target(config), data.shots, data.seed, data.dev_shots, data.fewer == "take"
            )
            splits = {name: Split(name, tuple(own)) for name, own in zip(("train", "dev"), drawn, strict=True)}
        if unlabeled is not None:
            more = [row for row in _fields(config, _listed("unlabeled", unlabeled), "unlabeled") if has_text(row)]
            splits["unlabeled"] = Split("unlabeled", tuple(Example(i, row, None) for i, row in enumerate(more)))
        self._fitted(config, splits, [classes[index] for index in range(len(names))], getattr(labels, "dtype", None))
        return self

    def predict_proba(self, texts: Any) -> np.ndarray:
        """Probabilities `[texts, labels]`, columns in the order of `classes_`. An empty text has an answer too."""
        rows = _listed("texts", texts)
        if not self.__sklearn_is_fitted__():
            config = self._configured(rows, None)
            if resolve.learns(config) and not config.method.from_nothing:
                raise UserError("predict before fit: call fit(texts, labels), or use tuning='zero_shot'.")
            self._fitted(config, {}, self._named(resolve.labels(config)), None)
        fields = _fields(self.config_, rows, "texts")
        found = [np.zeros((0, len(self.classes_)))]
        for start in range(0, len(fields), methods.CHUNK):
            part = Split.passing(fields[start : start + methods.CHUNK])
            found.append(store.softmax(self._method.predict(part)))
        return np.concatenate(found)[:, self._order]

    def predict(self, texts: Any) -> Any:
        """The most probable label of each text: a list, or an array where `fit` was given the labels as one."""
        best = self.predict_proba(texts).argmax(axis=1)
        if self._array:
            return self.classes_[best]
        return [self._labels[self._order[index]] for index in best]

    def score(self, texts: Any, labels: Any, sample_weight: Any = None) -> float:
        """The share of texts whose label is right, by weight where weights are given."""
        rows, gold = _listed("texts", texts), [spelled(label) for label in _listed("labels", labels)]
        if len(rows) != len(gold):
            raise UserError(f"score: {len(rows)} texts but {len(gold)} labels.")
        right = [spelled(got) == label for got, label in zip(self.predict(rows), gold, strict=True)]
        return float(np.average(right, weights=sample_weight))

    # --- folders -----------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> None:
        """Writes a folder that `pet predict` and `PromptClassifier.load` read."""
        if not self.__sklearn_is_fitted__():
            raise UserError("save before fit: there is nothing to save.")
        place = Path(folder).expanduser()
        if place.is_file():
            raise UserError(f"save: {folder} is a file; a folder is needed.")
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".", suffix=".pet-partial") as new:
            self._method.save(Path(new), whole=True)
            store.write_config(Path(new), self.config_)
            classes = {"labels": self._labels, "dtype": str(self.classes_.dtype) if self._array else None}
            write_json(Path(new) / _CLASSES, classes)
            _replace(Path(new), place)

    @classmethod
    def load(cls, folder: str | Path) -> PromptClassifier:
        """The classifier of a folder written by `save` or by `pet train`, whatever it trained.

        Fitted again it starts from the pretrained weights, as the run did.
        """
        place = Path(folder).expanduser()
        config = _classifying(saved_config(place))
        own = cls(
            model=config.model.name,
            tuning=config.tuning.name,
            method=config.method.name,
            ensemble=config.ensemble.name,
            settings=_settings_of(config),
            seed=config.seed,
            device=config.device,
            precision=config.precision,
        )
        own._method = methods.load(place, methods.Context(progress=Progress(enabled=False)))
        labels, dtype = list(own._method.labels), None
        if (place / _CLASSES).is_file():
            told = read_json(place / _CLASSES)
            try:
                labels, dtype = list(told["labels"]), told["dtype"]
            except (TypeError, KeyError):
                raise UserError(f"{place / _CLASSES} is damaged.") from None
        own._remember(config, labels, dtype)
        return own

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_method")

    # --- what is underneath ------------------------------------------------------------------------------------------

    def _fitted(self, config: PetConfig, splits: Mapping[str, Split], labels: list[Any], dtype: Any) -> None:
        """Builds and fits the method anew, in a folder that lasts as long as this classifier or its next fit."""
        if hasattr(self, "_method"):
            del self._method
        self._folder = tempfile.TemporaryDirectory(prefix="pet-")
        progress = Progress(enabled=bool(self.progress) if self.progress is not None else None)
        method = methods.build(config, methods.Context(progress=progress, folder=Path(self._folder.name)))
        method.fit(splits)
        self._method = method
        self._remember(config, labels, dtype)

    def _remember(self, config: PetConfig, labels: list[Any], dtype: Any) -> None:
        """Takes over what was fitted: `labels` in the method's own order, and the type of the array they came in."""
        self.config_ = config
        self._labels = labels
        self._array = dtype is not None
        try:
            self._order = sorted(range(len(labels)), key=labels.__getitem__)
        except TypeError:  # labels of several types
            self._order = sorted(range(len(labels)), key=lambda index: str(labels[index]))
        ordered = [labels[index] for index in self._order]
        try:
            self.classes_ = np.array(ordered, dtype=dtype)
        except (TypeError, ValueError):
            self.classes_ = np.array(ordered)

    def _named(self, names: Sequence[str]) -> list[Any]:
        """The labels of `names`, in that order, as the verbalizer has them, else by their names."""
        own = {spelled(label): label for label in self.verbalizer} if isinstance(self.verbalizer, Mapping) else {}
        return [own.get(name, name) for name in names]

    def _configured(self, rows: Sequence[Any], labels: Sequence[Any] | None) -> PetConfig:
        """The checked settings. What names neither fields nor labels takes them from the examples."""
        options = {"task": self.task if self.task is not None else "custom"}
        for group in ("method", "tuning", "ensemble"):
            options[group] = getattr(self, group)
        more = dict(_mapping("settings", self.settings))
        options |= {key: more.pop(key) for key in _GROUPS if key in more}
        for group, name in options.items():
            if name not in (known := conf_files.options(group, self.config_dir)):
                raise not_allowed(group, name, known)
        values: dict[str, Any] = {}
        if not isinstance(self.model, (str, Path)):
            raise UserError(f"model={self.model!r}: a hub id, a folder, or a name of pet list models is needed.")
        options["model"] = str(self.model)
        if options["model"] not in conf_files.options("model", self.config_dir):
            options["model"], values["model.name"] = "custom", str(self.model)
        if self.task is None:
            values |= self._own_task(rows, labels)
        if self.template is not None:
            values["template"] = self.template
        if self.verbalizer is not None:
            values["verbalizer"] = {_name(label): words for label, words in _mapping("verbalizer", self.verbalizer)}
            if len(values["verbalizer"]) < len(self.verbalizer):
                raise UserError("verbalizer: two labels are written alike.")
        if self.combine is not None:
            values["scoring.combine"] = self.combine
        values |= {"seed": self.seed, "device": self.device, "precision": self.precision, "data.shots": None}
        values |= {f"tuning.{key}": value for key, value in _mapping("tuning_options", self.tuning_options)}
        values |= {f"trainer.{key}": value for key, value in _mapping("trainer", self.trainer)}
        values |= more
        config = build(options, {key: _plain(value) for key, value in values.items()}, self.config_dir)
        if config.ensemble.several and "save_model" not in more:
            config.save_model = "always"  # its members must be there when it is asked
        check(config)
        return _classifying(config)

    def _own_task(self, rows: Sequence[Any], labels: Sequence[Any] | None) -> dict[str, Any]:
        """The fields and, where no label words name them, the labels of a task that only the examples describe."""
        if isinstance(self.template, str):
            fields = list(parse_plain(self.template).fields)
        elif self.template is not None:
            raise UserError(f"template={self.template!r}: a line of text is needed.")
        else:
            fields = list(rows[0]) if rows and isinstance(rows[0], Mapping) else ["text"]
        found: dict[str, Any] = {"task.fields": {str(name): str(name) for name in fields}}
        if self.verbalizer is None and labels is not None:
            known = {_name(label): label for label in labels if not is_missing(label)}
            try:
                found["task.labels"] = sorted(known, key=known.__getitem__)
            except TypeError:
                found["task.labels"] = sorted(known)
        return found


def _listed(what: str, given: Any) -> list[Any]:
    """A list of what a notebook gives as one: a list, an array, a Series, a DataFrame's rows as mappings."""
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise UserError(f"{what}: a list is needed, not {type(given).__name__}.")
    if hasattr(given, "columns") and hasattr(given, "to_dict"):
        return list(given.to_dict("records"))
    if isinstance(given, np.ndarray) and given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if isinstance(given, np.ndarray) and given.ndim != 1:
        raise UserError(f"{what}: an array of {given.ndim} dimensions; one is needed.")
    return list(given)


def _fields(config: PetConfig, rows: Sequence[Any], what: str) -> list[dict[str, str]]:
    reader = FieldReader(config.task, config.data)
    return [reader.read_text(row, f"{what}, number {number}") for number, row in enumerate(rows)]


def _classifying(config: PetConfig) -> PetConfig:
    """The settings, where they ask for one label of each text."""
    if config.task.target != "label":
        raise UserError(f"task={config.task.name} has no single label for each text; use pet train and pet predict.")
    return config


def _name(label: Any) -> str:
    return label if isinstance(label, str) else spelled(label)


def _mapping(key: str, given: Any) -> Iterable[tuple[Any, Any]]:
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        raise UserError(f"{key}={given!r}: a mapping of keys and values is needed.")
    return given.items()


def _plain(value: Any) -> Any:
    """A value as YAML would hold it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def _settings_of(config: PetConfig) -> dict[str, Any]:
    """All settings by dotted key, but the names of the groups' options."""
    found: dict[str, Any] = {}
    for key, value in vars(config).items():
        if not is_dataclass(value):
            found[key] = value
            continue
        for name, own in asdict(value).items():  # type: ignore[arg-type]
            if name != "name" or key in ("task", "model"):
                found[f"{key}.{name}"] = own
            elif key in _GROUPS:
                found[key] = own
    return {key: value for key, value in found.items() if key not in ("seed", "device", "precision", "resume")}


def _replace(new: Path, place: Path) -> None:
    """Moves what lies in `new` to `place`, in place of what a classifier saved there before."""
    place.mkdir(exist_ok=True)
    if (place / "config.yaml").is_file():
        store.clear(place, "members", "state.json", _CLASSES)
    for path in new.iterdir():
        path.replace(place / path.name)
