"""The exported page in a real headless Chromium: the same greedy text as the command line, links, colours, guesses."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from charrnn.api import TrainedModel
from charrnn.formats import exporter
from charrnn.nn.cells import CELLS
from tests.browser import FLAGS
from tests.checkpoints import a_checkpoint, of_documents

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
    for name, value in fields.items():
        browser.execute_script(f"document.getElementById('{name}').value = arguments[0]", value)
    browser.execute_script("document.getElementById('form').requestSubmit()")
    return finished(browser)


def finished(browser: Any) -> str:
    """Wait for the end of the text, and read it."""
    end = time.monotonic() + 60
    while "done" not in browser.find_element("id", "status").text:
        assert time.monotonic() < end
        time.sleep(0.02)
    return str(browser.execute_script("return document.getElementById('text').textContent"))


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
@pytest.mark.parametrize("documents", [False, True])
def test_the_same_greedy_text_as_the_command_line(
    browser: Any, tmp_path: Path, cell: str, encoding: str, documents: bool
) -> None:
    checkpoint = a_checkpoint(cell, 2, encoding)
    if documents:
        checkpoint = of_documents(checkpoint)
    exporter("html")(checkpoint, tmp_path / "p.html")
    browser.get(f"file://{tmp_path / 'p.html'}")
    expected = "ab" + "".join(TrainedModel([checkpoint]).sample("ab", length=200, temperature=0.0))
    assert made(browser, prime="ab", temperature="0", length="200") == expected
    begun = "".join(TrainedModel([checkpoint]).sample(length=200, temperature=0.0))
    assert made(browser, prime="", temperature="0", length="200") == begun
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
    assert made(browser, seed="6") != first
    assert made(browser, seed="5", colours="surprise") == first
    marks = "return [...document.querySelectorAll('#text span')].map(s => s.style.backgroundColor)"
    surprise = browser.execute_script(marks)
    assert len(surprise) == 80
    assert "surprise, bits per character" in browser.find_element("id", "legend").text
    pick = "const c = document.getElementById('colours'); c.value = arguments[0]; c.dispatchEvent(new Event('change'))"
    browser.execute_script(pick, "entropy")  # the same text in other colours
    assert browser.execute_script(marks) != surprise
    assert "entropy" in browser.find_element("id", "legend").text
    assert browser.execute_script("return document.getElementById('text').textContent") == first
    small = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", small)
    assert browser.execute_script("return innerWidth") == 390
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    made(browser, prime="ab" + " " * 300, seed="6")  # spaces break lines too
    assert browser.execute_script(
        "const box = document.getElementById('text'); return box.scrollWidth <= box.clientWidth"
    )
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert browser.get_log("browser") == []


def test_it_writes_when_it_is_opened_another_text_at_each_press_and_the_address_is_the_text(
    browser: Any, tmp_path: Path
) -> None:
    checkpoint = a_checkpoint()
    checkpoint.counters["best_val_loss"] = 1.25
    exporter("html")(checkpoint, tmp_path / "p.html")
    page = f"file://{tmp_path / 'p.html'}"
    text = "return document.getElementById('text').textContent"
    browser.get("about:blank")
    browser.get(page)
    first = finished(browser)
    assert len(first) == 500
    about = browser.find_element("id", "about").text
    assert "GRU, 2 layers of 12 units" in about
    assert "guess the next character of x. Lowest loss on unseen text: 1.250 nats (1.80 bits)" in about
    browser.find_element("id", "go").click()
    second = finished(browser)
    browser.find_element("id", "go").click()
    assert len({first, second, finished(browser)}) == 3
    address = browser.execute_script("return location.href")
    third = browser.execute_script(text)
    browser.get("about:blank")
    browser.get(address)
    assert finished(browser) == third
    browser.execute_script("location.hash = 'prompt=ab%C3%A9&temperature=0&length=30&seed=oops'")
    expected = "abé" + "".join(TrainedModel([checkpoint]).sample("abé", length=30, temperature=0.0))
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(text) == expected)
    browser.execute_script("location.hash = 'temperature=0&length=20'")  # a link without a prompt, nor a seed
    expected = "".join(TrainedModel([checkpoint]).sample(length=20, temperature=0.0))
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(text) == expected)
    assert browser.execute_script("return ['prime', 'seed'].map(id => document.getElementById(id).value)") == ["", "1"]
    browser.get("about:blank")
    browser.get(page + "#temperature=1e9&length=-4&seed=2&prompt=%3Cimg%20src%3Dx%3E")  # a link from anybody
    finished(browser)
    assert browser.execute_script("return ['temperature', 'length'].map(id => document.getElementById(id).value)") == [
        "1.5", "1",
    ]  # fmt: skip
    assert browser.execute_script("return document.querySelectorAll('img').length") == 0
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("encoding", ["utf-8", "bytes"])
def test_the_probabilities_under_the_pointer_and_by_keyboard(browser: Any, tmp_path: Path, encoding: str) -> None:
    checkpoint = a_checkpoint("lstm", 1, encoding)
    exporter("html")(checkpoint, tmp_path / "p.html")
    browser.get("about:blank")
    browser.get(f"file://{tmp_path / 'p.html'}#prompt=abc&length=20&temperature=1")
    text = finished(browser)
    model = TrainedModel([checkpoint])

    def guesses() -> list[str]:
        rows = browser.execute_script("return [...document.querySelectorAll('#guesses li')].map(r => r.innerText)")
        return [row.split()[-1] for row in rows[:3]]

    def expected(k: int) -> list[str]:
        return [f"{100 * p:.1f}%" for _, p in model.next(text[:k], top=3)]

    pointer = ActionChains(browser)
    pointer.move_to_element(browser.find_element("css selector", '#text span[data-k="2"]')).perform()
    assert guesses() == expected(2)  # in the prompt too
    browser.find_element("id", "text").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert browser.execute_script("return document.querySelector('#text .here').dataset.k") == "4"
    if encoding == "utf-8":  # a byte of several may be no character by itself
        assert guesses() == expected(4)
    browser.find_element("id", "text").send_keys(Keys.END, Keys.ARROW_DOWN, Keys.HOME)
    assert browser.execute_script("return document.querySelector('#text .here').dataset.k") == "0"
    assert guesses() == expected(0)
    stop = "const style = getComputedStyle(document.getElementById('stop')); return [style.opacity, style.cursor]"
    assert browser.execute_script(stop) == ["0.45", "default"]  # nothing is being written
    browser.execute_script("for (const m of marks.slice(0, 3)) m.mark.textContent = ' '; show(3)")
    assert browser.find_element("css selector", "#seen code").text == "␣␣␣"  # blanks alone would not be seen
    browser.execute_script("select(0)")
    drawn = browser.execute_script("return document.querySelector('#guesses .drawn').innerText")
    assert drawn.startswith("a")
    assert browser.get_log("browser") == []
