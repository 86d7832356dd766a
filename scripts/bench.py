"""The speed figures: each beside what it is measured against, in one process or as whole processes.

Absolute times differ from machine to machine; the ratios are what to read.

    python scripts/bench.py [--model DIR] [--data DIR] [--task sst2] [--output outputs/bench.md]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAIN_SCRIPT = """
import sys, torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging
from pet_cli.data import read_rows
from pathlib import Path
logging.set_verbosity_error(); logging.disable_progress_bar()
name, file, column = sys.argv[1:]
texts = [row[column] + " It was [MASK]." for _, row in read_rows(Path(file))]
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForMaskedLM.from_pretrained(name, dtype=torch.float32).eval()
words = tokenizer.convert_tokens_to_ids(["terrible", "great"])
encoded = tokenizer(texts)["input_ids"]
order = sorted(range(len(texts)), key=lambda i: -len(encoded[i]))
scores = torch.zeros(len(texts), 2)
with torch.inference_mode():
    for start in range(0, len(order), 32):
        chosen = order[start:start + 32]
        batch = tokenizer.pad({"input_ids": [encoded[i] for i in chosen]}, return_tensors="pt")
        hidden = model.base_model(**batch)[0][batch["input_ids"] == tokenizer.mask_token_id]
        scores[chosen] = model.get_output_embeddings()(model.cls.predictions.transform(hidden))[:, words]
print(scores.argmax(1).float().mean().item())
"""


def median_seconds(work: Callable[[], Any], runs: int = 3) -> float:
    """The median wall time of `work` after one run that is not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def process_seconds(command: list[str], runs: int = 3) -> float:
    def work() -> None:
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return median_seconds(work, runs)


