"""Nested rows as flat ones: what `task.reader` names. A new reader is one function and one entry of `READERS`.

A row that is flat already (the same data set from the hub) passes as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pet_cli.errors import UserError, not_allowed

Row = Mapping[str, Any]


def multirc(row: Row) -> Iterator[Row]:
    """MultiRC as SuperGLUE's files have it (Wang et al. 2019): a passage with questions, each with several answers.

    One row for each answer: paragraph, question, answer, label (none in hidden test sets) and idx, which names the
    passage, the question and the answer, as on the hub.
    """
    if "passage" not in row:
        yield row
        return
    passage = row["passage"]
    for place, question in enumerate(passage["questions"]):
        for number, answer in enumerate(question["answers"]):
            yield {
                "paragraph": passage["text"],
                "question": question["question"],
                "answer": answer["text"],
                "label": answer.get("label"),
                "idx": {
                    "paragraph": row.get("idx"),
                    "question": question.get("idx", place),
                    "answer": answer.get("idx", number),
                },
            }


READERS: dict[str, Callable[[Row], Iterable[Row]]] = {"multirc": multirc}


def check(name: str | None) -> None:
    """Raises `UserError` for a reader that nobody knows."""
    if name is not None and name not in READERS:
        raise not_allowed("task.reader", name, READERS)


def flat(name: str | None, rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    """Rows, each with its place for messages, through a reader; None leaves them as they are.

    Raises:
        UserError: a row that is not what the reader reads, with its place.
    """
    if name is None:
        yield from rows
        return
    for place, row in rows:
        try:
            parts = list(READERS[name](row))
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{place}: not a row that task.reader={name} reads ({type(error).__name__}: {error})."
            ) from None
        yield from ((place if len(parts) == 1 else f"{place}, part {n}", part) for n, part in enumerate(parts, start=1))
