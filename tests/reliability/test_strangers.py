"""A run directory from somebody else: whatever lies in the place of its files, nothing outside is read or written."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from charrnn.cli import app
from charrnn.cli.output import visible
from charrnn.errors import SettingsError
from charrnn.files import IrregularFileError, is_stream, open_regular, write_output
from charrnn.runs.directory import RunDirectory
from charrnn.runs.reading import LONGEST_ROW, read_rows
from tests.conftest import Run, assert_one_line_error
from tests.reliability.processes import write_settings

FILES = (
    "config.yaml",
    "history.jsonl",
    "samples.txt",
    "summary.json",
    "last.npz",
    "best.npz",
    ".lock",
    "trial.json",
    "loss.png",
)
SECRET = "somebody's own\n"
SECONDS = 30  # a command that waits for a pipe, or reads a device to its end, would take for ever


def a_link(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "secret")


def a_link_to_nothing(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "new")


def an_endless_device(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def a_pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def a_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def nothing_in_it(path: Path, outside: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path, outside: Path) -> None:
    path.write_bytes(b"\x1b[2J\x9b\x00{[\xff" * 9)


PLACED: tuple[Callable[[Path, Path], None], ...] = (
    a_link, a_link_to_nothing, an_endless_device, a_pipe, a_directory, nothing_in_it, noise
)  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and a run that has ended."""
    folder = tmp_path_factory.mktemp("sound")
    settings = write_settings(folder, steps=20)
    assert app.run(["train", "-c", str(settings), "--run-dir", str(folder / "ck" / "a"), "-q"]) == 0
    (folder / "ck" / "a" / "trial.json").write_text('{"name": "a", "overrides": {}, "status": "done"}')
    shutil.copytree(folder / "ck" / "a", folder / "ck" / "b")
    return folder


@pytest.fixture
def impatient() -> Iterator[None]:
    def late(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def commands(settings: Path) -> list[tuple[str, ...]]:
    resume = ("train", "-c", str(settings), "--run-dir", "ck/a", "--resume", "--set", "training.max_steps=22", "-q")
    return [
        ("runs", "ck"), ("runs", "ck", "--json"), ("runs", "ck", "--effects"), ("plot", "ck/a", "--json"),
        ("report", "ck/a", "--no-activations"), ("watch", "ck/a", "--once"),
        ("sample", "ck/a", "--length", "5", "--seed", "1"), resume,
    ]  # fmt: skip


def try_all(charrnn: Run, sound: Path, here: Path, name: str, place: Callable[[Path, Path], None]) -> list[int]:
    """Exit codes of all commands on a run in which one file is something else."""
    outside = here / "outside"
    codes = []
    for words in commands(sound / "run.yaml"):
        for folder in ("ck", "outside"):
            shutil.rmtree(here / folder, ignore_errors=True)
        shutil.copytree(sound / "ck", here / "ck")
        outside.mkdir()
        (outside / "secret").write_text(SECRET)
        target = here / "ck" / "a" / name
        target.unlink(missing_ok=True)
        place(target, outside)
        done = charrnn(*words)
        case = (words, done.returncode, done.stderr)
        assert done.returncode in (0, 2, 3, 4), case
        assert done.stderr.count("charrnn: error: ") == (done.returncode != 0), case
        assert "unexpected" not in done.stderr, case
        assert visible(done.stderr) == done.stderr, case
        assert [p.name for p in outside.iterdir()] == ["secret"], case
        assert (outside / "secret").read_text() == SECRET, case
        assert SECRET not in done.stdout + done.stderr, case
        if words[0] == "runs" and "--effects" not in words:
            assert "b" in done.stdout, case  # the sound one is shown
        codes.append(done.returncode)
    return codes


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("name", "place"),
    [("history.jsonl", a_pipe), ("history.jsonl", a_link), ("samples.txt", a_link_to_nothing), (".lock", a_link)],
)
def test_logs_and_locks_that_lead_elsewhere(
    charrnn_here: Run, sound: Path, tmp_path: Path, name: str, place: Callable[[Path, Path], None]
) -> None:
    codes = try_all(charrnn_here, sound, tmp_path, name, place)
    assert codes[-1] == 2  # --resume would write into it
    if name == "history.jsonl":
        assert codes[3:6] == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("place", PLACED, ids=lambda p: p.__name__)
@pytest.mark.parametrize("name", FILES)
def test_anything_in_the_place_of_any_file(
    charrnn_here: Run, sound: Path, tmp_path: Path, name: str, place: Callable[[Path, Path], None]
) -> None:
    try_all(charrnn_here, sound, tmp_path, name, place)


def test_a_bad_run_is_named_and_the_others_shown(charrnn_here: Run, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "ck", tmp_path / "ck")
    history = tmp_path / "ck" / "a" / "history.jsonl"
    history.write_text(history.read_text().replace('"chars": ', '"chars": "\\u001b[2J', 1))
    done = charrnn_here("runs", "ck", "--csv", "--columns", "name")
    assert (done.returncode, done.stdout) == (0, "name\nb\n")
    assert "left out: ck/a/history.jsonl: line 1" in done.stderr
    assert done.stderr.count("\n") == 1
    assert_one_line_error(charrnn_here("plot", "ck/a", "--json"), 3, "line 1")


