"""`pet report`: one page of tables and plots from the folders of sweeps and runs.

The page needs no network and no file beside it; the same goes into report.md, the table into table.tex, every plot
into a PNG and an SVG file. Equal runs make equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pet_cli.base.files import atomic, write_text


def write_report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Writes a report of all runs below the folders.

    Args:
        out: the folder to write into; `report` in the first of the folders where it is not given.

    Returns:
        The path of the page.

    Raises:
        UserError: no finished run below a folder, or a damaged one.
    """
    # matplotlib is loaded here: whoever trains without a report does not wait for it.
    from pet_cli.report import latex, markdown, page
    from pet_cli.report.runs import read_study
    from pet_cli.report.sections import document, result_table

    study = read_study(folders)
    report = document(study)
    out = folders[0] / "report" if out is None else out
    for picture in report.pictures():
        for mark, drawn in (("", (picture.svg, picture.png)), ("-dark", picture.dark)):
            if drawn is not None:
                write_text(out / f"{picture.name}{mark}.svg", drawn[0])
                with atomic(out / f"{picture.name}{mark}.png") as temporary:
                    temporary.write_bytes(drawn[1])
    write_text(out / "table.tex", latex.table(result_table(study)))
    write_text(out / "report.md", markdown.render(report))
    write_text(out / "index.html", page.render(report))
    return out / "index.html"


def command(folders: Sequence[str], output: str | None = None) -> int:
    """`pet report FOLDER…`: writes the report and prints where its page is."""
    page = write_report([Path(folder) for folder in folders], Path(output) if output is not None else None)
    print(page)
    return 0
