"""The report in a real browser: it repaints, asks for nothing, and runs no text."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from charrnn.data.vocabulary import Vocabulary
from charrnn.inspection.report import memory_data, render, units_data
from charrnn.inspection.trace import trace_text
from charrnn.nn.network import CharRNN
from tests.browser import FLAGS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> plain text\n"


@pytest.fixture
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Server(http.server.ThreadingHTTPServer):
    page = b""
    asked: tuple[str, ...] = ()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked += (self.path,)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, *arguments: object) -> None:
        pass


def make_page() -> str:
    text = HOSTILE * 4
    vocabulary = Vocabulary.of(text)
    model = CharRNN(len(vocabulary), cell="lstm", hidden_size=8)
    model.init(np.random.default_rng(0))
    model.params.flat *= 6.0  # units that use their whole range
    trace = trace_text(model, vocabulary.encode(text))
    curve = 1.0 / np.arange(1.0, 50.0)
    run = {
        "name": HOSTILE, "cell": "lstm", "parameters": 10, "steps": 20, "chars": 5, "seconds": 12.0, "speed": 3,
        "train_loss": 1.0, "best": 2.0, "samples": [{"step": 10, "text": HOSTILE}, {"step": 20, "text": "b\x1b[31m"}],
        "advice": [HOSTILE, f"{'so ' * 12}try --set a.b=0.5"],
        "settings": {"corpus.source": HOSTILE, "training.max_steps": None},
        "history": {
            "step": [10, 20], "chars": [1, 2], "seconds": [1.0, 2.0], "train_loss": [2.0, 1.0],
            "val_loss": [None, 2.0], "learning_rate": [0.1, 0.01], "grad_norm": [1.0, 0.5],
        },
    }  # fmt: skip
    table = [{"name": HOSTILE, "count": 3, "nats": 1.0, "of_loss": 0.5}]
    memory = [memory_data("a", curve, curve)]
    usual = [{"name": "letter 11 and later", "count": 12345, "nats": 1.0, "of_loss": 0.5}]
    errors = [{"name": "a", "tables": {"kind": table, "place in the word": usual}}]
    texts = [units_data("a", text, trace)]
    title = f"report {HOSTILE}"
    found = [{"name": HOSTILE, "nats": 2.0}, {"name": "next", "nats": 2.01}]
    ranking = {"text": HOSTILE, "names": [HOSTILE], "runs": found, "baselines": {"gzip": 4.0, "order-6 n-grams": 2.1}}
    data = {"title": title, "runs": [run], "texts": texts, "memory": memory, "errors": errors, "rankings": [ranking]}
    return render(data)


@pytest.mark.extras
def test_the_report_in_chromium(browser: Any, tmp_path: Path) -> None:
    server = Server(("127.0.0.1", 0), Handler)
    server.page = make_page().encode()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        browser.get(f"http://127.0.0.1:{server.server_port}/report.html")
        assert browser.title == f"report {HOSTILE}".strip()  # shown, not run
        colours = "return [...document.querySelectorAll('#coloured0 span')].map(s => s.style.backgroundColor)"
        verdict = browser.find_element("class name", "verdict").text
        assert verdict.startswith(HOSTILE.strip())
        assert "predicts this text best: 2.885 bits per character (2.000 nats, perplexity 7.39)" in verdict
        assert "0.014 bits (0.5%) fewer than next, which may be chance." in verdict
        assert verdict.endswith("It beats gzip, but not order-6 n-grams.")
        bars = browser.execute_script("return [...document.querySelectorAll('.bars b')].map(b => b.textContent)")
        assert bars == ["2.100", "2.885", "2.900", "4.000"]
        assert "b\\x1b[31m" in browser.find_element("css selector", ".first pre").text
        first = browser.execute_script(colours)
        assert len(first) == len(HOSTILE) * 4
        assert len(set(first)) > 10
        slider = browser.find_element("id", "unit0")
        found = int(slider.get_attribute("value"))
        slider.send_keys("\ue014")  # arrow right: the keyboard moves it
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        second = browser.execute_script(colours)
        assert first != second
        moved = (found + 1) % 8 if found < 7 else 7
        assert f"unit {moved} of 8" in browser.find_element("id", "told0").text
        pick = "const s = document.getElementById('what0'); s.value = 'nats'; s.dispatchEvent(new Event('change'))"
        browser.execute_script(pick)
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        assert browser.execute_script(colours) != second
        assert not slider.is_enabled()
        assert browser.execute_script("return document.querySelectorAll('svg path').length") >= 7
        assert browser.find_element("css selector", "[data-head=seconds]").text == "12.0"  # as many digits in each row
        assert browser.execute_script("return document.querySelectorAll('svg circle').length") == 2  # one validation
        assert browser.execute_script("return ticks(57, 140, 3.4).length") >= 2  # on a phone
        scale = "[aria-label^='Gradient norm'] text"
        marks = browser.execute_script(f'return [...document.querySelectorAll("{scale}")].map(m => m.textContent)')
        assert {"0.6", "0.8", "1.0"} < set(marks)  # 0.5 and 1 alone are no scale
        assert browser.execute_script("return document.querySelectorAll('img, main script, iframe').length") == 0
        nameless = browser.execute_script(
            "return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
        )
        assert nameless == 0
        browser.set_window_size(390, 844)
        wide = browser.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide <= 0, "the page scrolls sideways on a phone"
        hidden = browser.execute_script(
            "return Math.max(...[...document.querySelectorAll('.wide')].map(box => box.scrollWidth - box.clientWidth))"
        )
        assert hidden <= 0, "numbers are cut at the edge of a phone"
        for width in range(300, 390, 6):
            lines = browser.execute_script(
                "const list = document.querySelector('[aria-labelledby=advice] ul');"
                "list.style.width = arguments[0] + 'px';"
                "return [...list.querySelectorAll('.whole')].map(part => part.offsetHeight < 40)",
                width,
            )
            assert lines == [True], "an option is divided"
        browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        small = browser.execute_script(  # as tall as they are drawn for, whatever the width
            "return [...document.querySelectorAll('svg')].filter(s => s.getScreenCTM().a < 0.95).length"
        )
        assert small == 0, "the charts' words shrink with the page"
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
        assert set(server.asked) == {"/report.html"}
        browser.save_screenshot(str(tmp_path / "phone.png"))
        assert (tmp_path / "phone.png").stat().st_size > 10_000
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