def test_rows_of_other_versions_are_read(charrnn_here: Run, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "ck", tmp_path / "ck")
    history = tmp_path / "ck" / "a" / "history.jsonl"
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    fewer = [{k: v for k, v in row.items() if k in ("step", "train_loss")} for row in rows]
    more = [{**row, "tokens": [1, {"a": 2}], "grad_norm": float("nan")} for row in rows]
    for changed in (fewer, more):
        history.write_text("".join(json.dumps(row) + "\n" for row in changed))
        read = list(read_rows(history))
        assert [row.step for row in read] == [row["step"] for row in rows]
        assert all(row["grad_norm"] is None for row in read)
        for words in (("runs", "ck", "--json"), ("plot", "ck/a", "--json"), ("watch", "ck/a", "--once")):
            assert charrnn_here(*words).returncode == 0
        assert charrnn_here("report", "ck/a", "--no-activations").returncode == 0


def test_a_line_without_an_end_is_not_read_into_memory(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)  # a terabyte of zeros, on the disk next to nothing
    with pytest.raises(Exception, match="line 1 is not a row"):
        list(read_rows(file))
    file.write_bytes(b'{"step": 1, "x": "' + b"a" * LONGEST_ROW)
    with pytest.raises(Exception, match="line 1 is not a row"):
        list(read_rows(file))


def test_a_file_with_another_name_elsewhere_is_left_alone(sound: Path, tmp_path: Path) -> None:
    """Hard links, as copies of a whole directory may be made of them."""
    shutil.copytree(sound / "ck" / "a", tmp_path / "a")
    os.link(tmp_path / "a" / "history.jsonl", tmp_path / "copy")
    before = (tmp_path / "copy").read_bytes()
    RunDirectory(tmp_path / "a").cut_logs(10, 10)
    assert (tmp_path / "copy").read_bytes() == before
    assert (tmp_path / "a" / "history.jsonl").read_bytes() == before[:10]


def test_a_picture_does_not_follow_a_link(charrnn_here: Run, sound: Path, tmp_path: Path) -> None:
    shutil.copytree(sound / "ck", tmp_path / "ck")
    (tmp_path / "ck" / "a" / "loss.png").symlink_to(tmp_path / "elsewhere.png")
    assert_one_line_error(charrnn_here("plot", "ck/a"), 2, "symbolic link")
    assert not (tmp_path / "elsewhere.png").exists()


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "."):
        for mode in ("rb", "r+b", "ab"):
            with pytest.raises(IrregularFileError):
                open_regular(tmp_path / name, mode)
    with open_regular(tmp_path / "link", follow=True) as file:
        assert file.read() == b"x"
    with open_regular(tmp_path / "new", "ab") as file:
        file.write(b"y")
    assert (tmp_path / "new").read_bytes() == b"y"


def test_an_output_that_is_no_file_is_written_into(charrnn_here: Run, sound: Path, tmp_path: Path) -> None:
    device = tmp_path / "pipe"
    os.mkfifo(device)
    reader = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    assert is_stream(device)
    write_output(device, b"some text")
    assert os.read(reader, 100) == b"some text"
    os.close(reader)
    target = tmp_path / "target"
    (tmp_path / "link").symlink_to(target)
    write_output(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert target.read_bytes() == b"1"
    shutil.copytree(sound / "ck", tmp_path / "ck")
    for words in (
        ("report", "ck/a", "--no-activations", "-o", "/dev/null"),
        ("export", "ck/a", "--to", "json", "-o", "/dev/null"),
        ("corpus", "build", "markov", "--chars", "100", "-o", "/dev/null"),
    ):  # fmt: skip
        assert charrnn_here(*words).returncode == 0, words
        assert Path("/dev/null").is_char_device()
    assert_one_line_error(charrnn_here("report", "ck/a", "--no-activations", "-o", "/dev/full"), 1, "No space left")
    assert_one_line_error(charrnn_here("export", "ck/a", "--to", "torch", "-o", "/dev/null"), 2, "choose another file")


def test_event_files_do_not_follow_a_link(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from charrnn.training.tensorboard import TensorBoardLog

    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "tensorboard").symlink_to("elsewhere")
    with pytest.raises(SettingsError, match="symbolic link"):
        TensorBoardLog(tmp_path / "tensorboard")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_long_history_is_thinned_out_evenly() -> None:
    from charrnn.cli.commands.report import _POINTS, _thinned
    from charrnn.runs.reading import Row

    rows = [Row(k, val_loss=1.0 if k % 500 == 0 else None) for k in range(130_001)]
    kept = [row.step for row in _thinned(rows)]
    assert kept == sorted(set(kept))
    assert len(kept) <= 2 * _POINTS
    assert kept[-1] == 130_000
    assert {k for k in kept if k % 500 == 0} == set(range(0, 130_001, 500))
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert max(gaps) <= 130_001 / _POINTS + 2
