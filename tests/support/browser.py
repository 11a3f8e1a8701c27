"""A real browser for tests of pages, or a reason why there is none."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find_chromium() -> str:
    """Return the browser's path. Where root may, on Debian, it is installed; else tests skip."""
    found = _installed()
    if not found and Path("/etc/debian_version").exists() and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(INSTALL, shell=True, env=environment, stdout=subprocess.DEVNULL)
        found = _installed()
    if not found:
        pytest.skip("no Chromium: install it, or run as root on Debian, which installs it")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a headless Chromium with a fresh profile."""
    path = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)
