"""The directive `flowchart`: the README's Mermaid flowchart as an inline SVG, drawn when the site is built.

GitHub draws the flowchart by itself; a site that loads no script from elsewhere can't. Nodes, labels and arrows are the
README's; only the places of the boxes stand here. One node is the frame around those that its arrows point at.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from docutils.parsers.rst import Directive

README = Path(__file__).parents[2] / "README.md"
FRAME = "S"
# Column and row of each node.
PLACES = {"C": (0, 1), "B": (1, 1), "M": (1, 0), "F": (2, 0), "A": (2, 1), "U": (0, 2), "R": (1, 2), "L": (2, 2)}
PLACES |= {"V": (3, 2)}

COLUMN, ROW, WIDTH, HEIGHT, LINE, MARGIN = 290, 150, 184, 84, 18, 60

NODE = re.compile(r"(\w+)(?:(\[\(|\[|\(\()(.*?)(?:\)\]|\]|\)\)))?")
ARROW = re.compile(r"\s+(-\. .*? \.->|-\. .*? \.-|-- .*? -->|-\.->|-->)\s+")
MARKER = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
)


class Arrow(NamedTuple):
    """From one node to another; `label` may be empty."""

    start: str
    end: str
    label: str
    dotted: bool


def parse(text: str) -> tuple[dict[str, list[str]], list[Arrow]]:
    """A Mermaid flowchart → lines of each node's label, and arrows. Raises ValueError at a line it can't read."""
    labels: dict[str, list[str]] = {}
    arrows = []
    for line in text.strip().splitlines()[1:]:
        groups, words, dotted = [], [], []
        for part in ARROW.split(line.strip()):
            if part.startswith("-"):
                words.append(part.strip("-.> "))
                dotted.append(part.startswith("-."))
                continue
            found = [NODE.fullmatch(node.strip()) for node in part.split(" & ")]
            if None in found:
                raise ValueError(f"the flowchart of the README has a line that can't be read: {line}")
            groups.append([match[1] for match in found if match])
            labels |= {match[1]: match[3].split("<br/>") for match in found if match and match[3]}
        for i, label in enumerate(words):
            arrows += [Arrow(a, b, label, dotted[i]) for a in groups[i] for b in groups[i + 1]]
    return labels, arrows


def _centre(node: str) -> tuple[float, float]:
    column, row = PLACES[node]
    return MARGIN + column * COLUMN + WIDTH / 2, MARGIN + row * ROW + HEIGHT / 2


def _text(x: float, y: float, lines: list[str], style: str) -> str:
    top = y - (len(lines) - 1) * LINE / 2 + 4
    spans = "".join(
        f'<tspan x="{x:.0f}" y="{top + i * LINE:.0f}">{escape(line)}</tspan>' for i, line in enumerate(lines)
    )
    return f'<text class="{style}">{spans}</text>'


def _arrow(arrow: Arrow, both_ways: bool) -> str:
    (x0, y0), (x1, y1) = _centre(arrow.start), _centre(arrow.end)
    dx, dy = x1 - x0, y1 - y0
    length = (dx * dx + dy * dy) ** 0.5
    # Two arrows between the same boxes lie side by side, each on its own right.
    aside = 9 if both_ways else 0
    px, py = -dy / length * aside, dx / length * aside
    # From border to border: the part of the line that lies outside of the boxes.
    inside = min(WIDTH / 2 / abs(dx) if dx else 1, HEIGHT / 2 / abs(dy) if dy else 1)
    points = [(x0 + dx * t + px, y0 + dy * t + py) for t in (inside + 0.01, 1 - inside - 0.03)]
    line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
    drawn = f'<polyline class="arrow{" dotted" if arrow.dotted else ""}" points="{line}"/>'
    middle = [sum(values) / 2 for values in zip(*points, strict=True)]
    far = 1 + 12 / aside if aside else 0
    return drawn + (_text(middle[0] + px * far, middle[1] + py * far, [arrow.label], "label") if arrow.label else "")


def draw(text: str) -> str:
    """A Mermaid flowchart → SVG."""
    labels, arrows = parse(text)
    inner = [arrow for arrow in arrows if arrow.start != FRAME]
    framed = next(arrow.label for arrow in arrows if arrow.start == FRAME)
    pairs = {(arrow.start, arrow.end) for arrow in inner}
    width, height = 2 * MARGIN + 3 * COLUMN + WIDTH, 2 * MARGIN + 2 * ROW + HEIGHT
    inside = 2 * COLUMN + WIDTH + MARGIN
    parts = [
        f'<rect class="frame" x="{MARGIN / 2}" y="{MARGIN / 2}" width="{inside}" height="{height - MARGIN}" rx="12"/>',
        _text(MARGIN / 2 + 14, MARGIN / 2 + 16, [f"{labels[FRAME][0]}: {framed}"], "title"),
        *(_arrow(arrow, (arrow.end, arrow.start) in pairs) for arrow in inner),
    ]
    for node, lines in labels.items():
        if node != FRAME:
            x, y = _centre(node)
            box = f'x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="8"'
            parts.append(f'<rect class="box" {box}/>' + _text(x, y, lines, "name"))
    said = "; ".join(f"{labels[a.start][0]} to {labels[a.end][0]}: {a.label}" for a in inner if a.label)
    head = f'<svg class="flowchart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
    return head + MARKER + "".join(parts) + "</svg>"


class Flowchart(Directive):
    """No content, no options."""

    def run(self) -> list[nodes.Node]:
        """The SVG, as HTML."""
        self.state.document.settings.env.note_dependency(str(README))
        found = re.search(r"```mermaid\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
        return [nodes.raw("", draw(found[1]) if found else "", format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("flowchart", Flowchart)
    return {"parallel_read_safe": True}
