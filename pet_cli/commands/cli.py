"""The command `pet`: which subcommand, and how errors end. Loads neither Hydra nor torch before they are needed."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from pet_cli.errors import UserError, not_allowed
from pet_cli.version import __version__

_TRAIN_HELP = """\
usage: pet train [-m] [--config-dir DIR] [KEY=VALUE ...]

Trains and evaluates, and writes a folder of results below outputs/.

  pet train                                               the embedded demo task
  pet train task=sst2 pattern=p1                          one run
  pet train -m task=sst2 pattern=p0,p1,p2 seed=13,21,42   a sweep: every combination, one summary
  pet train -m task=sst2 pattern=p0,p1 select=[cv,mi]     a sweep, and the run that each rule would choose
  pet train task=sst2 data.path=my/folder data.shots=64 tuning=head model.name=roberta-large
  pet train task=custom data.path=my.csv data.fields='{text: review}' data.label=stars \\
            template='{text} It was {mask}.' verbalizer='{1: terrible, 5: great}'
  pet train +experiment=smoke                             a random tiny model, a few steps

-m               sweep over every key that has several values
--config-dir DIR a folder of your own configs (task/NAME.yaml, model/NAME.yaml, ...)
--cfg job        print the composed configuration and stop

Groups and keys: conf/train.yaml. `pet list tasks | patterns TASK | models | tunings` shows what there is.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; the exit status: 0 done, 1 a failed run or a fault of ours, 2 a mistake of the user's."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):  # a character that a terminal or pipe lacks is shown by its number
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(f"pet: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        how = {"train": "go on with resume=true", "search": "the same command goes on"}.get("".join(arguments[:1]))
        print(f"pet: interrupted{f'; what had finished is kept ({how})' if how else ''}.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _dispatch(arguments: list[str]) -> int:
    if arguments and arguments[0] == "train":
        if any(flag in ("-h", "--help") for flag in arguments):
            print(_TRAIN_HELP, end="")
            return 0
        from pet_cli.commands.train import train

        return train(arguments[1:])
    parser = _parser()
    if not arguments:
        parser.print_help()
        return 0
    commands = ("train", "search", "show", "list", "predict", "ensemble", "report", "explain")
    if not arguments[0].startswith("-") and arguments[0] not in commands:
        raise not_allowed("command", arguments[0], commands)
    options, rest = parser.parse_known_args(arguments)
    if options.command == "search":
        from pet_cli.commands.search import search

        return search(options.what, [*options.overrides, *rest], options.config_dir)
    if rest and options.command != "show":
        raise UserError(f"{rest[0]}: unexpected; see pet {options.command} --help.")
    if options.command == "show":
        from pet_cli.commands.show import show

        return show(options.text, options.row, [*options.overrides, *rest], options.config_dir)
    if options.command == "list":
        from pet_cli.commands.listing import listing

        return listing(options.what, options.of, options.config_dir, options.found)
    if options.command == "ensemble":
        from pet_cli.commands.ensemble import recombine

        return recombine(options.runs, options.combine, options.weights, options.output)
    if options.command == "report":
        from pet_cli.report import command

        return command(options.folders, options.output)
    if options.command == "explain":
        from pet_cli.commands.explain import explain

        return explain(options.run, options.top)
    from pet_cli.commands.predict import predict

    return predict(options.run, options.file, options.text, options.output, options.choice)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pet", description="Prompt-based few-shot text classification with pretrained language models."
    )
    parser.add_argument("--version", action="version", version=f"pet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("train", help="train and evaluate: one run, or a sweep with -m (pet train --help)")
    search = commands.add_parser(
        "search",
        help="search for templates or label words, without looking at test data",
        description="Searches for templates or label words (pet list searches). Takes what pet train takes, and the "
        "group search. Writes a folder, hydra.run.dir=FOLDER; the same command goes on in it. "
        "Then: pet train found=FOLDER pattern=p0,f0,f1 -m",
    )
    search.add_argument("what", nargs="?", help="template, verbalizer")
    search.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for pet train; search=NAME, search.KEY=…")
    search.add_argument("--config-dir", help="a folder of your own configs")
    show = commands.add_parser("show", help="show what the model sees of a text, and what it predicts at the mask")
    show.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for pet train")
    show.add_argument("--text", action="append", help="a text; again for a second field, in the task's order")
    show.add_argument("--row", type=int, default=0, help="a row of the test data instead (default 0)")
    show.add_argument("--config-dir", help="a folder of your own configs")
    lists = commands.add_parser("list", help="list what there is: tasks, models, tunings, rungs, runs and so on")
    lists.add_argument("what", help="tasks, patterns, models, tunings, scorings, ensembles, searches, rungs, runs")
    lists.add_argument("of", nargs="?", help="tasks, patterns: this task; runs: below this folder (default outputs)")
    lists.add_argument("found", nargs="?", metavar="found=FOLDER", help="patterns: beside those that a search found")
    lists.add_argument("--config-dir", help="a folder of your own configs")
    predict = commands.add_parser(
        "predict",
        help="label new texts with a finished run",
        description="Label new texts with a finished run of any kind. Prints one JSON object for each text, in their "
        "order. Without --text and --file, each line of standard input is a text, or a JSON object of the task's "
        "fields; an empty line or row is answered like an empty text, so that answers match lines.",
    )
    predict.add_argument("run", help="the folder of a run, or with --choice of a sweep")
    predict.add_argument("--file", help="a jsonl, csv, tsv or parquet file with the task's columns")
    predict.add_argument("--text", action="append", help="a text; again for a second field, in the task's order")
    predict.add_argument("--output", help="write jsonl here instead of to standard output")
    predict.add_argument(
        "--choice",
        nargs="+",
        metavar=("RULE", "KEY=VALUE"),
        help="of a sweep: the run that this rule chose, and for which seed and so on: --choice cv seed=13",
    )
    ensemble = commands.add_parser("ensemble", help="combine finished runs, or an ensemble's members, again")
    ensemble.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs on the same test examples")
    ensemble.add_argument("--combine", default="probabilities", help="probabilities, logits, vote")
    ensemble.add_argument("--weights", default="uniform", help="uniform, confidence, or numbers such as 1,1,2")
    ensemble.add_argument("--output", help="write metrics and predictions into this folder")
    report = commands.add_parser("report", help="one page of tables and plots from sweeps or runs")
    report.add_argument("folders", nargs="+", metavar="FOLDER", help="folders of sweeps or runs")
    report.add_argument("--output", help="write here instead of into FOLDER/report")
    explain = commands.add_parser("explain", help="the vocabulary's words nearest to a trained prompt")
    explain.add_argument("run", help="the folder of a run")
    explain.add_argument("--top", type=int, default=5, help="words for each vector")
    return parser


def run() -> None:
    sys.exit(main())
