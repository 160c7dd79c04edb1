"""The exported page in a real headless Chromium: the same greedy text as the command line, seeds, colours, errors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from charrnn.api import TrainedModel
from charrnn.formats import exporter
from charrnn.nn.cells import CELLS
from tests.browser import FLAGS
from tests.checkpoints import a_checkpoint

pytestmark = pytest.mark.extras


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no chromium")
    options = webdriver.ChromeOptions()
    for word in FLAGS:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def made(browser: Any, **fields: str) -> str:
    """Fill the form, write, wait, and read the text."""
    import time

    for name, value in fields.items():
        browser.execute_script(f"document.getElementById('{name}').value = arguments[0]", value)
    browser.execute_script("document.getElementById('form').requestSubmit()")
    end = time.monotonic() + 30
    while "done" not in browser.find_element("id", "status").text:
        assert time.monotonic() < end
        time.sleep(0.02)
    return str(browser.execute_script("return document.getElementById('text').textContent"))


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
def test_the_same_greedy_text_as_the_command_line(browser: Any, tmp_path: Path, cell: str, encoding: str) -> None:
    checkpoint = a_checkpoint(cell, 2, encoding)
    exporter("html")(checkpoint, tmp_path / "p.html")
    browser.get(f"file://{tmp_path / 'p.html'}")
    expected = "ab" + "".join(TrainedModel([checkpoint]).sample("ab", length=200, temperature=0.0))
    assert made(browser, prime="ab", temperature="0", length="200") == expected
    assert browser.get_log("browser") == []


def test_unknown_characters_are_told_and_passed_over(browser: Any, tmp_path: Path) -> None:
    checkpoint = a_checkpoint()
    exporter("html")(checkpoint, tmp_path / "p.html")
    browser.get(f"file://{tmp_path / 'p.html'}")
    fields = {"temperature": "0", "length": "50", "colours": ""}
    expected = "".join(TrainedModel([checkpoint]).sample("ab", length=50, temperature=0.0))
    assert made(browser, prime="aÜb☃Ü", **fields) == "aÜb☃Ü" + expected
    assert browser.find_element("id", "unknown").text == "unknown to the model and skipped: Ü ☃"
    made(browser, prime="ab", **fields)
    assert browser.find_element("id", "unknown").text == ""


def test_seeds_colours_and_a_small_screen(browser: Any, tmp_path: Path) -> None:
    exporter("html")(a_checkpoint(), tmp_path / "p.html")
    browser.get(f"file://{tmp_path / 'p.html'}")
    first = made(browser, prime="", temperature="1", length="80", seed="5", colours="")
    assert len(first) == 80
    assert made(browser, seed="5", colours="surprise") == first
    assert made(browser, seed="6") != first
    marks = browser.execute_script("return document.querySelectorAll('#text span[title]').length")
    assert marks == 80
    assert "surprise, bits per character" in browser.find_element("id", "legend").text
    assert "entropy" in (made(browser, colours="entropy") and browser.find_element("id", "legend").text)
    small = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", small)
    assert browser.execute_script("return innerWidth") == 390
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    made(browser, prime="ab" + " " * 300, seed="6")  # spaces break lines too
    assert browser.execute_script(
        "const box = document.getElementById('text'); return box.scrollWidth <= box.clientWidth"
    )
    assert browser.get_log("browser") == []
