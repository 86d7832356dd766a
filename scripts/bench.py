"""The speed figures: each beside what it is measured against, in one process or as whole processes.

Absolute times differ from machine to machine; the ratios are what to read.

    python scripts/bench.py [SECTION...] [--model DIR] [--data DIR] [--task sst2] [--output outputs/bench.md]

Sections: scoring, pet, search, soft, memory, labels, processes; all of them by default.
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
from functools import partial
from pathlib import Path
from typing import Any

from bench_search import searches

PLAIN_SCRIPT = """
import sys, torch
from transformers import AutoModelForMaskedLM, AutoTokenizer
from transformers.utils import logging
from pet_cli.data.rows import read_rows
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


def forward_seconds(lm: Any, prompts: list[Any]) -> float:
    """The pure forward of the model's body over prompts, in batches of 32 of like length."""
    import torch

    from pet_cli.prompts.batch import buckets

    batches = [lm.collate([prompts[i] for i in indices]) for indices in buckets([len(p.ids) for p in prompts], 32)]

    @torch.inference_mode()
    def forward() -> None:
        for batch in batches:
            lm.encode(batch)

    return median_seconds(forward)


def process_seconds(command: list[str], runs: int = 3) -> float:
    def work() -> None:
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return median_seconds(work, runs)


def inside_process(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Scoring, a training step and head tuning, against the pure encoder forward."""
    import torch

    from pet_cli.training.loop import TrainSettings, train

    learner, splits = learner_for(options, "zero_shot")
    lm, test = learner.lm, splits["test"]
    tokenise = median_seconds(lambda: learner.encoder.encode(test.rows))
    prompts = learner.encoder.encode(test.rows)

    from pet_cli.tuning.base import Encoded

    def score() -> None:
        plain = Encoded(prompts, learner.frozen_states(Encoded(prompts), None, None))
        learner.predict(plain)

    pure, ours = forward_seconds(lm, prompts), median_seconds(score)
    tokens = sum(len(p.ids) for p in prompts)
    rows = [
        ("pure encoder forward", f"{pure:.2f} s", f"{len(prompts)} texts, {tokens} tokens, sorted by length"),
        ("tokenising the same texts", f"{tokenise:.2f} s", f"{tokenise / pure:.3f} of the forward"),
        ("zero-shot scoring", f"{ours:.2f} s", f"{pure / ours:.2f} of the pure forward's speed"),
    ]

    learner, splits = learner_for(options, "full")
    sample = splits["train"]
    encoded = learner.encode(sample.rows)
    targets = torch.tensor(sample.gold)
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

    learner, splits = learner_for(options, "head")
    sample = splits["train"]
    many = type(sample)("train", sample.examples * 8)
    prompts = learner.encoder.encode(many.rows)

    epochs = 100
    head_steps = epochs * -(-len(many) // 8)

    encoded_once = learner.encode(many.rows)

    def head_alone() -> None:
        train(learner, encoded_once, torch.tensor(many.gold), TrainSettings(steps=head_steps, learning_rate=1e-4))

    one, ours, alone = (
        forward_seconds(learner.lm, prompts),
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

        alone, demo = train_seconds("baseline=false"), train_seconds()
        rows.append(("pet train (the demo), start to table", f"{demo:.1f} s", "target: below 15 s on 2 cores"))
        rows.append(("pet train baseline=false", f"{alone:.1f} s", f"zero-shot beside it costs {demo - alone:.1f} s"))
        if options.data and (Path(options.data) / "test.jsonl").is_file():
            script = [sys.executable, "-c", PLAIN_SCRIPT, options.model, f"{options.data}/test.jsonl", "sentence"]
            plain = process_seconds(script, 2)
            ours = train_seconds(
                f"task={options.task}", f"data.path={options.data}", f"model.name={options.model}", "tuning=zero_shot",
                "baseline=false",
            )  # fmt: skip
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


def pet_run(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """A PET run, whole, against the encoder's forward and against its parts, each timed alone.

    The forward is that of `--data`, so that the ratio says the same whatever data the run itself is on.
    """
    import torch

    from pet_cli.commands.compose import compose
    from pet_cli.ensembles.members import members
    from pet_cli.execute import execute
    from pet_cli.methods.prompted import build_learner, train_settings
    from pet_cli.runs.session import Session
    from pet_cli.training.loop import train

    reference, texts = learner_for(options, "zero_shot")
    prompts = reference.encoder.encode(texts["test"].rows)
    pure = forward_seconds(reference.lm, prompts)
    own = [
        f"task={options.pet_task}",
        f"model.name={options.model}",
        "ensemble=pet_small",
        "ensemble.student=classifier",
    ]
    own += [f"data.path={options.pet_data}"] if options.pet_data else []
    own += [
        "baseline=false",
        "trainer.max_steps=100",
        "trainer.batch_size=4",
        "data.max_unlabeled=400",
        "data.max_test=1000",
    ]
    config = compose(own)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            execute(config, Path(folder), Session())

    total = median_seconds(whole, 2)
    session = Session(reuse=True)
    splits = session.splits(config)
    training = labeling = 0.0
    for member in members(config):
        learner = build_learner(member.config, session.language_model(member.config), session)
        sample = learner.encode(splits["train"].rows)
        how = train_settings(member.config, learner.lm, len(sample))
        training += seconds(train, learner, sample, torch.tensor(splits["train"].gold), how)
        for name in ("unlabeled", "test"):
            encoded = learner.encode(splits[name].rows)
            labeling += seconds(learner.predict, encoded)
    from pet_cli.ensembles.distillation import student_config

    student = student_config(config)
    learner = build_learner(student, session.language_model(student), session)
    encoded = learner.encode(splits["unlabeled"].rows)
    targets = torch.full((len(encoded), len(learner.labels)), 1 / len(learner.labels))
    how = train_settings(student, learner.lm, len(encoded))
    distilling = seconds(train, learner, encoded, targets, how)
    test = learner.encode(splits["test"].rows)
    distilling += seconds(learner.predict, test)
    parts = training + labeling + distilling
    return [
        (
            "PET: 3 patterns, 100 steps of 4, student",
            f"{total:.1f} s",
            f"{total / pure:.1f} forwards of {len(prompts)} texts ({pure:.2f} s)",
        ),
        (
            "its parts alone",
            f"{parts:.1f} s",
            f"members {training:.1f} s, their answers {labeling:.1f} s, student {distilling:.1f} s; "
            f"the run takes {total / parts:.2f} of them",
        ),
    ]


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def soft_prompts(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """A step of soft-prompt training against peft's prompt tuning: the same model, texts, prompt length and batch."""
    import torch
    from peft import PromptTuningConfig, get_peft_model

    from pet_cli.training.loop import TrainSettings, train

    learner, splits = learner_for(options, "soft_prompt", "trainer.max_length=128")
    sample = splits["train"]
    encoded = learner.encode(sample.rows)
    targets = torch.tensor(sample.gold)
    steps = 20

    def ours() -> None:
        train(learner, encoded, targets, TrainSettings(steps=steps, learning_rate=1e-2))

    own = median_seconds(ours) / steps
    hard, _ = learner_for(options, "zero_shot", "trainer.max_length=128")
    lm = hard.lm
    words = lm.tokens(hard.answers).first
    length = learner.settings.length
    peft_config = PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=length)
    wrapped = get_peft_model(lm.model, peft_config)
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    prompts = hard.encoder.encode(sample.rows)
    everywhere = max(len(prompt.ids) for prompt in prompts)

    def theirs(padding: int | None) -> float:
        """Seconds of a step, with batches padded as needed or all to one length."""
        from pet_cli.training.loop import batches

        def run() -> None:
            optimizer = torch.optim.AdamW(parameters, lr=1e-2)
            order = batches(len(prompts), 8, 13)
            wrapped.eval()
            for _ in range(steps):
                indices = next(order)
                batch = lm.collate([prompts[i] for i in indices])
                ids, mask = batch.input_ids, batch.attention_mask
                if padding is not None:
                    more = (0, padding - ids.shape[1])
                    ids = torch.nn.functional.pad(ids, more, value=lm.tokenizer.pad_token_id)
                    mask = torch.nn.functional.pad(mask, more)
                logits = wrapped(input_ids=ids, attention_mask=mask).logits
                at = batch.masks[:, 0] + length
                loss = torch.nn.functional.cross_entropy(
                    logits[torch.arange(len(indices)), at][:, words], targets[indices]
                )
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

        return median_seconds(run) / steps

    equal, fixed = theirs(None), theirs(max(128, everywhere))
    return [
        (f"soft prompt of {length}, a step at batch 8", f"{1000 * own:.0f} ms", ""),
        ("peft's prompt tuning, equal padding", f"{1000 * equal:.0f} ms", f"ours does {equal / own:.2f} of its steps"),
        ("peft's prompt tuning, padded to 128", f"{1000 * fixed:.0f} ms", f"ours does {fixed / own:.2f} of its steps"),
    ]


