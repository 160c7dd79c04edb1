"""Search and early stopping through Optuna (extra `[sweep]`): which trial comes next, and which is pruned.

The study lives in a journal file in the sweep's directory, or in any storage that Optuna knows, so that several
machines can share it. Trials that were running when their sweep died are continued from their last checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from charrnn.errors import MissingExtraError, SettingsError
from charrnn.files import open_regular
from charrnn.locks import FileLock
from charrnn.sweep.directory import SweepDirectory
from charrnn.sweep.executors import unlocked
from charrnn.sweep.file import Draw, Overrides, Search
from charrnn.sweep.plan import Plan, Trial, cross_with_seeds, trial_name

if TYPE_CHECKING:
    import optuna

_NAME = "charrnn_name"  # name of the user attribute that links Optuna's trial to ours
_SAVING_SECONDS = 10.0  # time for a trial to notice that its sweep is dead, finish its step and save


class OptunaTrials:
    """A study as a source of trials.

    Args:
        plan: has a search.
        directory: of the sweep.
        anew: an earlier study of this name is removed.
        retry_failed: planned trials that failed are run again.
        joining: another machine works on the same study, so trials that seem abandoned are left alone.

    Raises:
        MissingExtraError: no Optuna.
        SettingsError: a storage that cannot be used.
    """

    def __init__(self, plan: Plan, directory: SweepDirectory, *, anew: bool, retry_failed: bool, joining: bool) -> None:
        assert plan.file.search is not None
        self._plan, self._directory, self._search = plan, directory, plan.file.search
        self._study = _study(plan, _storage(self._search, directory), anew=anew)
        self._open: dict[str, optuna.Trial] = {}
        self._validations: dict[str, int] = {}
        self._orphans = [] if joining else self._left_behind()
        self._planned = list(reversed(plan.trials))
        self._again = {t.name for t in plan.trials if retry_failed and directory.status(t) == "failed"}

    def total(self) -> int:
        """See `Source`."""
        return len(self._plan.trials) or self._plan.file.draws

    def _left_behind(self) -> list[tuple[optuna.Trial, Trial]]:
        """Trials that the study believes to be running but are not: their sweep died, or they were stopped."""
        import optuna

        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        known = {t.name: t for t in self._directory.trials()}
        named = [(frozen, known[name]) for frozen in running if (name := frozen.user_attrs.get(_NAME)) in known]
        folders = [self._directory.folder(trial) for _, trial in named]
        # A trial whose sweep was killed a moment ago is still saving; one that runs for longer is another sweep's.
        end = time.monotonic() + _SAVING_SECONDS
        while not all(map(unlocked, folders)) and time.monotonic() < end:
            time.sleep(0.1)
        found = []
        for (frozen, trial), folder in zip(named, folders, strict=True):
            if not unlocked(folder):
                continue
            if (loss := self._directory.loss_of(trial)) is not None:  # it outlived its sweep, so nobody reported it
                self._study.tell(frozen.number, loss)
                self._directory.record(trial, status="done", exit_code=0, error=None, loss=loss)
            else:
                found.append((optuna.Trial(self._study, frozen._trial_id), trial))
        return found

    def next(self) -> tuple[Trial, bool] | None:
        """See `Source`."""
        if self._orphans:
            asked, trial = self._orphans.pop()
            self._open[trial.name] = asked
            return trial, True
        with FileLock(self._directory.path / ".ask", wait=True):  # so that nobody else asks for the same one meanwhile
            asked_before = {t.user_attrs.get(_NAME) for t in self._study.get_trials(deepcopy=False)}
            if self._plan.searches:
                return self._ask() if len(asked_before) < self.total() else None
            while self._planned:
                trial = self._planned.pop()
                if trial.name not in asked_before or trial.name in self._again:
                    return self._ask(trial)
        return None

    def _ask(self, trial: Trial | None = None) -> tuple[Trial, bool]:
        if trial is None:
            asked = self._study.ask({path: _distribution(d) for path, d in self._plan.file.random.items()})
            searched: Overrides = {path: _rounded(asked.params[path]) for path in self._plan.file.random}
            seeds = list(cross_with_seeds(self._plan.file, self._plan.base, searched))
            overrides = seeds[asked.number % len(seeds)]
            trial = Trial(f"{asked.number:04d},{trial_name(overrides)}", overrides)
        else:
            asked = self._study.ask()
        asked.set_user_attr(_NAME, trial.name)
        asked.set_user_attr("overrides", trial.overrides)
        self._open[trial.name] = asked
        return trial, self._directory.status(trial) in ("begun", "failed")

    def report(self, trial: Trial, row: dict[str, Any]) -> bool:
        """See `Source`; the pruner receives each validation."""
        if row.get("val_loss") is None:
            return False
        asked = self._open[trial.name]
        asked.report(float(row["val_loss"]), int(row["step"]))
        self._validations[trial.name] = self._validations.get(trial.name, 0) + 1
        return self._validations[trial.name] >= self._search.min_validations and asked.should_prune()

    def ended(self, trial: Trial, status: str, loss: float | None) -> None:
        """See `Source`."""
        import optuna

        asked = self._open.pop(trial.name)
        if status == "done" and loss is not None:
            self._study.tell(asked, loss)
        elif status == "pruned":
            self._study.tell(asked, state=optuna.trial.TrialState.PRUNED)
        elif status != "begun":  # one that was stopped midway stays open, for the sweep that continues it
            self._study.tell(asked, state=optuna.trial.TrialState.FAIL)


def check_study(plan: Plan, *, may_exist: bool) -> None:
    """Check, before anything is written, that the study can be opened.

    Args:
        plan: has a search.
        may_exist: whether a storage outside the sweep's directory may already hold a study of this name.

    Raises:
        MissingExtraError: no Optuna, or what the sampler needs.
        SettingsError: a storage that cannot be used, or that holds another sweep's study.
    """
    try:
        import optuna
    except ImportError:
        raise MissingExtraError("optuna", "sweep", purpose="a search or early stopping") from None
    assert plan.file.search is not None
    search = plan.file.search
    if search.sampler == "gp" and not (find_spec("scipy") and find_spec("torch")):  # Optuna looks at the 11th trial
        raise MissingExtraError("SciPy or PyTorch", "gp", purpose="search.sampler: gp")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if search.storage is None:
        return
    with _reported(search):
        there = plan.name in optuna.get_all_study_names(_shared(search.storage))
    if there and not may_exist:
        raise SettingsError(
            f"search.storage: {search.storage}: holds a study named {plan.name} already",
            hint="continue that sweep in its directory with `resume` or `join`, or rename the sweep file",
        )


def _study(plan: Plan, storage: Any, *, anew: bool) -> optuna.Study:
    """The sweep's study, created if there is none."""
    import optuna

    assert plan.file.search is not None
    search = plan.file.search
    with _reported(search):
        if anew and plan.name in optuna.get_all_study_names(storage):
            optuna.delete_study(study_name=plan.name, storage=storage)
        study = optuna.create_study(study_name=plan.name, storage=storage, pruner=_pruner(search), load_if_exists=True)
        # A sampler restarted with the same seed would propose the same points again.
        study.sampler = _sampler(search, plan.file.seed + len(study.get_trials(deepcopy=False)))
        return study


