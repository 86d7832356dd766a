"""Values on the command line, as a shell lets them through, and files of one's own: read as meant, or refused in a line
that names the key."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
import pytest

from pet_cli.commands.cli import main
from pet_cli.commands.compose import compose, composed, typed
from pet_cli.commands.overrides import prepare
from pet_cli.commands.sweep import combined
from pet_cli.commands.words import check_words
from pet_cli.config import files
from pet_cli.config.resolve import verbalizer_words
from pet_cli.errors import UserError
from pet_cli.models import loading
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config

CUSTOM = ("task=custom", "data.path=my.csv")
ENTAILS = (*CUSTOM, "data.fields={word: word, a: sentence1, b: sentence2}", "template={word}: {a} {b}? {mask}")
WORDS = "verbalizer={negative: bad, positive: good}"

READ: list[tuple[tuple[str, ...], str, Any]] = [
    (("verbalizer={negative: 'it: bad', positive: \"so, good\"}",), "verbalizer", ["it: bad", "so, good"]),
    ((*CUSTOM, "verbalizer={负面: 坏, 正面: 好}"), "verbalizer", {"负面": "坏", "正面": "好"}),
    (
        (*CUSTOM, "verbalizer={1e3: a, no: b, 1_1: c, null: d}"),
        "verbalizer",
        {"1e3": "a", "no": "b", "1_1": "c", "null": "d"},
    ),
    ((*CUSTOM, "verbalizer={a: {x: 1, y: 0.5}, b: [u, v]}"), "verbalizer", {"a": {"x": 1, "y": 0.5}, "b": ["u", "v"]}),
    (("verbalizer={'negative': bad, positive: $good}",), "verbalizer", ["bad", "$good"]),
    (("verbalizer = {negative: bad, positive: good}",), "verbalizer", ["bad", "good"]),
    (
        ("verbalizer.positive=great", "verbalizer.negative=so bad"),
        "verbalizer",
        {"positive": "great", "negative": "so bad"},
    ),
    (
        ("data.labels={'a: b': negative, $x: positive, k=v: negative}",),
        "data.labels",
        ["negative", "positive", "negative"],
    ),
    (("data.labels={1.0: negative, yes: positive}",), "data.labels", {"1.0": "negative", "yes": "positive"}),
    (("data.labels.中=negative", "data.labels.b=positive"), "data.labels", {"中": "negative", "b": "positive"}),
    (("data.fields={text: a=b}",), "data.fields", {"text": "a=b"}),
    (("data.fields={text: 文本}",), "data.fields", {"text": "文本"}),
    (("data.fields={text: '${x}'}",), "data.fields", {"text": "${x}"}),
    (("data.fields={text: [a, b.c]}",), "data.fields", {"text": ["a", "b.c"]}),
    (("data.fields.text=review",), "data.fields", {"text": "review"}),
    (("data.fields.text=re: view, 2",), "data.fields", {"text": "re: view, 2"}),
    (("template={text} It cost ${mask}.",), "template", "{text} It cost ${mask}."),
    (("template='{text} It cost ${mask}.'",), "template", "{text} It cost ${mask}."),
    (("template={text} \\${mask}",), "template", "{text} \\${mask}"),
    (("template='tis {text} {mask}",), "template", "'tis {text} {mask}"),
    (('template="{text}" is {mask}.',), "template", '"{text}" is {mask}.'),
    (('template="{text}" "{mask}"',), "template", '"{text}" "{mask}"'),
    (("template={text} = {mask}, (no) [yes] #1 ~ \\",), "template", "{text} = {mask}, (no) [yes] #1 ~ \\"),
    (("data.path=a,b (c).csv",), "data.path", "a,b (c).csv"),
    (("data.path=a=b.csv",), "data.path", "a=b.csv"),
    (("data.path=$HOME/x",), "data.path", "$HOME/x"),
    (("data.path=~/x",), "data.path", str(Path("~/x").expanduser())),
    (("model.name=~/m",), "model.name", str(Path("~/m").expanduser())),
    (("model.name=1e3",), "model.name", "1e3"),
    (("model.revision=1e5",), "model.revision", "1e5"),
    (("model.revision=007",), "model.revision", "007"),
    (("data.label=true",), "data.label", "true"),
    (("data.label=null",), "data.label", None),
    (("data.label='null'",), "data.label", "null"),
    (("data.label=étiquette du texte",), "data.label", "étiquette du texte"),
    (("data.shots = 4",), "data.shots", 4),
    (("data.shots", "=", "4"), "data.shots", 4),
    (("data.shots=", "4"), "data.shots", 4),
    (("data.shots", "=4"), "data.shots", 4),
    (("seed=21,",), "seed", 21),
    (("trainer.learning_rate=1e-3",), "trainer.learning_rate", 1e-3),
    (("trainer.grad_clip=null",), "trainer.grad_clip", None),
    (("trainer.grad_clip=0",), "trainer.grad_clip", 0.0),
    (("data.shots=null",), "data.shots", None),
    (
        ("ensemble=patterns", "ensemble.patterns=[p0,'{text} cost ${mask}']"),
        "ensemble.patterns",
        ["p0", "{text} cost ${mask}"],
    ),
    (("ensemble=patterns", "ensemble.patterns=[p0,p1]", "ensemble.weights=[1,2.5]"), "ensemble.weights", [1, 2.5]),
    ((*ENTAILS, "verbalizer={T: 'yes', F: 'no'}"), "task.fields", ["word", "a", "b"]),
    ((*ENTAILS, "verbalizer={T: 'yes', F: 'no'}"), "data.fields", {"word": "word", "a": "sentence1", "b": "sentence2"}),
]


@pytest.mark.parametrize(("overrides", "key", "value"), READ, ids=[" ".join(row[0])[-70:] for row in READ])
def test_a_value_is_read_as_it_is_written(overrides: tuple[str, ...], key: str, value: Any) -> None:
    found: Any = asdict(compose(overrides))
    for part in key.split("."):
        found = found[part]
    if isinstance(found, dict) and isinstance(value, list):
        found = list(found if key == "task.fields" else found.values())
    assert found == value and type(found) is type(value)


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("data.path=",), "data.path=: a value is needed"),
    (("seed",), "KEY=VALUE"),
    (("täsk=x",), "'task'"),
    (("data.fields.txt=review",), "'text'"),
    (("verbalizer.positive=great",), "'negative'"),
    (("verbalizer={a: b",), "verbalizer={a: b: cannot be read"),
    (("verbalizer={negative: *x, positive: good}",), "verbalizer="),
    (("data.fields=[a,b]",), "data.fields="),
    (("data.fields={text: b, text: c}",), "'text' stands there twice"),
    (("task=null",), "task=null: not one of"),
    (("tuning=null",), "tuning=null: not one of"),
    (("tuning=lorra",), "'lora'"),
    (("task=custom", "template={word} {mask}", WORDS), "the task's fields are text"),
    (("seed=1,2",), "add -m"),
    (("seed=99999999999999999999",), "seed=99999999999999999999: must be a whole number"),
    (("seed=-1",), "seed=-1: must be"),
    (("data.seed=1.5",), "data.seed=1.5: must be a whole number"),
    (("data.shots=all",), "or null, which takes all"),
    (("data.shots=0",), "data.shots=0"),
    (("data.shots=-4",), "data.shots=-4"),
    (("data.max_test=0",), "data.max_test=0"),
    (("data.test_fraction=1",), "below 1"),
    (("data.fewer=tak",), "Did you mean 'take'"),
    (("trainer.batch_size=null",), "trainer.batch_size=null: must be a whole number"),
    (("trainer.batch_size=0",), "trainer.batch_size=0"),
    (("trainer.max_steps=1e3",), "trainer.max_steps=1000.0: must be a whole number"),
    (("trainer.weight_decay=-0.1",), "trainer.weight_decay=-0.1: must be a number at least 0"),
    (("trainer.warmup=nan",), "trainer.warmup=nan"),
    (("trainer.warmup=1",), "below 1"),
    (("trainer.learning_rate=inf",), "trainer.learning_rate=inf"),
    (("trainer.learning_rate=0",), "above 0"),
    (("trainer.grad_clip=-1",), "or null, which does not clip"),
    (("trainer.class_weights=balancd",), "'balanced'"),
    (("scoring.learned_rate=-1",), "scoring.learned_rate=-1"),
    (("scoring.learned_penalty=-1",), "scoring.learned_penalty=-1"),
    (("scoring.combine=men",), "'mean'"),
    (("scoring=soft", "scoring.init=word"), "'words'"),
    (("tuning=p_tuning", "tuning.hidden=0"), "tuning.hidden=0: must be a whole number at least 1"),
    (("tuning=p_tuning", "tuning.encoder=lst"), "'lstm'"),
    (("tuning=soft_prompt", "tuning.bottleneck=0"), "tuning.bottleneck=0"),
    (("tuning=soft_prompt", "tuning.anchor=-1"), "tuning.anchor=-1"),
    (("tuning=soft_prompt", "tuning.init=text"), "tuning.text"),
    (("tuning=prefix", "tuning.length=0"), "tuning.length=0"),
    (("tuning=lora", "tuning.rank=0"), "tuning.rank=0"),
    (("tuning=lora", "tuning.alpha=nan"), "tuning.alpha=nan"),
    (("tuning=lora", "tuning.targets=5"), "tuning.targets=5: null, linear, or ends of module names"),
    (("tuning=lora", "tuning.targets=[query,1]"), "tuning.targets=['query', 1]"),
    (("tuning=lora", "tuning.targets=[]"), "tuning.targets=[]"),
    (("tuning.rank=2",), "tuning=lora"),
    (("tuning.epohs=2",), "'tuning.epochs'"),
    (("tuning.most_epochs=0",), "tuning.most_epochs=0"),
    (("ensemble=patterns", "ensemble.seeds=0"), "ensemble.seeds=0"),
    (("ensemble=patterns", "ensemble.combine=vot"), "'vote'"),
    (("ensemble=patterns", "ensemble.weights=[1,-1]"), "ensemble.weights"),
    (("ensemble=patterns", "ensemble.weights=scor"), "'score'"),
    (("ensemble=pet", "ensemble.temperature=nan"), "ensemble.temperature=nan"),
    (("ensemble=pet", "ensemble.student_steps=0"), "ensemble.student_steps=0"),
    (("ensemble=pet", "ensemble.student_tuning=lora"), "student_tuning"),
    (("ensemble=ipet", "ensemble.subset=0"), "ensemble.subset=0"),
    (("ensemble=ipet", "ensemble.generations=99999999999"), "ensemble.generations"),
    (("method=tfidf", "method.folds=1"), "method.folds=1"),
    (("=3",), "write KEY=VALUE"),
    (("ensemble=patterns", "ensemble.patterns=[]"), "ensemble.patterns: no members"),
    (("ensemble=pvps", "ensemble.pvps=[]"), "ensemble.pvps: no members"),
    (("resume=maybe",), "resume=maybe: must be true or false"),
    (("device=gpu",), "device=gpu: not one of"),
    (("device=cuda:x",), "device=cuda:x"),
    (("trainer.seed=${seed}",), "trainer.seed=${seed}"),
    (("+foo=1",), "'foo'"),
    (("+trainer.foo=1",), "'trainer.foo'"),
    (("trainer={a: b}",), "'trainer.a'"),
    (("task.metrics=[acuracy]",), "accuracy"),
    (("task.range=5",), "task.range=5: only for task.target=number, not label"),
]


@pytest.mark.parametrize(("overrides", "said"), REFUSED, ids=[" ".join(row[0])[-70:] for row in REFUSED])
def test_a_mistake_is_one_line_that_names_the_key(overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert said in str(caught.value) and len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cfg", "jb"], "'job'"),
        (["--cfg"], "a value is needed"),
        (["--foo"], "unknown flag"),
        (["-cn", "nope"], "nope"),
        (["--config-dir", "nowhere"], "no such folder"),
        (["seed=1", "--confg-dir", "x"], "'--config-dir'"),
    ],
)
def test_a_flag_that_is_wrong_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *arguments]) == 2
    caught = capsys.readouterr().err
    assert said in caught and len(caught.splitlines()) == 1


def test_a_sweep_over_mappings_lists_and_templates_has_each_combination() -> None:
    given = prepare(
        [
            "-m",
            "verbalizer={negative: 'it, bad', positive: good},{negative: dull, positive: great}",
            "template='{text} ${mask}','{text}, {mask}'",
            "ensemble.patterns=[p0,p1],[p1]",
            "model.name=a,1e3",
            "tuning.init=random,vocab,",
        ]
    )
    runs = combined([one for one in given if "=" in one])
    assert len(runs) == 32 and len({tuple(run) for run in runs}) == 32
    assert {one for run in runs for one in run if one.startswith("tuning.init")} == {
        "tuning.init=random",
        "tuning.init=vocab",
    }
    assert prepare(["-m", "seed=1,2", "hydra.sweep.dir=a,b"])[1:] == ["seed=1,2", "hydra.sweep.dir='a,b'"]
    two = combined([one for one in given if one[:4] in ("verb", "temp")])
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(files.conf_dir())):
        found = [typed(composed(run)) for run in two]
    assert [(one.verbalizer["negative"], one.template) for one in found] == [
        ("it, bad", "{text} ${mask}"),
        ("it, bad", "{text}, {mask}"),
        ("dull", "{text} ${mask}"),
        ("dull", "{text}, {mask}"),
    ]


def test_a_dollar_sign_stays_one_in_files_and_run_folders(tmp_path: Path) -> None:
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "prices.yaml").write_text(
        "name: prices\nfields: {text: text}\nlabels: [low, high]\npatterns: ['{text} It cost ${mask}.']\n"
        "verbalizers: [{low: $1, high: bad}]\n"
    )
    config = compose(["task=prices", "template={text} \\${mask}"], str(tmp_path / "mine"))
    assert config.task.patterns == ["{text} It cost ${mask}."] and config.task.verbalizers[0]["low"] == "$1"
    store.write_config(tmp_path / "run", config)
    assert saved_config(tmp_path / "run").template == "{text} \\${mask}"
    assert saved_config(tmp_path / "run").task.patterns == config.task.patterns


BROKEN: list[tuple[str, bytes, str]] = [
    ("task", b"name: wrong\nfields: [a]\nlabels: [x, y]\n", "task.fields"),
    ("task", b"name: u\nfields: {text: a}\nlabls: [x]\n", "'task.labels'"),
    ("task", b"name: u\nfields: {text: a}\nsource: {hb: x}\n", "'task.source.hub'"),
    ("task", b"name: u\nlabels: [x]\n", "task.fields: a value is needed"),
    ("task", b"name: [x\n", "not valid YAML"),
    ("task", b"name: a\nname: b\n", "duplicate key name"),
    ("task", b"- a\n", "a list stands"),
    ("task", b"just words\n", "mine"),
    ("task", "name: café\n".encode("latin-1"), "UTF-8"),
    ("task", b"", "empty"),
    ("tuning", b"defaults: [lora, _self_]\nrank: many\n", "tuning.rank=many: must be a whole number"),
    ("tuning", b"defaults: [lora, _self_]\nrnk: 2\n", "'tuning.rank'"),
    ("tuning", b"defaults: [lorra, _self_]\n", "'lora'"),
    ("tuning", b"defaults: [mine, _self_]\n", "builds on itself"),
    ("tuning", b"name: lorra\n", "'lora'"),
    ("tuning", b"rank: 2\n", "tuning.name"),
    ("ensemble", b"defaults: [pet, _self_]\ntemprature: 3\n", "'ensemble.temperature'"),
    ("model", b"name: x\nlearning_rate: fast\n", "model.learning_rate=fast"),
]


@pytest.mark.parametrize(("group", "text", "said"), BROKEN, ids=[said for _, _, said in BROKEN])
def test_a_file_of_ones_own_that_is_wrong_is_named_with_its_key(
    group: str,
    text: bytes,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own" / group / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    assert main(["train", "--config-dir", "own", f"{group}=mine"]) == 2
    caught = capsys.readouterr().err
    assert said in caught and f"{group}/mine.yaml" in caught and len(caught.splitlines()) <= 2
    assert main(["list", f"{group}s", "--config-dir", "own"]) == 0
    assert main(["list", "patterns", "mine", "--config-dir", "own"]) in (0, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["verbalizer={negative: bad, positive: unputdownable}", "pattern=p0,p1"], "'unputdownable' is"),
        (
            ["verbalizer={negative: bad, positive: good},{negative: bad, positive: '[MASK]'}"],
            "'[MASK]' is a special token",
        ),
        (["verbalizer={negative: bad, positive: 好}", "pattern=p0,p1"], "'好' is not in this model's vocabulary"),
        (["verbalizer={negative: Bad, positive: bad}", "pattern=p0,p1"], "the same token"),
        (["ensemble=patterns,none", "verbalizer={negative: bad, positive: unputdownable}"], "'unputdownable' is"),
    ],
)
def test_label_words_are_asked_of_the_tokenizer_before_the_first_run(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load", None)  # no model is loaded
    assert main(["train", "-m", "model=embedded", *given]) == 2
    caught = capsys.readouterr().err
    assert said in caught and "model.name=embedded" in caught and len(caught.splitlines()) == 1
    assert not list(tmp_path.rglob("state.json"))


def test_a_tokenizer_is_loaded_once_for_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    known = loading.tokenized
    monkeypatch.setattr(loading, "tokenized", lambda *key: seen.append(key) or known(*key))
    runs = [compose([f"pattern=p{n}", f"model={model}"]) for n in range(3) for model in ("embedded", "random")]
    check_words([*runs, compose(["model.name=no/such-model"]), compose(["tuning=classifier", "model=gpt2"])])
    assert sorted(key[0] for key in seen) == ["embedded", "no/such-model", "random"]


@pytest.mark.parametrize("task", ["sst2", "trec", "ag_news", "mnli", "reviews"])
def test_the_experiment_on_verbalizers_goes_with_a_task(task: str) -> None:
    assert any(
        len(words) > 1 for words in verbalizer_words(compose(["experiment=verbalizers", f"task={task}"])).values()
    )