MEMORY_SCRIPT = """
import resource, sys, torch
from pathlib import Path
from transformers import BertConfig, BertForMaskedLM
from pet_cli.config.build import option
from pet_cli.models.loading import _tokenizer
from pet_cli.models.places import EMBEDDED
from pet_cli.models.masked import MaskedLM
from pet_cli.prompts.template import Template
from pet_cli.training.loop import TrainSettings, train
from pet_cli.tuning import learner_class
from pet_cli.verbalizers.manual import ManualVerbalizer
from pet_cli.verbalizers.words import parse_words
name, = sys.argv[1:]
tokenizer = _tokenizer("embedded", str(EMBEDDED), {})
torch.manual_seed(0)
model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer))).eval()
lm = MaskedLM("bert-base shape", model, tokenizer, torch.device("cpu"))
labels = ["negative", "positive"]
words = ManualVerbalizer(parse_words({"negative": "terrible", "positive": "great"}, labels), option("scoring", "words"))
settings = option("tuning", name)
learner = learner_class(settings)(
    lm, Template.parse("{text} It was {mask}."), labels=labels, settings=settings, max_length=128,
    verbalizer=words,
)
encoded = learner.encode([{"text": "a film " * 200}] * 8)
assert {len(prompt.ids) for prompt in encoded.prompts} == {128}
Path("/proc/self/clear_refs").write_text("5")
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
train(learner, encoded, torch.arange(8) % 2, TrainSettings(steps=3, learning_rate=1e-4))
print(peak() - before)
"""


