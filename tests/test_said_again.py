"""What a run wrote, its folder says again: bit for bit, as often as asked, in another process.

Every tuning mode, verbalizer, ensemble and family of models is run once here. One other process then loads each
folder and asks it twice about the test texts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from goldens import World, read_rows

from pet_cli.runs.store import softmax

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("said_again")]

_TWO = ("ensemble.patterns=[p0,p1]", "ensemble.seeds=1")
_PET = (*_TWO, "ensemble.student_steps=2")
_SHORT = ("trainer.max_steps=2", "save_model=always", "baseline=false")

MODES: dict[str, tuple[str, ...]] = {
    "full": ("tuning=full",),
    "learned": ("tuning=zero_shot", "verbalizer=v2", "scoring.combine=learned"),
    "classifier": ("tuning=classifier",),
    "soft_prompt": ("tuning=soft_prompt", "tuning.conditioned=true", "tuning.length=3"),
    "word_embedding": ("tuning=word_embedding", "tuning.freeze_model=false"),
    "p_tuning": ("tuning=p_tuning", "tuning.length=3"),
    "prefix": ("tuning=prefix", "tuning.projection=true", "tuning.length=3"),
    "lora": ("tuning=lora",),
}
OF_BERT: dict[str, tuple[str, ...]] = {
    "zero_shot": ("tuning=zero_shot",),
    "classifier_mean": ("tuning=classifier", "tuning.pooling=mean"),
    "head": ("tuning=head", "tuning.decoder=true", "verbalizer=v2", "scoring.combine=vote"),
    "bitfit": ("tuning=bitfit",),
    "word_embedding_alone": ("tuning=word_embedding",),
    "development_set": ("tuning=p_tuning", "data.shots=2", "data.dev_shots=2", "trainer.eval_every=1"),
    "patterns": ("ensemble=patterns", *_TWO),
    "patterns_averaged": (
        "ensemble=patterns",
        "ensemble.patterns=[p0]",
        "ensemble.seeds=2",
        "ensemble.average=weights",
    ),
    "patterns_p_tuning": ("ensemble=patterns", *_TWO, "tuning=p_tuning", "ensemble.weights=confidence"),
    "patterns_votes": ("ensemble=patterns", *_TWO, "tuning=lora", "ensemble.combine=vote", "ensemble.weights=accuracy"),
    "patterns_shared": ("ensemble=patterns_shared", "ensemble.patterns=[p0,p1]", "verbalizer=v2"),
    "pvps": ("ensemble=pvps", *_TWO, "ensemble.verbalizers=[v0,v2]", "tuning=head"),
    "words": ("ensemble=words", "ensemble.patterns=[p0]", "tuning=soft_prompt"),
    "pet": ("ensemble=pet", *_PET),
    "pet_of_adapters": ("ensemble=pet", *_PET, "tuning=lora", "ensemble.student=[p1,v2]"),
    "sentence_lr": ("method=sentence_lr",),
    "setfit": ("method=setfit",),
    "cnn": ("method=cnn", "method.vectors=model"),
    "bilstm": ("method=bilstm", "method.vectors=model", "method.static=true", "data.shots=2", "data.dev_shots=2"),
    "ipet": ("ensemble=ipet", *_PET, "data.shots=2", "ensemble.generations=1", "ensemble.growth=1.5"),
}
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{f"{kind}-{name}": (kind, own) for kind in ("bert", "gpt2", "t5", "bart") for name, own in MODES.items()},
    **{f"bert-{name}": ("bert", own) for name, own in OF_BERT.items()},
    "gpt2-sentence_lr": ("gpt2", ("method=sentence_lr",)),
    "t5-sentence_lr": ("t5", ("method=sentence_lr", "method.pooling=cls")),
    "gpt2-bitfit": ("gpt2", ("tuning=bitfit",)),
    "gpt2-patterns_shared": ("gpt2", ("ensemble=patterns_shared", "ensemble.patterns=[p0,p2]")),
    "t5-patterns": ("t5", ("ensemble=patterns", *_TWO)),
    "bart-patterns": ("bart", ("ensemble=patterns", *_TWO, "tuning=lora")),
}

ASK = '''
import json, sys
from pathlib import Path
import torch
from pet_cli.data.examples import Example, Split
from pet_cli.methods import load

torch.set_num_threads(1)

def weights(method):
    """Every module that a loaded method holds, whatever holds it."""
    seen, found, queue = set(), [], [method]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, (str, bytes, int, float, Path)):
            continue
        seen.add(id(one))
        if isinstance(one, torch.nn.Module):
            found.append(one)
        elif isinstance(one, dict):
            queue += list(one.values())
        elif isinstance(one, (list, tuple, set)):
            queue += list(one)
        elif type(one).__module__.startswith("pet_cli"):
            queue += list(getattr(one, "__dict__", {}).values())
    return found

def state(method):
    tensors, switches = {}, []
    for number, module in enumerate(weights(method)):
        tensors |= {f"{number}.{name}": t.detach().clone() for name, t in module.state_dict().items()}
        switches += [each.training for each in module.modules()]
        switches += [parameter.requires_grad for parameter in module.parameters()]
    return tensors, switches, torch.get_rng_state()

def same(one, other):
    return (one[1] == other[1] and torch.equal(one[2], other[2]) and list(one[0]) == list(other[0])
            and all(torch.equal(one[0][key], other[0][key]) for key in one[0]))

texts = json.loads(sys.stdin.readline())
split = Split("test", tuple(Example(number, fields, None) for number, fields in enumerate(texts)))
torch.manual_seed(5)
for line in sys.stdin:
    before = torch.get_rng_state()
    method = load(Path(line.strip()))
    untouched = torch.equal(before, torch.get_rng_state())
    first = method.predict(split)
    standing = state(method)
    again = method.predict(split)
    changes = [] if untouched else ["loading draws"]
    changes += [] if same(standing, state(method)) else ["asking changes something"]
    models = [module for module in weights(method) if hasattr(module, "config")]
    changes += ["train mode"] if not models or any(module.training for module in models) else []
    changes += [] if (first == again).all() else ["another answer"]
    print(json.dumps({"scores": first.tolist(), "changes": changes}), flush=True)
'''


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def runs(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of every run."""
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return {name: world.train(root / name, *_SHORT, *own, model=kind) for name, (kind, own) in RUNS.items()}


@pytest.fixture(scope="module")
def answers(runs: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """What another process says that loads the folders, from the last to the first."""
    from goldens import DATA

    texts = [{"text": row["text"]} for row in read_rows(DATA / "meals" / "test.jsonl")]
    names = list(reversed(runs))
    asked = "\n".join([json.dumps(texts), *(str(runs[name]) for name in names)]) + "\n"
    done = subprocess.run([sys.executable, "-c", ASK], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return dict(zip(names, lines, strict=True))


@pytest.mark.parametrize("name", RUNS)
def test_a_run_says_again_what_it_wrote(name: str, runs: dict[str, Path], answers: dict[str, dict[str, Any]]) -> None:
    rows = read_rows(runs[name] / "predictions.jsonl")
    own = answers[name]
    assert own["changes"] == []
    probabilities = softmax(own["scores"]).tolist()
    for row, line in zip(rows, probabilities, strict=True):
        assert list(row["probabilities"].values()) == [float(f"{p:.6g}") for p in line]
        assert row["predicted"] == list(row["probabilities"])[line.index(max(line))]
