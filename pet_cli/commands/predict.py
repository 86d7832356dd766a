"""`pet predict`: labels for new texts, from a finished run of any kind.

Texts are read, asked and written in a stream: whatever their number, a few thousand are in memory at once.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pet_cli.base.files import atomic
from pet_cli.base.progress import Progress
from pet_cli.config.schema import PetConfig
from pet_cli.data.examples import Example, Split
from pet_cli.data.fields import FieldReader, fields_of, has_text
from pet_cli.data.rows import read_rows
from pet_cli.data.tables import candidates
from pet_cli.errors import UserError
from pet_cli.runs import store
from pet_cli.runs.saved import saved_config
from pet_cli.tasks.readers import flat

Texts = dict[str, str]
Line = str | Mapping[str, Any]
"""A text, or a row as JSON."""


def predict(run: str, file: str | None, texts: list[str] | None, output: str | None, choice: Sequence[str] = ()) -> int:
    """Prints or writes one JSON object for each text, in their order: predicted label and probabilities.

    Args:
        choice: a rule, and what is given of the run that it chose (`["cv", "seed=13"]`), where `run` is a sweep.
    """
    from pet_cli import methods

    folder = winner(Path(run), choice) if choice else Path(run)
    inputs = chunks(read_inputs(saved_config(folder), file, texts), methods.CHUNK)
    first = next(inputs, None)  # what is wrong with the input shows before a model is loaded
    if first is None:
        given = f"{file} has no rows" if file else "give --text, --file, or lines on standard input"
        raise UserError(f"Nothing to predict: {given}.")
    method = methods.load(folder)
    progress = Progress(enabled=None if output or not sys.stdout.isatty() else False)
    asked = empty = 0
    with answers_to(output) as write, progress.stage("predict", None) as advance:
        for part in itertools.chain([first], inputs):
            split = Split("texts", tuple(part), kept=False)
            probabilities = store.softmax(method.predict(split))
            for example, told in zip(part, store.answers(method.target, probabilities, split.candidates), strict=True):
                write({**example.fields, **told})
                empty += not has_text(example.fields)
            asked += len(part)
            advance(len(part))
    if empty:
        print(f"pet: {empty} of {asked} texts are empty.", file=sys.stderr)
    return 0


def winner(sweep: Path, choice: Sequence[str]) -> Path:
    """The folder that a rule chose, as the command line names both."""
    from pet_cli.choice import winners

    rule, *rest = choice
    for one in rest:
        if "=" not in one:
            raise UserError(f"--choice {rule} {one}: write KEY=VALUE, such as seed=13.")
    return winners.winner(sweep, rule, {key: value for key, _, value in (one.partition("=") for one in rest)})


def chunks(inputs: Iterable[Example], size: int) -> Iterator[list[Example]]:
    """The inputs in their order, at most `size` at a time."""
    rest = iter(inputs)
    while part := list(itertools.islice(rest, size)):
        yield part


@contextlib.contextmanager
def answers_to(output: str | None) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields what writes one answer as a line of JSON: to a file, whole or not at all, or to standard output.

    Characters that standard output's encoding lacks, and halves of surrogate pairs, are written as JSON's escapes.
    """
    if output is None:
        if sys.stdout is None or sys.stdout.closed:
            raise UserError("Standard output is closed; give --output FILE.")
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        yield lambda row: print(json_line(row, encoding))
        sys.stdout.flush()
        return
    with atomic(Path(output).expanduser()) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        yield lambda row: print(json_line(row, "utf-8"), file=out)


def json_line(row: Mapping[str, Any], encoding: str) -> str:
    """A row as JSON in characters that an encoding has."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return json.dumps(row)
    return line


def read_inputs(config: PetConfig, file: str | None, texts: Sequence[str] | None) -> Iterator[Example]:
    """The texts to label, with their candidates where the task asks which of an example's own is right: one example
    for each row of the file or line of standard input, and for each part of a nested one (`task.reader`).

    A line or row without text is asked like an empty text, so that answers match lines.
    """
    if file and texts:
        raise UserError("--file and --text: give one of them.")

    def example(number: int, place: str, row: object, fields: Texts) -> Example:
        raw = row if isinstance(row, Mapping) else fields
        return Example(number, fields, None, candidates(raw, config.task, place))

    if texts:
        fields = fields_of(config.task, texts)
        yield example(0, "--text", fields, fields)
        return
    reader = FieldReader(config.task, config.data)
    if file is None:
        lines = ((place, _read_line(line)) for place, line in standard_input())
        for number, (place, given) in enumerate(_parts(config.task.reader, lines)):
            yield example(number, place, given, reader.read_text(given, place))
        return
    rows = flat(config.task.reader, read_rows(Path(file).expanduser(), config.data.separator))
    for number, (place, row) in enumerate(rows):
        if number == 0:
            reader.check(row, file)
        yield example(number, place, row, reader.read(row, place))


def _parts(reader: str | None, lines: Iterable[tuple[str, Line]]) -> Iterator[tuple[str, Line]]:
    """The lines, those that are rows through the task's reader."""
    for place, given in lines:
        if isinstance(given, dict):
            yield from flat(reader, [(place, given)])
        else:
            yield place, given


def standard_input() -> Iterator[tuple[str, str]]:
    """The lines of standard input, each with its place for messages.

    Raises:
        UserError: it is closed, or a terminal where nobody typed yet, or not UTF-8.
    """
    stream = sys.stdin
    if stream is None or stream.closed:
        raise UserError("Standard input is closed: give --text, --file, or lines on standard input.")
    if stream.isatty():
        raise UserError("Nothing to predict: give --text, --file, or lines on standard input.")
    for number, line in enumerate(getattr(stream, "buffer", stream), start=1):
        place = f"standard input, line {number}"
        if isinstance(line, bytes):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise UserError(f"{place}: not UTF-8. Convert the text to UTF-8.") from None
        yield place, line.rstrip("\r\n")


def _read_line(line: str) -> str | dict[str, Any]:
    """A line of standard input: the text itself, or a JSON object where the task has several fields."""
    if line.lstrip().startswith("{"):
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                return row
    return line.strip()
