"""The table of results for a paper."""

from __future__ import annotations

from pet_cli.report.document import Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\u00a0": "~",
    "–": "--",
    "…": r"\dots{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
}


def escape(text: str) -> str:
    return "".join(_SPECIAL.get(sign, sign) for sign in text)


def table(table: Table) -> str:
    """A tabular with the rules of the package booktabs; the strong rows in bold."""
    align = "".join("r" if column in table.numeric else "l" for column in range(len(table.columns)))
    lines = [
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _row(table.columns),
        r"\midrule",
        *(_row(row, number in table.strong) for number, row in enumerate(table.rows)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: tuple[str, ...], strong: bool = False) -> str:
    texts = [escape(cell) for cell in cells]
    if strong:
        texts = [rf"\textbf{{{text}}}" for text in texts]
    if texts[0].startswith(("[", "*")):  # the end of the line before would take it for its own
        texts[0] = f"{{}}{texts[0]}"
    return " & ".join(texts) + r" \\"
