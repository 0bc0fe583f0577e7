"""The documentation as a site: it is built without a warning, loads nothing from elsewhere, and can be searched."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.browser import chromium

ROOT = Path(__file__).parents[1]
# What a browser loads by itself, and the attribute that says from where.
LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
}
ELSEWHERE = re.compile(r"(?:\w+:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site: what `make docs` has just made (BIMODAL_SITE), else built here."""
    if made := os.environ.get("BIMODAL_SITE"):
        return Path(made)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", ROOT / "docs", folder]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


class Resources(HTMLParser):
    """Collects the addresses of what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name == LOADED.get(tag)]


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    # What is offered for download is nothing that the site shows.
    pages = [page for page in site.rglob("*.html") if "_downloads" not in page.parts]
    assert len(pages) > 20
    for page in pages:
        resources = Resources()
        resources.feed(page.read_text(encoding="utf-8"))
        assert resources.found
        assert not [address for address in resources.found if ELSEWHERE.match(address)], page


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        loaded = re.findall(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""", text)
        assert not [address for address in loaded if ELSEWHERE.match(address)], sheet


def test_every_page_of_docs_is_there(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")]
    cards = [page.relative_to(ROOT / "models") for page in (ROOT / "models").glob("*/card.md")]
    for page in [*pages, *(Path("cards") / card for card in cards)]:
        assert (site / page.with_suffix(".html")).is_file(), page


def test_links_to_model_cards_lead_to_their_pages(site: Path) -> None:
    assert 'href="cards/face-compact/card.html"' in (site / "models.html").read_text(encoding="utf-8")


def test_the_front_page_has_its_diagram(site: Path) -> None:
    page = (site / "index.html").read_text(encoding="utf-8")
    (drawn,) = re.findall(r'(?:data|src)="(_images/graphviz-[^"]+\.svg)"', page)
    picture = (site / drawn).read_text(encoding="utf-8")
    assert all(name in picture for name in ("capture", "broker", "fusion", "your program"))


def test_the_reference_has_every_error_and_event(site: Path) -> None:
    from bimodal import errors

    reference = (site / "api" / "errors.html").read_text(encoding="utf-8")
    assert all(f'id="bimodal.errors.{name}"' in reference for name in errors.__all__)
    assert 'id="bimodal.broker.events.Emotion"' in (site / "api.html").read_text(encoding="utf-8")


def test_a_browser_finds_a_word_and_asks_no_other_host(site: Path) -> None:
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{(site / 'search.html').as_uri()}?q=smoothing")
        page.wait_for_selector("ul.search li a")
        assert "Fusion" in page.locator("ul.search").inner_text()
        page.goto((site / "index.html").as_uri())
        assert all(address.startswith("file:") for address in asked)
