"""Index pages of recordings and corpora: one row a clip, sorted and filtered in the browser, failures first."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from bimodal.models.emotions import SEVEN, EmotionSet
from bimodal.recordings.films import films_of
from bimodal.recordings.parts import replace_text
from bimodal.recordings.reading import Clip
from bimodal.recordings.recording import RecordError, describe
from bimodal.recordings.report.charts import clock
from bimodal.recordings.report.colours import stylesheet
from bimodal.recordings.report.statistics import Tally
from bimodal.recordings.report.tracks import css_of

INDEX = "index.html"

# The page, in pieces: whoever writes many rows writes them one after another.

STYLE = """
:root {
  color-scheme: light dark; font: 15px/1.45 system-ui, "Segoe UI", sans-serif;
  --ink: #1c2026; --soft: #565e69; --line: #d9dde2; --ground: #fff; --card: #f5f6f8;
  --bad: #a40000; --badground: #fdeceb;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7eaee; --soft: #a5aeb9; --line: #333a43; --ground: #14171b; --card: #1c2127; --bad: #ff9a9a;
    --badground: #331a1a; }
}
body { margin: 2rem auto; max-width: 86rem; padding: 0 1rem; background: var(--ground); color: var(--ink); }
h1 { font-size: 24px; margin: 0 0 .3rem; overflow-wrap: anywhere; }
p { color: var(--soft); margin: .3rem 0; }
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .8rem 0; }
input[type=search] { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--soft);
  border-radius: 7px; padding: .3rem .6rem; width: min(22rem, 100%); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .6rem; vertical-align: middle; }
thead th { position: sticky; top: 0; background: var(--ground); color: var(--soft); font-size: 13px; }
tbody tr { border-bottom: 1px solid var(--line); }
tbody tr:hover { background: var(--card); }
a { color: inherit; text-underline-offset: 2px; }
th button { all: unset; cursor: pointer; font-weight: 600; white-space: nowrap; }
th button:focus-visible, a:focus-visible, input:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " ↑"; } th[aria-sort=descending] button::after { content: " ↓"; }
td.number { text-align: right; }
td img { display: block; width: 64px; height: 48px; object-fit: cover; border-radius: 4px; background: var(--card); }
tr.failed { background: var(--badground); } tr.failed td { color: var(--bad); }
.shares { display: flex; width: 120px; height: 12px; border-radius: 3px; overflow: hidden; background: var(--card); }
.shares i { background: var(--it); }
""" + stylesheet()

SCRIPT = """<script>
const table = document.querySelector("table"), body = table.tBodies[0], form = document.querySelector("form");
const [search, only] = form.elements, failed = [...body.querySelectorAll("tr.failed")];
body.prepend(...failed);
form.hidden = false;
only.parentElement.hidden = !failed.length;
only.nextElementSibling.textContent = `only the ${failed.length} of ${body.rows.length} that failed`;
const show = () => {
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = (only.checked && row.className !== "failed") || !words.every(word => text.includes(word));
  }
  const count = [...body.rows].filter(row => !row.hidden).length;
  form.querySelector("output").textContent = count < body.rows.length ? `${count} of ${body.rows.length}` : "";
};
form.addEventListener("input", show);
form.addEventListener("submit", event => event.preventDefault());
table.querySelectorAll("thead th").forEach((head, place) => head.firstChild.addEventListener("click", () => {
  const up = head.getAttribute("aria-sort") !== "ascending";
  table.querySelectorAll("thead th").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const of = row => row.cells[place].dataset.n === undefined ? row.cells[place].textContent : +row.cells[place].dataset.n;
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(b, undefined, {numeric: true});
  [...body.rows].sort((a, b) => (up ? 1 : -1) * order(of(a), of(b))).forEach(row => body.append(row));
}));
</script>"""  # noqa: E501


def page_head(title: str, columns: Sequence[str], note: str) -> str:
    """The page up to its first row.

    Args:
        note: HTML below the title.
    """
    name = html.escape(title)
    heads = "".join(f'<th scope="col"><button type="button">{html.escape(one)}</button></th>' for one in columns)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}: clips</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<main><h1>{name}</h1><p>{note}</p>"
        '<form hidden><input type="search" aria-label="Filter" placeholder="a name, an emotion, a word">'
        '<label hidden><input type="checkbox"> <span>only what failed</span></label><output></output></form>'
        '<div class="scroll" tabindex="0" role="group" aria-label="Clips">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n"
    )


def page_end(note: str = "") -> str:
    """The page after its last row; `note` is HTML."""
    return f"</tbody></table></div>{note}</main>{SCRIPT}</body></html>\n"


def number_cell(value: float, text: str | None = None) -> str:
    """A cell with a number, which is sorted by its value."""
    return f'<td class="number" data-n="{value}">{html.escape(str(value) if text is None else text)}</td>'


def text_cell(text: str | None) -> str:
    """A cell with text."""
    return f"<td>{html.escape(text or '')}</td>"


def shares_cell(shares: Mapping[str, float], about: EmotionSet = SEVEN) -> str:
    """A cell with a small bar of shares of time by emotion of a set, sorted by the largest of them."""
    if not shares:
        return "<td></td>"
    order = sorted(shares.items(), key=lambda item: -item[1])
    words = html.escape(", ".join(f"{label} {share:.0%}" for label, share in order if share >= 0.005))
    bars = "".join(f'<i class="{css_of(label, about)}" style="flex:{share:.3f}"></i>' for label, share in order)
    return f'<td data-n="{order[0][1]:.3f}"><div class="shares" role="img" aria-label="{words}" title="{words}">{bars}</div></td>'  # noqa: E501


# The index of a folder of recordings


class Entry(NamedTuple):
    """One clip of the index.

    Attributes:
        report: its report, relative to the index; None where there is none.
        tally: its statistics; None where it could not be read.
        problem: why it has failed, or what is wrong with it, in a sentence.
        recorded: when, as text.
    """

    clip: Clip
    report: str | None = None
    tally: Tally | None = None
    problem: str | None = None

    @property
    def recorded(self) -> str:
        session = self.clip.session
        return "" if session is None else session.started[:16].replace("T", " ")


COLUMNS = ("clip", "recorded", "length", "frames", "faces", "emotion", "shares", "unknown", "film", "what is wrong")


def write_index(folder: Path, entries: Iterable[Entry], now: datetime) -> Path:
    """Write FOLDER/index.html and return its path. Raises RecordError where it can't be written."""
    path = folder / INDEX
    note = f"One row a recording; made {now:%Y-%m-%d %H:%M}. A click on a column's name sorts by it."
    rows = "".join(_row(folder, entry) for entry in entries)
    try:
        replace_text(path, (page_head(folder.resolve().name, COLUMNS, note) + rows + page_end()).encode())
    except OSError as error:
        raise RecordError(describe(error, path)) from error
    return path


