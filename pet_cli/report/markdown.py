"""A report as Markdown; its pictures are the files beside it."""

from __future__ import annotations

import re

from pet_cli.report.document import Block, Bullets, Code, Document, Figures, Table, Text


def render(document: Document) -> str:
    lines = [f"# {escape(document.title)}", "", escape(document.lead), ""]
    lines += [f"- {escape(item)}" for item in document.short]
    for section in document.sections:
        lines += ["", f"## {escape(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block)]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text on one line that Markdown leaves as it is, also inside a table."""
    return re.sub(r"([\\`*_\[\]<>|#~$]|&(?=#?\w+;))", r"\\\1", " ".join(text.split()))


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [f"*{escape(block.text)}*" if block.note else escape(block.text)]
    if isinstance(block, Bullets):
        return [f"- {escape(item)}" for item in block.items]
    if isinstance(block, Code):
        return ["```sh", block.text, "```"]
    if isinstance(block, Figures):
        lines = []
        for picture in block.pictures:
            lines += [f"![{escape(picture.alt)}]({picture.name}.png)", "", f"*{escape(picture.caption)}*", ""]
        for table in block.tables:
            lines += [*_table(table), ""]
        return lines[:-1]
    return _table(block)


def _table(table: Table) -> list[str]:
    rule = "|".join("---:" if column in table.numeric else "---" for column in range(len(table.columns)))
    lines = [escape(table.title), ""] if table.title else []
    lines += [_row(table.columns), f"|{rule}|"]
    for number, row in enumerate(table.rows):
        lines.append(_row(row, strong=number in table.strong))
    return lines


def _row(cells: tuple[str, ...], strong: bool = False) -> str:
    mark = "**" if strong else ""
    return "| " + " | ".join(f"{mark}{escape(cell)}{mark}" if cell.strip() else " " for cell in cells) + " |"