@contextmanager
def _reported(search: Search) -> Iterator[None]:
    """Turns what Optuna and its storages raise into an error that names the setting."""
    try:
        yield
    except Exception as error:
        foreign = type(error).__module__.startswith(("sqlalchemy", "optuna"))
        if not foreign and not isinstance(error, ImportError | OSError | ValueError | RuntimeError):
            raise
        raise SettingsError(
            f"search.storage: {search.storage or 'journal'}: {' '.join(str(error).split())[:200]}"
        ) from None


def _storage(search: Search, directory: SweepDirectory) -> Any:
    """Where the study is kept."""
    with _reported(search):
        if search.storage is not None:
            return _shared(search.storage)
        if os.path.lexists(directory.journal):
            open_regular(directory.journal).close()  # from a stranger it may be a link to what is not the sweep's
        return _shared(str(directory.journal))


def _shared(place: str) -> Any:
    """A storage by its URL, or by the path of its journal."""
    if "://" in place:
        return place
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(place))


def _sampler(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    if search.sampler == "gp":
        return optuna.samplers.GPSampler(seed=seed)
    if search.sampler == "tpe":
        # Several trials run at once: the search pretends that running ones turn out badly, so as not to ask for the
        # same point again ("constant liar").
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return optuna.samplers.RandomSampler(seed=seed)


def _pruner(search: Search) -> optuna.pruners.BasePruner:
    import optuna

    if search.pruner == "asha":  # asynchronous successive halving: Li et al. (2020)
        return optuna.pruners.SuccessiveHalvingPruner(reduction_factor=search.reduction_factor)
    if search.pruner == "median":
        return optuna.pruners.MedianPruner(n_warmup_steps=0)
    return optuna.pruners.NopPruner()


def _distribution(draw: Draw) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if draw.choice is not None:
        return CategoricalDistribution(draw.choice)
    low, high = getattr(draw, draw.kind)
    if draw.kind in ("integers", "log_integers"):
        return IntDistribution(low, high, log=draw.kind == "log_integers")
    return FloatDistribution(low, high, log=draw.kind == "log_uniform")


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