def _row(folder: Path, entry: Entry) -> str:
    name, tally = html.escape(entry.clip.name), entry.tally
    linked = f'<a href="{quote(entry.report)}">{name}</a>' if entry.report is not None else name
    cells = [f"<td>{linked}</td>", text_cell(entry.recorded)]
    if tally is None:
        cells += ["<td></td>"] * (len(COLUMNS) - 3)
    else:
        seconds = tally.span[1] - tally.span[0] if tally.span is not None else 0.0
        labels = tally.labels["fused"]
        shares = {label: count / labels.total() for label, count in labels.items()}
        dominant = labels.most_common(1)[0][0] if labels else "unknown"
        unknown = tally.unknown.total() / (tally.frames or 1)
        cells += [
            number_cell(round(seconds, 3), clock(seconds)),
            number_cell(tally.frames, f"{tally.frames:,}"),
            number_cell(len(tally.tracks)),
            text_cell(dominant),
            shares_cell(shares, tally.emotions),
            number_cell(round(unknown, 4), f"{unknown:.0%}"),
            _film_cell(folder, entry.clip),
        ]
    problem = entry.problem or (f"{tally.failed} frames failed" if tally is not None and tally.failed else None)
    return f'<tr class="{"failed" if problem else "done"}">{"".join(cells)}{text_cell(problem)}</tr>\n'


def _film_cell(folder: Path, clip: Clip) -> str:
    films = films_of(clip)
    if not films:
        return "<td></td>"
    place = films[0].path.relative_to(folder) if films[0].path.is_relative_to(folder) else films[0].path
    more = f" (of {len(films)})" if len(films) > 1 else ""
    return f'<td><a href="{quote(place.as_posix())}">film</a>{more}</td>'
