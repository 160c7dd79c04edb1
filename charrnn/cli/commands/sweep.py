"""`charrnn sweep`."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from charrnn.cli.arguments import Overrides, check_resume_or_overwrite
from charrnn.cli.commands.train import ProgressKind
from charrnn.cli.output import on_terminal, tell
from charrnn.cli.text_options import at_home

if TYPE_CHECKING:
    from charrnn.runs.table import Run
    from charrnn.sweep.directory import SweepDirectory
    from charrnn.sweep.executors import Executor
    from charrnn.sweep.plan import Plan, Trial
    from charrnn.sweep.runner import SweepRunner
    from charrnn.sweep.sources import Source

EXAMPLE = (
    "Example: charrnn sweep sweep.yaml --dry-run; charrnn sweep sweep.yaml --jobs 2; charrnn sweep sweep.yaml --resume"
)


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Sweep file (YAML); docs/sweeps.md explains it.")],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--run-dir",
            "--dir",
            callback=at_home,
            help="Directory for the sweep. Default: checkpoints/<name of the file>.",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of trials to run at once, sharing the processors. Default: one per processor."
        ),
    ] = None,
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials and exit.")] = False,
    print_commands: Annotated[
        bool,
        typer.Option("--print-commands", help="Print one `charrnn train` line per trial, for any scheduler, and exit."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Run the missing trials, each from where it stopped.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With --resume: also rerun failed trials.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the sweep in the directory.")] = False,
    join: Annotated[
        bool, typer.Option("--join", help="Join a search that another process has started in the same directory.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Run on the Dask cluster at this address, as in tcp://host:8786."),
    ] = None,
    progress: Annotated[
        ProgressKind, typer.Option("--progress", help="Progress display; see charrnn train.")
    ] = ProgressKind.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write the ranked results as one JSON object.")] = False,
) -> None:
    """Train many configurations, on all cores or many machines, and rank them.

    A sweep file names settings to start from, what varies, and how often each combination is trained:

        base: quickstart              # a settings file, or a built-in one by name
        set: {training.max_steps: 500}
        grid:
          model.cell: [lstm, gru]
          model.hidden_size: [128, 256]
        seeds: 2                      # 2 x 2 x 2 = 8 trials

    Random draws, search, early stopping and budgets are in docs/sweeps.md.
    """
    from charrnn.config.file import read_settings
    from charrnn.sweep.directory import SweepDirectory
    from charrnn.sweep.plan import read_plan

    _check_options(resume=resume, overwrite=overwrite, join=join, retry_failed=retry_failed)
    plan = read_plan(file, overrides or [])
    folder = SweepDirectory(directory or Path("checkpoints") / plan.name)
    if dry_run or print_commands:
        _list(plan, file, folder, overrides or [], commands=print_commands, as_json=as_json)
        return
    if join:
        _check_joinable(plan, folder)
    if "-" in plan.base.corpus.sources:  # the trials have their own, empty standard input
        from charrnn.data.corpora import spool_dir
        from charrnn.data.sources import keep_standard_input

        keep_standard_input(spool_dir())
    if plan.file.search is not None:
        from charrnn.sweep.search import check_study

        check_study(plan, may_exist=join or resume or overwrite)
    lock: Any = nullcontext() if join else folder.lock()
    # The executor first: if it is unavailable (no scheduler, say), no directory is left behind.
    with closing(_executor(plan, folder, jobs, scheduler)) as executor, lock:
        if not join:
            text = read_settings(file)
            folder.open(plan, text, command=sys.argv, resume=resume, overwrite=overwrite)
        source = _source(plan, folder, anew=overwrite, retry_failed=retry_failed, joining=join)
        runner = _runner(plan, folder, source, executor)
        counts = _run(runner, plan, "none" if quiet else progress.value)
    _finish(runner, folder, counts, as_json=as_json, quiet=quiet)


def _check_options(*, resume: bool, overwrite: bool, join: bool, retry_failed: bool) -> None:
    from charrnn.errors import SettingsError

    check_resume_or_overwrite(resume, overwrite, "a sweep")
    if join and (resume or overwrite):
        raise SettingsError("--join works on a running sweep, so it excludes --resume and --overwrite")
    if retry_failed and not resume:
        raise SettingsError("--retry-failed needs --resume")


def _list(
    plan: Plan, file: Path, folder: SweepDirectory, overrides: list[str], *, commands: bool, as_json: bool
) -> None:
    from charrnn.cli.output import write, write_json
    from charrnn.errors import SettingsError

    if plan.searches:
        raise SettingsError("a search has no list of trials: each one depends on earlier results")
    if commands:
        for trial in plan.trials:
            write(shlex.join(["charrnn", *_words(plan, file, folder, overrides, trial)]) + "\n")
    elif as_json:
        write_json({"trials": [{"name": t.name, "overrides": t.overrides} for t in plan.trials]})
    else:
        for trial in plan.trials:
            write(trial.name + "\n")
        tell(f"{len(plan.trials)} trials")


def _words(plan: Plan, file: Path, folder: SweepDirectory, overrides: list[str], trial: Trial) -> list[str]:
    from charrnn.cli.trial import train_words
    from charrnn.config.builtin import settings_path
    from charrnn.sweep.plan import as_options

    base = settings_path(plan.file.base, beside=file.parent)
    if base.stem == plan.file.base:  # a built-in one goes by its name everywhere
        base = Path(plan.file.base)
    settings = [*as_options(plan.file.common), *overrides, *as_options(trial.overrides)]
    return train_words(str(base), settings, str(folder.folder(trial)))


def _check_joinable(plan: Plan, folder: SweepDirectory) -> None:
    from charrnn.errors import SettingsError

    if plan.file.search is None:
        raise SettingsError("--join is for sweeps with a search", hint="add a search to the sweep file")
    if not folder.manifest.exists():
        raise SettingsError(f"{folder.path}: no sweep to join", hint="start it without --join")
    folder.check_base(plan)


def _source(plan: Plan, folder: SweepDirectory, *, anew: bool, retry_failed: bool, joining: bool) -> Source:
    from charrnn.sweep.sources import PlannedTrials

    if plan.file.search is None:
        return PlannedTrials(plan.trials, folder, retry_failed=retry_failed)
    from charrnn.sweep.search import OptunaTrials

    return OptunaTrials(plan, folder, anew=anew, retry_failed=retry_failed, joining=joining)


def _executor(plan: Plan, folder: SweepDirectory, jobs: int | None, scheduler: str | None) -> Executor:
    from charrnn.blas import available_cores
    from charrnn.sweep.executors import LocalExecutor

    if scheduler is not None:
        from charrnn.sweep.cluster import DaskExecutor

        return DaskExecutor(scheduler, plan.config)
    wanted = jobs or (available_cores() if plan.file.jobs == "auto" else plan.file.jobs)
    return LocalExecutor(folder.base, wanted, plan.config)


def _runner(plan: Plan, folder: SweepDirectory, source: Source, executor: Executor) -> SweepRunner:
    from charrnn.sweep.runner import SweepRunner

    minutes = plan.file.budget.total_minutes
    return SweepRunner(folder, source, executor, total_seconds=None if minutes is None else 60.0 * minutes)


def _run(runner: SweepRunner, plan: Plan, kind: str) -> dict[str, int]:
    from charrnn.cli.signals import stop_signals, stopped_by
    from charrnn.cli.views.sweep import SweepView, sweep_view

    counter = SweepView(plan, runner)
    with stop_signals(runner) as caught, sweep_view(kind, plan, runner) as show:
        for event in runner.run():
            counter.show(event)
            show(event)
    if runner.stop_requested:
        raise stopped_by(
            caught,
            f"stopped; every trial is saved in {runner.directory.path}",
            hint="continue with the same command and --resume",
        )
    return dict(counter.counts)


def _finish(runner: SweepRunner, folder: SweepDirectory, counts: dict[str, int], *, as_json: bool, quiet: bool) -> None:
    from charrnn.cli.output import ReaderGoneError, tell_left_out
    from charrnn.cli.views.runs import rows_of, table_columns, write_csv
    from charrnn.errors import CharRNNError
    from charrnn.runs.table import find_runs, ranked

    found = find_runs(folder.path, left_out=tell_left_out)
    runs = ranked([run for run in found if run.status != "running"], "loss")
    trials = folder.trials()
    failed = [trial.name for trial in trials if folder.status(trial) == "failed"]
    columns = table_columns(runs)
    try:  # shown first: the disk may be full
        with suppress(ReaderGoneError):  # failures are reported and written even if nobody reads on
            _show(folder, counts, runs, columns, as_json=as_json, quiet=quiet)
    finally:
        with folder.writing():
            write_csv(folder.results_csv, runs, columns)
            folder.write_results(rows_of(runs, columns))
    if runner.out_of_time and not quiet:
        tell(f"the sweep's time is used up: {folder.path}; --resume gives it as much again")
    if failed:
        raise CharRNNError(
            f"{len(failed)} of {len(trials)} trials failed, first {failed[0]}: {folder.error_of(failed[0])}",
            hint=f"see {folder.path / failed[0] / 'log.txt'}; run them again with --resume --retry-failed",
        )


def _show(
    folder: SweepDirectory, counts: dict[str, int], runs: list[Run], columns: list[str], *, as_json: bool, quiet: bool
) -> None:
    from charrnn.cli.output import write_json
    from charrnn.cli.views.runs import rows_of, show_table, table_columns, tell_texts
    from charrnn.cli.views.sweep import short_names

    tell_texts(runs)
    if as_json:
        write_json({"sweep": str(folder.path), "counts": counts, "runs": rows_of(runs, [*columns, "path"])})
    elif not quiet:
        heading = "name"
        if on_terminal():  # where whole names would leave room for nothing else
            columns = table_columns(runs, limit=0, fewer=True)
            heading, short = short_names([run.name for run in runs])
            runs = [replace(run, name=short[run.name]) for run in runs]
        show_table(str(folder.path), runs[:30], columns, name_heading=heading)
