"""A real Chromium, driven by Playwright; where there is none, the tests that need it are skipped by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
PATIENCE_MS = 60_000


def require_chromium() -> None:
    """Skip without a Chromium; where everything must be there (CI) fail instead."""
    if Path(CHROMIUM).exists():
        return
    if os.environ.get("CI"):
        pytest.fail(f"there is no Chromium at {CHROMIUM}; .ci/run installs it")
    pytest.skip(f"needs Chromium (none at {CHROMIUM})")


class Seen:
    """What a page said and asked for."""

    def __init__(self, page: Any) -> None:
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on("websocket", lambda line: self.hosts.add(urlsplit(line.url).netloc))


@contextmanager
def chromium(*arguments: str, **context: Any) -> Iterator[Any]:
    """A context of a headless Chromium; `context` as Playwright's new_context."""
    require_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False, args=list(arguments))
        opened = browser.new_context(**context)
        opened.set_default_timeout(PATIENCE_MS)
        try:
            yield opened
        finally:
            browser.close()
