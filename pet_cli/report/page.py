"""A report as one HTML page that needs nothing beside it: styles and drawings inside, no script, no network."""

from __future__ import annotations

from html import escape

from pet_cli.report import drawing
from pet_cli.report.document import Block, Bullets, Code, Document, Figures, Picture, Section, Table, Text

_LIGHT = " ".join(f"--c{number}: {colour};" for number, colour in enumerate(drawing.COLOURS))
_DARK = " ".join(f"--c{number}: {colour};" for number, colour in enumerate(drawing.DARK_COLOURS))
_SERIES = f"""\
:root {{ {_LIGHT} --on: #ffffff; }}
@media (prefers-color-scheme: dark) {{ :root {{
  {_DARK} --on: {drawing.DARK[drawing.ON_BAR]}; }} }}
"""
_BROAD = 800
_STYLE = """\
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2933; --muted: #5d6873; --line: #dde2e7;
  --soft: #f5f7f9; --accent: #2f5f93; --tint: 68, 119, 170; }
@media (prefers-color-scheme: dark) { :root { --paper: #15191e; --ink: #e3e8ed; --muted: #9ca8b4; --line: #333b44;
  --soft: #1d2329; --accent: #8ab4e0; --tint: 95, 150, 205; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI",
  Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p, ul { max-width: 46rem; margin: .6rem 0; overflow-wrap: anywhere; }
.lead, .note, figcaption { color: var(--muted); }
.note, figcaption { font-size: .875rem; }
.title { margin: 1.25rem 0 -.5rem; }
.short { background: var(--soft); border-left: 4px solid var(--accent); padding: .75rem 1rem .75rem 2rem;
  max-width: none; }
nav { font-size: .9rem; margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
a { color: var(--accent); }
.scroll { overflow-x: auto; margin: 1rem 0; max-width: 100%;
  /* A shadow at the side where there is more: the covers scroll along with the table, the shadows do not. */
  background: linear-gradient(to right, var(--paper) 40%, transparent) left / 2rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 40%, transparent) right / 2rem 100% no-repeat local,
    linear-gradient(to right, rgba(100, 115, 130, .35), transparent) left / .6rem 100% no-repeat scroll,
    linear-gradient(to left, rgba(100, 115, 130, .35), transparent) right / .6rem 100% no-repeat scroll; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .32rem .8rem .32rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  max-width: 22rem; }
th { font-weight: 600; border-bottom-color: var(--muted); vertical-align: bottom; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
th.n { max-width: 9rem; }
td.w { min-width: 15rem; max-width: 40rem; overflow-wrap: anywhere; }
td.l { min-width: 9rem; }
td.s { padding-left: .6rem; padding-right: .6rem; }
tr.strong td { font-weight: 600; background: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1.25rem 2.5rem; margin: 1rem 0; align-items: flex-start; }
.figures .table { flex: 0 1 auto; min-width: 0; max-width: 100%; }
.figures .scroll { margin: 0; }
figure { margin: 0; flex: 0 1 auto; min-width: 0; max-width: 100%; }
figure svg { display: block; width: 100%; height: auto; }
figure > div { overflow-x: auto; }
figure.broad svg { min-width: 46rem; }  /* what holds two panels scrolls rather than shrink beyond reading */
figcaption { max-width: 34rem; margin-top: .3rem; overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .75rem 1rem; margin: 1rem 0; font-size: .85rem; line-height: 1.5;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  main { padding: 1rem 1rem 3rem; }
  ul { padding-left: 1.2rem; }
  .short { padding-left: 1.6rem; }
  table { font-size: .82rem; }
  th, td { padding-right: .6rem; }
}
@media print { nav { display: none; } .scroll { overflow: visible; } }
"""


def render(document: Document) -> str:
    """The page. Needs no network and runs nothing."""
    links = "\n".join(f'<a href="#{one.anchor}">{escape(one.title)}</a>' for one in document.sections)
    short = "\n".join(f"<li>{escape(item)}</li>" for item in document.short)
    sections = "\n".join(_section(section) for section in document.sections)
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(document.title)}</title>
<style>
{_SERIES}{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>{escape(document.title)}</h1>
<p class="lead">{escape(document.lead)}</p>
<ul class="short">
{short}
</ul>
<nav aria-label="Sections">
{links}
</nav>
</header>
{sections}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    blocks = "\n".join(_block(block) for block in section.blocks)
    return (
        f'<section id="{section.anchor}" aria-labelledby="{section.anchor}-title">\n'
        f'<h2 id="{section.anchor}-title">{escape(section.title)}</h2>\n{blocks}\n</section>'
    )


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return f'<p class="note">{escape(block.text)}</p>' if block.note else f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>\n" + "\n".join(f"<li>{escape(item)}</li>" for item in block.items) + "\n</ul>"
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>"
    if isinstance(block, Figures):
        parts = [*map(_figure, block.pictures), *map(_table, block.tables)]
        return '<div class="figures">\n' + "\n".join(parts) + "\n</div>"
    return _table(block)


def _figure(picture: Picture) -> str:
    drawn = drawing.embedded(picture)
    broad = ' class="broad"' if picture.width > _BROAD else ""
    return (
        f'<figure{broad} style="width:{picture.width}px">'
        f'<div role="img" aria-label="{escape(picture.alt)}">{drawn}</div>\n'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _table(table: Table) -> str:
    head = "".join(_cell("th", table, None, i, cell) for i, cell in enumerate(table.columns))
    body = []
    for number, row in enumerate(table.rows):
        cells = "".join(_cell("td", table, number, i, cell) for i, cell in enumerate(row))
        body.append(f'<tr class="strong">{cells}</tr>' if number in table.strong else f"<tr>{cells}</tr>")
    title = f'<p class="note title">{escape(table.title)}</p>\n' if table.title else ""
    name = escape(table.title or ", ".join(table.columns))
    rows = "\n".join(body)
    return (
        f'<div class="table">{title}<div class="scroll" role="region" tabindex="0" aria-label="Table: {name}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div></div>"
    )


def _cell(tag: str, table: Table, row: int | None, column: int, text: str) -> str:
    classes = [mark for mark, columns in (("n", table.numeric), ("w", table.wide)) if column in columns]
    if tag == "td" and not classes and len(text) > 16:
        classes.append("l")
    style = ""
    if row is not None and (row, column) in table.shade:
        classes.append("s")
        style = f' style="background:rgba(var(--tint),{0.75 * table.shade[row, column]:.2f})"'
    mark = f' class="{" ".join(classes)}"' if classes else ""
    scope = ' scope="col"' if tag == "th" else ""
    return f"<{tag}{scope}{mark}{style}>{escape(text)}</{tag}>"
