"""What a masked LM is worth to the tasks: sst2, trec, ag_news and reviews, without labels and with 16 of each.

    python scripts/measure_model.py DATA MODEL [MODEL...] [--choose]

DATA holds a folder for each task but `reviews`, which the package has. The settings are the defaults of `pet train`
with the embedded model, its learning rate among them, pattern p0, three seeds, 500 test texts, so a line of the table
is what a user would get with the model in its place. `--choose` scores training texts that are held out instead of the
test files: models are chosen by these, and reported by those.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pet_cli.data.rows import read_rows
from pet_cli.errors import UserError

TASKS = ("sst2", "trec", "ag_news", "reviews")
TUNINGS = ("zero_shot", "full")  # without labels, and what `pet train` does with them
SEEDS = (13, 21, 42)
HELD_OUT = 500  # or half of the training texts, where there are fewer
REVIEWS = Path(__file__).parents[1] / "pet_cli" / "embedded" / "reviews"

Scores = dict[tuple[str, str], list[float]]


def held_out(source: Path, folder: Path) -> Path:
    """A folder with the training rows of `source` as a train and a test file."""
    rows = [row for _, row in read_rows(source / "train.jsonl")]
    random.Random(0).shuffle(rows)
    number = min(HELD_OUT, len(rows) // 2)
    folder.mkdir(parents=True)
    for name, part in {"test": rows[:number], "train": rows[number:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return folder


def overrides(model: Path, task: str, data: Path) -> list[str]:
    """The runs of one task, as `pet train -m` takes them: the embedded model's settings, with other weights."""
    return [f"task={task}", f"data.path={data}", "model=embedded", f"model.name={model}", f"tuning={','.join(TUNINGS)}",
            f"seed={','.join(map(str, SEEDS))}", "data.max_test=500", "baseline=false", "save_model=never"]  # fmt: skip


def measure(model: Path, data: dict[str, Path], tasks: Sequence[str], folder: Path) -> Scores:
    """(task, tuning): the scores [seeds], from a sweep of `pet train` for each task.

    Raises:
        SystemExit: a sweep failed, which has said why.
    """
    found: Scores = {}
    for task in tasks:
        sweep = folder / task
        own = [*overrides(model, task, data[task]), f"hydra.sweep.dir={sweep}"]
        command = [sys.executable, "-m", "pet_cli", "train", "-m", *own]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit(f"measure_model: {' '.join(command[3:])} failed")
        for tuning in TUNINGS:
            files = sorted(sweep.glob(f"*tuning={tuning},*/metrics.json"))
            found[task, tuning] = [json.loads(file.read_text())["score"] for file in files]
    return found


def row(name: str, scores: Scores) -> str:
    """A line of a Markdown table: mean ± standard deviation of each cell, and the mean of all."""
    cells = [f"{statistics.mean(cell):.3f} ± {statistics.stdev(cell):.3f}" for cell in scores.values()]
    return f"| {' | '.join([name, *cells, f'{statistics.mean(map(statistics.mean, scores.values())):.3f}'])} |"


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the table, a line as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="measure_model", description=str(__doc__).partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with sst2, trec and ag_news, each with train and test.jsonl")
    parser.add_argument("models", type=Path, nargs="+", help="model folders")
    parser.add_argument("--choose", action="store_true", help="score held-out training texts, not the test files")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS, help="default: all four")
    args = parser.parse_args(argv)
    sources = {task: REVIEWS if task == "reviews" else args.data / task for task in args.tasks}
    with tempfile.TemporaryDirectory() as folder:
        if args.choose:
            try:
                sources = {task: held_out(source, Path(folder) / "data" / task) for task, source in sources.items()}
            except UserError as error:
                raise SystemExit(f"measure_model: {error}") from None
        heads = [f"{task}, {number}" for task in args.tasks for number in (0, 16)]
        print(f"| {' | '.join(['model', *heads, 'mean'])} |\n|{'---|' * (len(heads) + 2)}", flush=True)
        for number, model in enumerate(args.models):
            scores = measure(model.resolve(), sources, args.tasks, Path(folder) / f"sweep{number}")
            print(row(model.name, scores), flush=True)


if __name__ == "__main__":
    main()
