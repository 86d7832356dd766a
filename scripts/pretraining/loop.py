"""Training, and the checkpoints it leaves."""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import pickle
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TimeElapsedColumn, TimeRemainingColumn
from torch.nn import functional as F

from .batches import Batch, Maker, Schedule
from .pairs import recalls, relation_scores
from .targets import SoftTargets, soft_loss
from .text import UserError

Settings = dict[str, Any]
WANTED = ("targets", "relation", "words", "wanted", "sides", "leans")  # what the model has to tell, in a batch


@dataclass
class Position:
    """How far a run is."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def save_model(model: Any, tokenizer: Any, folder: Path, store: str) -> None:
    """A model folder. float16 halves it on disk only: its config asks for float32 (T5 overflows in half)."""
    model = copy.deepcopy(model).half() if store == "float16" else model
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | {"dtype": "float32"}
    config["architectures"] = [getattr(model, "read_by", name) for name in config["architectures"]]
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def save_checkpoint(out: Path, model: Any, tokenizer: Any, keep: int, state: dict[str, Any]) -> None:
    """OUT/checkpoint-STEP: a model folder with the state of the run. Written under another name and then renamed,
    and all but the newest `keep` are removed last, so that a crash at any moment leaves one that is whole."""
    draft = out / ".draft"
    shutil.rmtree(draft, ignore_errors=True)
    save_model(model, tokenizer, draft, "float32")
    torch.save(state | {"random": [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]}, draft / "state.pt")
    draft.rename(out / f"checkpoint-{state['position']['step']}")
    for folder in checkpoints(out)[:-keep]:
        shutil.rmtree(folder)


def checkpoints(out: Path) -> list[Path]:
    """Those in OUT, the newest last."""
    steps = {folder: folder.name.removeprefix("checkpoint-") for folder in out.glob("checkpoint-*")}
    return sorted((folder for folder in steps if steps[folder].isdecimal()), key=lambda folder: int(steps[folder]))


def read_state(folder: Path) -> dict[str, Any]:
    """The state of a run, as a checkpoint holds it."""
    if not (folder / "state.pt").is_file():
        raise UserError(f"{folder} is not a checkpoint of a run: it has no state.pt")
    try:
        state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise UserError(f"{folder / 'state.pt'} is damaged: {str(error).splitlines()[0]}") from None
    return state


def check_settings(state: dict[str, Any], settings: Settings) -> None:
    """Raises `UserError` unless the run goes on under the settings that it began with."""
    # While the rate is constant its end decides nothing, so that may still be set.
    fallen = any(falls(state["position"]["step"], known) for known in (state["settings"], settings))
    for name, value in settings.items():
        before = state["settings"].get(name)
        if before != value and (fallen or name not in ("steps", "decay_steps")):
            raise UserError(f"{name.replace('_', '-')} was {before} before the checkpoint and is {value} now")


def scores(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits [M, V] at the chosen places, and [B, relations] of pairs. BERT's head sees only the chosen places, which
    saves most of its work."""
    inputs = {name: values for name, values in batch.items() if name not in ("chosen", *WANTED)}
    related = None
    if "decoder_input_ids" in batch:
        logits: torch.Tensor = model(**inputs, use_cache=False).logits.flatten(0, 1)[batch["chosen"]]
    else:
        states = model.bert(**inputs)
        logits = model.cls.predictions(states.last_hidden_state.flatten(0, 1)[batch["chosen"]])
        if "relation" in batch:  # of the first rows: windows, which stand in none, come behind the pairs
            related = relation_scores(model, states.pooler_output[: len(batch["relation"])])
    return logits, related


def use_bf16(precision: str, device: str) -> bool:
    """Whether the forward pass runs in bfloat16: on `auto` only where the hardware multiplies in it."""
    if precision == "auto" and device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features: dict[str, Any] = getattr(
        torch.cpu, "get_capabilities", dict
    )()  # newer than the oldest torch that will do
    return precision == "bf16" or (precision == "auto" and bool(features.get("amx_bf16")))