def memory(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """The highest resident memory of training above the loaded model's, a process for each mode (Linux)."""
    peaks = {}
    for name in ("full", "soft_prompt", "word_embedding", "prefix", "lora"):
        done = subprocess.run([sys.executable, "-c", MEMORY_SCRIPT, name], capture_output=True, text=True, check=True)
        peaks[name] = int(done.stdout) / 1024
    return [
        (
            f"memory of {name}, BERT-base shape, 8 x 128",
            f"{peak:.0f} MB",
            "above the loaded model" if name == "full" else f"{peak / peaks['full']:.2f} of full",
        )
        for name, peak in peaks.items()
    ]


def label_words(options: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Four label words on generative models against one full forward for each word."""
    import torch

    from pet_cli.commands.compose import compose
    from pet_cli.methods.prompted import build_learner
    from pet_cli.prompts.batch import buckets
    from pet_cli.runs.session import Session
    from pet_cli.tuning.base import Encoded

    rows = []
    for name in options.generative:
        config = compose(["task=topics", "tuning=zero_shot", f"model.name={name}", "data.max_test=64"])
        session = Session()
        lm = session.language_model(config)
        learner = build_learner(config, lm, session)
        prompts = learner.encoder.encode(session.splits(config)["test"].rows)
        batches = [lm.collate([prompts[i] for i in b]) for b in buckets([len(p.ids) for p in prompts], 32)]
        words = [torch.tensor(ids) for ids in learner.answers.ids]

        ours = median_seconds(partial(learner.predict, Encoded(prompts, None)), 2)
        theirs = median_seconds(partial(one_by_one, lm, batches, words), 2)
        tokens = ", ".join(str(len(word)) for word in words)
        rows.append(
            (
                f"{len(words)} label words of {tokens} tokens, {name}",
                f"{ours:.2f} s",
                f"{theirs / ours:.2f} times as fast as one forward for each word",
            )
        )
    return rows


def one_by_one(lm: Any, batches: list[Any], words: list[Any]) -> None:
    """The obvious way to score label words: each behind each prompt, in a full forward of its own."""
    import torch

    with torch.inference_mode():
        for batch in batches:
            for word in words:
                following = word.expand(len(batch), -1)
                if lm.family == "encoder_decoder":
                    begin = torch.tensor([lm._start, lm._sentinel_id]).expand(len(batch), -1)
                    inputs = {"input_ids": batch.input_ids, "decoder_input_ids": torch.cat([begin, following], dim=1)}
                    attention = batch.attention_mask
                else:
                    inputs = {"input_ids": torch.cat([batch.input_ids, following], dim=1)}
                    attention = torch.nn.functional.pad(batch.attention_mask, (0, len(word)), value=1)
                logits = lm.model(attention_mask=attention, **inputs).logits
                logits[:, -len(word) - 1 : -1].log_softmax(-1).gather(2, following.unsqueeze(2)).mean(1)


def learner_for(options: argparse.Namespace, tuning: str, *more: str) -> tuple[Any, Any]:
    """A learner on the model and data of the command line, and the splits."""
    from pet_cli.commands.compose import compose
    from pet_cli.methods.prompted import build_learner
    from pet_cli.runs.session import Session

    own = [f"data.path={options.data}"] if options.data else []
    config = compose([f"task={options.task}", f"tuning={tuning}", f"model.name={options.model}", *own, *more])
    session = Session(reuse=True)
    lm = session.language_model(config)
    return build_learner(config, lm, session), session.splits(config)


SECTIONS = {
    "scoring": inside_process,
    "pet": pet_run,
    "search": searches,
    "soft": soft_prompts,
    "memory": memory,
    "labels": label_words,
    "processes": whole_processes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"{', '.join(SECTIONS)}; default all")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--data", help="a folder with test.jsonl and train.jsonl; by default the task's own data")
    parser.add_argument("--task", default="reviews")
    parser.add_argument("--output", default="outputs/bench.md")
    parser.add_argument("--pet-task", default="topics", help="of the PET run")
    parser.add_argument("--pet-data", help="its data, with unlabeled texts; by default the task's own")
    parser.add_argument("--generative", nargs="*", default=[], help="models that write the answer, for label words")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from pet_cli.errors import UserError

    try:
        rows = [row for name in options.sections or SECTIONS for row in SECTIONS[name](options)]
    except UserError as error:
        parser.error(str(error))
    width = max(len(row[0]) for row in rows)
    for name, value, note in rows:
        print(f"{name:<{width}}  {value:>8}  {note}")
    from pet_cli.base.files import write_text

    table = ["| what | time | beside |", "|---|---|---|", *("| " + " | ".join(row) + " |" for row in rows)]
    write_text(Path(options.output), "\n".join(table) + "\n")
    print(f"Written to {options.output}.")


if __name__ == "__main__":
    main()