def inside_process(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Scoring, a training step and head tuning, against the pure encoder forward."""
    import torch

    from pet_cli.hydra_app import compose
    from pet_cli.prompts import buckets
    from pet_cli.run import build_learner
    from pet_cli.session import Session
    from pet_cli.training import TrainSettings, train

    def learner_for(tuning: str) -> tuple[Any, Any]:
        config = compose([f"task={options.task}", f"tuning={tuning}", *data, f"model.name={options.model}"])
        session = Session(reuse=True)
        lm = session.language_model(config)
        return build_learner(config, lm, session), session.splits(config)

    data = [f"data.path={options.data}"] if options.data else []
    learner, splits = learner_for("zero_shot")
    lm, test = learner.lm, splits["test"]
    tokenise = median_seconds(lambda: learner.encoder.encode(test.rows))
    prompts = learner.encoder.encode(test.rows)
    batches = [lm.collate([prompts[i] for i in indices]) for indices in buckets([len(p.ids) for p in prompts], 32)]

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            lm.encode(batch)

    from pet_cli.tuning.base import Encoded

    def score() -> None:
        plain = Encoded(prompts, learner.frozen_states(Encoded(prompts), None, None))
        learner.predict(plain)

    pure, ours = median_seconds(forward), median_seconds(score)
    tokens = sum(len(p.ids) for p in prompts)
    rows = [
        ("pure encoder forward", f"{pure:.2f} s", f"{len(prompts)} texts, {tokens} tokens, sorted by length"),
        ("tokenising the same texts", f"{tokenise:.2f} s", f"{tokenise / pure:.3f} of the forward"),
        ("zero-shot scoring", f"{ours:.2f} s", f"{pure / ours:.2f} of the pure forward's speed"),
    ]

    learner, splits = learner_for("full")
    sample = splits["train"]
    encoded = learner.encode(sample.rows)
    targets = torch.tensor(sample.targets)
    steps = 20

    def tune() -> None:
        train(learner, encoded, targets, TrainSettings(steps=steps, learning_rate=1e-5))

    step = median_seconds(tune, 3) / steps
    batch = lm_batch(learner, encoded)

    def arithmetic() -> None:
        learner.lm.model.train()
        for _ in range(steps):
            learner.lm.encode(batch).float().mean().backward()
            learner.lm.model.zero_grad(set_to_none=True)

    floor = median_seconds(arithmetic, 3) / steps
    rows += [
        ("full tuning, a step at batch 8", f"{1000 * step:.0f} ms", f"{step / pure:.3f} of that forward's time"),
        (
            "forward + backward of 8 prompts alone",
            f"{1000 * floor:.0f} ms",
            f"{floor / pure:.3f}; a step takes {step / floor:.2f} of it",
        ),
    ]

    learner, splits = learner_for("head")
    sample = splits["train"]
    many = type(sample)("train", sample.examples * 8)
    prompts = learner.encoder.encode(many.rows)
    train_batches = [
        learner.lm.collate([prompts[i] for i in indices]) for indices in buckets([len(p.ids) for p in prompts], 32)
    ]

    @torch.inference_mode()
    def one_pass() -> None:
        for batch in train_batches:
            learner.lm.encode(batch)

    epochs = 100
    head_steps = epochs * -(-len(many) // 8)

    encoded_once = learner.encode(many.rows)

    def head_alone() -> None:
        train(learner, encoded_once, torch.tensor(many.targets), TrainSettings(steps=head_steps, learning_rate=1e-4))

    one, ours, alone = (
        median_seconds(one_pass),
        median_seconds(lambda: learner.encode(many.rows)),
        median_seconds(head_alone),
    )
    rows.append(
        (
            f"head tuning, {epochs} epochs of {len(many)} examples",
            f"{ours + alone:.2f} s",
            f"{ours / one:.2f} encoder passes + {alone:.2f} s of the head's own arithmetic",
        )
    )
    return rows


def lm_batch(learner: Any, encoded: Any) -> Any:
    return learner.lm.collate(encoded.prompts[:8])


def whole_processes(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """The command line against a plain script, an import of Hydra, and the clock."""
    pet = [sys.executable, "-m", "pet_cli"]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(1000))

        def train(*overrides: str) -> list[str]:
            return [*pet, "train", f"hydra.run.dir={folder}/{next(count)}", *overrides]

        def train_seconds(*overrides: str) -> float:
            return median_seconds(lambda: subprocess.run(train(*overrides), check=True, capture_output=True), 2)

        demo = train_seconds()
        rows.append(("pet train (the demo), start to table", f"{demo:.1f} s", "target: below 15 s on 2 cores"))
        if options.data and (Path(options.data) / "test.jsonl").is_file():
            script = [sys.executable, "-c", PLAIN_SCRIPT, options.model, f"{options.data}/test.jsonl", "sentence"]
            plain = process_seconds(script, 2)
            ours = train_seconds(
                f"task={options.task}", f"data.path={options.data}", f"model.name={options.model}", "tuning=zero_shot"
            )
            rows.append(("a plain script: load, sort, encode, head", f"{plain:.1f} s", "the whole process"))
            rows.append(("pet train tuning=zero_shot", f"{ours:.1f} s", f"{ours / plain:.2f} of the plain script"))
    hydra = process_seconds([sys.executable, "-c", "import hydra"])
    rows.append(('python -c "import hydra"', f"{hydra:.2f} s", ""))
    for name, command in (
        ("pet --help", [*pet, "--help"]),
        ("pet list tasks", [*pet, "list", "tasks"]),
        ("a config error", [*pet, "train", "task=nope"]),
    ):
        seconds = process_seconds(command)
        rows.append((name, f"{seconds:.2f} s", f"{seconds / hydra:.2f} of importing hydra"))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--data", help="a folder with test.jsonl and train.jsonl; by default the task's own data")
    parser.add_argument("--task", default="reviews")
    parser.add_argument("--output", default="outputs/bench.md")
    options = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    rows = inside_process(options) + whole_processes(options)
    width = max(len(row[0]) for row in rows)
    for name, value, note in rows:
        print(f"{name:<{width}}  {value:>8}  {note}")
    from pet_cli.files import write_text

    table = ["| what | time | beside |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    write_text(Path(options.output), "\n".join(table) + "\n")
    print(f"Written to {options.output}.")


if __name__ == "__main__":
    main()