def make_optimizer(model: Any) -> torch.optim.Optimizer:
    """AdamW, with weight decay on matrices only: a norm or a bias that shrinks helps nobody."""
    weights = list(model.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": 0.01},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, fused=True)


def learning_rate(done: float, args: argparse.Namespace) -> float:
    """Up to --lr over the first --warmup of the run, then down to 0; `done` goes from 0 to 1."""
    rising = done / args.warmup if args.warmup else 1.0
    return float(args.lr * min(rising, (1 - done) / (1 - args.warmup)))


def constant_rate(step: int, args: argparse.Namespace) -> float:
    """--lr at each step but the first --warmup-steps and, if there is an end, the last --decay-steps."""
    rising = (step + 1) / (args.warmup_steps + 1)
    falling = (args.steps - step) / args.decay_steps if args.steps else 1.0
    return float(args.lr * min(rising, falling, 1.0))


def falls(step: int, settings: Settings) -> bool:
    """Whether a run that has done so many steps has left the constant rate for good, if it ever had one."""
    end = settings.get("steps") or math.inf
    return settings.get("schedule") != "wsd" or step > end - settings["decay_steps"]


def losses_and_scores(
    compute: Callable[[Any, Batch], tuple[torch.Tensor, torch.Tensor | None]],
    model: Any,
    batch: Batch,
    args: argparse.Namespace,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Mean cross-entropies [] of the objectives, and their logits: [M, V], and of pairs
    [B, relations]; in float32."""
    with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
        found = [logits.float() for logits in compute(model, batch) if logits is not None]
    wanted = [batch[name] for name in ("targets", "relation") if name in batch]
    return [F.cross_entropy(logits, gold) for logits, gold in zip(found, wanted, strict=True)], found


@torch.no_grad()
def evaluate(model: Any, make: Maker, heldout: np.ndarray, args: argparse.Namespace) -> dict[str, float]:
    """Loss, and accuracy on words (no sentinels), on the held-out blocks, corrupted in the same way every time; of
    pairs the recall of each relation, though some of their words are hidden."""
    model.eval()
    special = torch.tensor(make.tokenizer.all_special_ids, device=args.device)
    loss = total = right = words = 0.0
    told: list[torch.Tensor] = []  # [B, 2] of pairs: relation predicted, wanted
    for number, i in enumerate(range(0, len(heldout), args.batch)):
        batch = make(heldout[i : i + args.batch], np.random.default_rng([args.seed, 4, number]))
        batch = {name: values.to(args.device) for name, values in batch.items()}
        (mean, *_), (logits, *related) = losses_and_scores(scores, model, batch, args)
        told += [torch.stack([one.argmax(-1), batch["relation"]], 1).cpu() for one in related]
        loss += mean.item() * len(logits)
        total += len(logits)
        ordinary = torch.isin(batch["targets"], special, invert=True)
        right += (ordinary & (logits.argmax(-1) == batch["targets"])).sum().item()
        words += ordinary.sum().item()
    model.train()
    if not math.isfinite(loss):
        raise UserError("the loss is no longer a number: take a lower --lr")
    found = {"heldout_loss": loss / total, "heldout_accuracy": right / max(1, words)}
    return found | (recalls(*torch.cat(told).numpy().T, args.relations) if told else {})


def train(
    model: Any, make: Maker, args: argparse.Namespace, settings: Settings, state: dict[str, Any] | None
) -> Position:
    """The loop. It ends after --steps or --minutes, whichever is first, or never with --schedule wsd and neither, and
    leaves the weights in `model`."""
    rows, heldout = make.corpus.split()
    schedule = Schedule(make, rows, args)
    soft = SoftTargets(args.soft_targets, make.tokenizer, args) if args.soft_targets else None
    wsd = args.schedule == "wsd"
    steps = args.steps or (None if args.minutes or wsd else schedule.steps)
    optimizer = make_optimizer(model)
    at = Position(**state["position"]) if state else Position()
    if state:
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"][0])
        torch.cuda.set_rng_state_all(state["random"][1:])
    loader = torch.utils.data.DataLoader(
        schedule, batch_size=None, sampler=range(at.step, steps) if steps else itertools.count(at.step),
        num_workers=args.workers, pin_memory=args.device == "cuda", generator=torch.Generator(),
    )  # fmt: skip
    compute = torch.compile(scores, dynamic=True) if args.compile else scores
    columns = ("{task.percentage:3.0f} %", BarColumn(), TimeElapsedColumn(), "<", TimeRemainingColumn())
    bar = Progress(*columns, "{task.description}")
    task = bar.add_task("", total=1.0)
    losses: list[torch.Tensor] = []

    def report() -> None:
        line = {"step": at.step, "minutes": at.seconds / 60, "tokens": at.tokens}
        line |= evaluate(model, make, heldout, args)
        line |= {"train_loss": torch.stack(losses).mean().item()} if losses else {}
        at.history.append({name: round(value, 4) for name, value in line.items()})
        text = "  ".join(f"{name} {value}" for name, value in at.history[-1].items())
        bar.console.print(text, highlight=False, soft_wrap=True)
        losses.clear()

    with bar:
        if not state:
            report()
        model.train()
        began, seconds_before, tokens_before = time.monotonic() - at.seconds, at.seconds, at.tokens
        for batch in loader:
            by_steps = (at.step + 1) / (steps + 1) if steps else 0.0
            done = max(by_steps, at.seconds / 60 / args.minutes if args.minutes else 0.0)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = constant_rate(at.step, args) if wsd else learning_rate(done, args)
            at.tokens += int(batch["attention_mask"].sum())
            batch = {name: values.to(args.device, non_blocking=True) for name, values in batch.items()}
            parts, _ = losses_and_scores(compute, model, batch, args)
            loss = parts[0] + sum(args.relation_weight * part for part in parts[1:])
            optimizer.zero_grad()
            loss.backward()
            if soft:
                prompts = {name: values.to(args.device) for name, values in soft[at.step].items()}
                with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
                    logits, _ = compute(model, prompts)
                (args.soft_weight * soft_loss(logits.float(), prompts, args.lean_weight)).backward()
                at.tokens += int(prompts["attention_mask"].sum())
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.detach())
            at.step, at.seconds = at.step + 1, time.monotonic() - began
            if at.step % 10 == 0:  # not at each step, as reading the loss makes a GPU wait
                speed = (at.tokens - tokens_before) / (at.seconds - seconds_before)
                text = f"step {at.step}, loss {loss.item():.3f}, {speed:,.0f} tokens/s"
                bar.update(task, completed=done, description=text)
            if at.step % args.eval_every == 0:
                report()
            if at.step % args.save_every == 0:
                now = {"position": asdict(at), "settings": settings, "optimizer": optimizer.state_dict()}
                save_checkpoint(args.out, model, make.tokenizer, args.keep, now)
        if at.history[-1]["step"] != at.step:
            report()
    return at
