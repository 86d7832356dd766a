"""Golden files: what every method, tuning mode, ensemble and combination of label words answers, number for number.

A golden file in `tests/golden` holds the predictions, metrics and sample of one run: a tiny model with dropout, eight
test texts, three training steps. Labels must be equal and numbers within 1e-4, under the versions of `constraints.txt`
(elsewhere the comparison is skipped: other versions may draw and round otherwise).

A change that means to move them rewrites them, and says in its commit message which moved and why:

    PET_REWRITE_GOLDEN=1 python -m pytest tests/test_golden.py
"""

from __future__ import annotations

import os
from pathlib import Path

import goldens
import pytest
from goldens import HERE, World, differences, found

NEAR = 1e-4

_PET = ("ensemble.patterns=[p0,p2]", "ensemble.seeds=1", "ensemble.student_steps=3", "ensemble.alpha=0.1")
_IPET = (*_PET, "data.shots=2", "ensemble.generations=2", "ensemble.growth=1.5")
_TWO = ("ensemble=patterns", "ensemble.patterns=[p0,p1]")

OF_EACH_TASK: dict[str, tuple[str, ...]] = {
    "full": (),
    "zero_shot": ("tuning=zero_shot", "pattern=p1"),
    "head": ("tuning=head", "pattern=p2"),
    "classifier": ("tuning=classifier",),
    "soft_prompt": ("tuning=soft_prompt",),
    "word_embedding": ("tuning=word_embedding", "pattern=p1"),
    "p_tuning": ("tuning=p_tuning",),
    "prefix": ("tuning=prefix",),
    "lora": ("tuning=lora", "pattern=p2"),
    "bitfit": ("tuning=bitfit",),
    "mean": ("verbalizer=v2",),
    "max": ("verbalizer=v2", "scoring.combine=max"),
    "sum": ("verbalizer=v2", "scoring.combine=sum"),
    "vote": ("verbalizer=v2", "scoring.combine=vote"),
    "weighted": ("verbalizer=v2", "scoring.combine=weighted"),
    "learned": ("verbalizer=v2", "scoring.combine=learned"),
    "soft": ("scoring=soft",),
    "tfidf": ("method=tfidf",),
    "nsp": ("method=nsp", "method.second=labels"),
    "patterns": ("ensemble=patterns",),
    "patterns_shared": ("ensemble=patterns_shared",),
    "words": ("ensemble=words", "ensemble.patterns=[p0,p1]"),
    "pvps": ("ensemble=pvps",),
    "pet": ("ensemble=pet", *_PET),
    "ipet": ("ensemble=ipet", *_IPET),
}
OF_ONE: dict[str, tuple[str, ...]] = {
    "soft_prompt_5": ("tuning=soft_prompt_5", "tuning.init=labels"),
    "soft_prompt_100": ("tuning=soft_prompt_100", "tuning.init=vocab"),
    "soft_prompt_conditioned": ("tuning=soft_prompt", "tuning.conditioned=true", "tuning.length=4"),
    "soft_prompt_in_the_template": ("tuning=soft_prompt", 'template={soft*2} {text} {soft:"It was"} {mask}.'),
    "word_embedding_and_model": ("tuning=word_embedding", "tuning.freeze_model=false"),
    "p_tuning_mlp": ("tuning=p_tuning", "tuning.encoder=mlp", "tuning.length=4"),
    "prefix_projection": ("tuning=prefix", "tuning.projection=true", "tuning.length=4"),
    "lora_linear": ("tuning=lora", "tuning.targets=linear"),
    "head_decoder": ("tuning=head", "tuning.decoder=true"),
    "classifier_pooling": ("tuning=classifier", "tuning.pooling=mean"),
    "zero_shot_learned": ("tuning=zero_shot", "verbalizer=v2", "scoring.combine=learned"),
    "soft_frozen": ("scoring=soft", "tuning=zero_shot", "verbalizer=v2"),
    "soft_random": ("scoring=soft", "tuning=head", "scoring.init=random"),
    "soft_warp": ("scoring=soft", "tuning=soft_prompt"),
    "soft_patterns": (*_TWO, "scoring=soft", "ensemble.seeds=2", "ensemble.average=weights"),
    "soft_shared": ("ensemble=patterns_shared", "ensemble.patterns=[p0,p1]", "scoring=soft"),
    "soft_pet": ("ensemble=pet", *_PET, "scoring=soft", "ensemble.student=[p1,v1]"),
    "head_all_words": ("tuning=head", "verbalizer=all", "scoring.combine=weighted"),
    "pet_small": ("ensemble=pet_small", "ensemble.student_steps=3", "ensemble.patterns=[p0,p1]"),
    "ipet_small": ("ensemble=ipet_small", "ensemble.student_steps=3", "ensemble.patterns=[p0,p1]", "data.shots=2"),
    "patterns_logits": (*_TWO, "ensemble.combine=logits", "ensemble.weights=accuracy"),
    "patterns_vote": (*_TWO, "ensemble.combine=vote", "ensemble.weights=confidence"),
    "patterns_dev": (*_TWO, "ensemble.weights=dev", "data.dev_shots=2", "tuning=head"),
    "patterns_listed": (*_TWO, "ensemble.weights=[1,3]", "tuning=lora"),
    "patterns_seeds": (*_TWO, "ensemble.seeds=2"),
    "patterns_averaged": (*_TWO, "ensemble.seeds=2", "ensemble.average=weights"),
    "sentence_lr": ("method=sentence_lr",),
    "setfit": ("method=setfit",),
    "lexicon": ("method=lexicon", f"method.words={HERE / 'tastes.tsv'}"),
    "cnn": ("method=cnn",),
    "bilstm": ("method=bilstm", "method.vectors=model"),
    "nsp_prior": ("method=nsp", "method.prior={tasty: 0.25}"),
    "mlm": ("trainer.mlm_alpha=0.5",),
    "mlm_window": ("trainer.mlm_alpha=0.5", "trainer.mlm_window=5"),
    "pet_from_nothing": ("ensemble=pet", *_PET, "data.shots=0", "ensemble.student=[p1,v1]"),
}
OF_OTHER_MODELS: dict[str, tuple[str, ...]] = {
    "full": (),
    "long_words": ("tuning=zero_shot", "verbalizer={tasty: superb, bland: [tasteless, without spice]}"),
    "prefix": ("tuning=prefix", "tuning.length=4"),
    "classifier": ("tuning=classifier",),
}
OF_OTHER_TARGETS: dict[str, tuple[str, ...]] = {
    "full": (),
    "classifier": ("tuning=classifier",),
    "patterns": ("ensemble=patterns", "ensemble.weights=score"),
}
"""A number between two words, and several labels or none."""
OF_CHOICE: dict[str, tuple[str, ...]] = {
    "zero_shot": ("tuning=zero_shot", "pattern=p1"),
    "full": (),
    "soft_prompt": ("tuning=soft_prompt",),
    "patterns": ("ensemble=patterns", "ensemble.weights=score"),
}
"""One of the example's own candidates."""
CASES = {
    **{f"{task}-{name}": (task, "bert", own) for name, own in OF_EACH_TASK.items() for task in ("meals", "pairs")},
    **{f"meals-{name}": ("meals", "bert", own) for name, own in OF_ONE.items()},
    **{
        f"{model}-{name}": ("meals", model, own)
        for model in ("gpt2", "t5", "bart")
        for name, own in OF_OTHER_MODELS.items()
    },
    **{
        f"{task}-{name}": (task, "bert", own)
        for task in ("degrees", "dishes")
        for name, own in OF_OTHER_TARGETS.items()
    },
    **{f"causes-{name}": ("causes", "bert", own) for name, own in OF_CHOICE.items()},
}


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CASES)
def test_a_run_answers_as_its_golden_file_says(name: str, world: World, tmp_path: Path) -> None:
    unlike = goldens.unlike_constraints()
    if unlike:
        pytest.skip(unlike)
    task, model, overrides = CASES[name]
    here = found(world.train(tmp_path / "run", *overrides, task=task, model=model))
    path = HERE / f"{name}.json"
    if os.environ.get("PET_REWRITE_GOLDEN"):
        path.write_text(goldens.text(here), encoding="utf-8")
    apart = differences(goldens.read(path), here, NEAR)
    assert not apart, "\n".join(["pet train " + " ".join((f"task={task}", *overrides)), *apart[:12]])


def test_every_golden_file_belongs_to_a_run() -> None:
    assert {path.stem for path in HERE.glob("*.json")} == set(CASES)
