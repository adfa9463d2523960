"""The report as one HTML file without scripts, fonts or links; the figures are inline SVG."""

import html
from collections.abc import Iterable
from pathlib import Path

from llm_jax.files import write as write_file
from train.parity.report import plots
from train.parity.report.terminal import number
from train.parity.report.values import Group, Report
from train.parity.verdict import ROUNDING, SUSPICIOUS, Row

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --muted: #667085; --line: #e4e7ec; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.5rem 4rem; color: var(--ink); background: #fff;
       font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.6rem 0 .5rem; }
p { max-width: 46rem; } .muted, figcaption, th { color: var(--muted); }
.conclusion { border-left: 4px solid; padding: .5rem .9rem; background: #f8fafc; margin: 1.2rem 0; }
.passed { border-color: #15803d; } .failed { border-color: #b91c1c; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13px; }
th { font-weight: 500; text-align: right; border-bottom: 1px solid var(--line); padding: .25rem .5rem; }
td { padding: .18rem .5rem; border-bottom: 1px solid #f2f4f7; text-align: right; white-space: nowrap; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { color: var(--muted); white-space: normal; }
tr.section td { font-weight: 600; padding-top: .9rem; border-bottom: 1px solid var(--line); }
.verdict { border-radius: 1rem; padding: 0 .55rem; font-size: 12px; font-weight: 600; white-space: nowrap; }
.equal, .rounding, .held { background: #dcfce7; color: #14532d; } .suspicious { background: #fef3c7; color: #78350f; }
.wrong, .broken { background: #fee2e2; color: #7f1d1d; }
td.wrap { white-space: normal; }
figure { margin: 1rem 0; } svg { display: block; max-width: 100%; height: auto; } summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: 13px; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; } .wide { overflow-x: auto; }
@media (max-width: 44rem) { body { padding: 1.2rem 1rem 3rem; } .wide svg { max-width: none; height: auto; } }
"""

HEADINGS = (
    *("", "difference", "relative", "ulp, ours", "theirs", "yardsticks, ours", "theirs", "verdict"),
)  # fmt: skip


def write(report: Report, path: Path) -> None:
    """Writes the page to `path`, which exists only when it is whole."""
    write_file(path, render(report))


def render(report: Report) -> str:
    """The page as HTML."""
    setup = report.setup
    title = f"JAX and PyTorch: {setup['model']}, {setup['dtype']}"
    passed = "passed" if report.passed else "failed"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{_text(title)}</title><style>{STYLE}</style></head><body>
<h1>{_text(title)}</h1>
<div class="muted">{_text(setup["parameters"])} parameters · {_text(setup["batch"])} · {_text(setup["versions"])}</div>
<div class="conclusion {passed}">{_text(report.conclusion())}.</div>
{_promises(report)}
<h2>Error through the model</h2>
<figure><div class="wide">{plots.error_through_the_model(report)}</div>
<figcaption>Norm of each side's distance to PyTorch in float64, divided by the
norm of the true value, from the embedding to the loss. The yardstick is the error that rounding to
{_text(setup["dtype"])} causes at each point.</figcaption></figure>
<h2>Gradient of every parameter</h2>
<figure><div class="wide">{plots.gradients_by_parameter(report)}</div>
<figcaption>One dot for each block and side. Rounding explains errors below {ROUNDING:g}
yardsticks; an error above {SUSPICIOUS:g} is a mistake.</figcaption></figure>
<h2>Training</h2>
<figure><div class="wide">{plots.curves(report)}</div>
<figcaption>{_text(setup["curve"])}: the same tokens, the same learning rates. Training
amplifies rounding errors. The yardstick here is the distance to float64 of another run that rounds to
{_text(setup["dtype"])}.</figcaption></figure>
<h2>Table</h2>
<p class="muted">Difference: ours to theirs, the largest element, absolute and relative to max(|element|, root mean
square). Ulp: each side to float64, in units in the last place. Yardsticks: the norm of each side's error divided by
what rounding explains; up to {ROUNDING:g} is rounding, up to {SUSPICIOUS:g} suspicious, above it wrong. Each line shows
the worst tensor of its kind.</p>
<div class="wide">{_table(_grouped(report))}</div>
<details><summary>All {len(report.rows)} rows</summary><div class="wide">{_table(_all(report))}</div></details>
<h2>Setup</h2>
<dl>{"".join(f"<dt>{_text(key)}</dt><dd>{_text(value)}</dd>" for key, value in setup.items())}</dl>
</body></html>
"""


def _promises(report: Report) -> str:
    if not report.promises:
        return ""
    lines = "".join(
        f'<tr><td class="wrap">{_text(promise.text)}</td>'
        f"<td>{number(promise.bound)}</td><td>{number(promise.measured)}</td>"
        f"<td>{_badge('held' if promise.held else 'broken')}</td></tr>"
        for promise in report.promises
    )
    return f"<h2>Promises</h2><table><tr><th></th><th>bound</th><th>measured</th><th></th></tr>{lines}</table>"


def _grouped(report: Report) -> Iterable[tuple[str, str, Row, str]]:
    for group in report.groups():
        yield group.section, group.name, group.worst, _where(group)


def _all(report: Report) -> Iterable[tuple[str, str, Row, str]]:
    for row in report.rows:
        yield row.section, row.name, row, row.note


def _table(lines: Iterable[tuple[str, str, Row, str]]) -> str:
    """(section, name, row, remark) as an HTML table with a heading for each section."""
    headings = "".join(f"<th>{heading}</th>" for heading in HEADINGS) + '<th class="text"></th>'
    parts, current = [f"<table><tr>{headings}</tr>"], ""
    for section, name, row, remark in lines:
        if section != current:
            parts.append(f'<tr class="section"><td colspan="{len(HEADINGS) + 1}">{_text(section)}</td></tr>')
            current = section
        values = (
            row.largest_absolute,
            row.largest_relative,
            row.ours.ulps,
            row.theirs.ulps,
            row.ours.yardsticks,
            row.theirs.yardsticks,
        )
        cells = "".join(f"<td>{number(value)}</td>" for value in values)
        parts.append(
            f'<tr><td>{_text(name)}</td>{cells}<td>{_badge(row.verdict)}</td><td class="text">{_text(remark)}</td></tr>'
        )
    return "".join([*parts, "</table>"])


def _where(group: Group) -> str:
    return "; ".join(part for part in (group.where, group.worst.note) if part)


def _badge(word: str) -> str:
    return f'<span class="verdict {word}">{word}</span>'


def _text(value: object) -> str:
    return html.escape(f"{value:,}" if isinstance(value, int) else str(value))
