"""`segue web` beside a cluster and a Chromium that looks at it: what tests, benchmark and the docs' pictures share.

Chromium is the distribution's (Debian: apt-get install chromium); Playwright only drives it and downloads nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.live.console import BIN

CHROMIUM = shutil.which("chromium") or ""


@contextmanager
def serving(name: str, env: Mapping[str, str]) -> Iterator[str]:
    """`segue web NAME`; the address that it prints."""
    process = subprocess.Popen([str(BIN / "segue"), "web", name], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(15)
        process.stdout.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. As root it has no sandbox to give up: it says so and would not start."""
    with sync_playwright() as play:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()
