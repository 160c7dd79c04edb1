"""The training loop, a generator of events.

It saves its own checkpoints, so nothing depends on the consumer of the events. Every random draw is derived from the
seed and the step, so the same settings give the same numbers, even if the run was interrupted and resumed.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from charrnn.amounts import counted
from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.data.windows import WindowStream
from charrnn.errors import DataError, DivergenceError, naming
from charrnn.files import unwritable, writing
from charrnn.nn.clip import CLIPPERS, global_norm
from charrnn.nn.ema import WeightEMA
from charrnn.nn.optim import OptimizerOptions
from charrnn.nn.optimizers import make_optimizer
from charrnn.nn.params import Array
from charrnn.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    Note,
    RolledBack,
    RunFinished,
    RunStarted,
    SampleMade,
    StepReport,
)
from charrnn.runs.start import opening_of
from charrnn.runs.text import separator_ids, split_parts
from charrnn.runs.transfer import transplant
from charrnn.training.group import GroupMaker, choose_replicas, group_of, replica_spec
from charrnn.training.kernels import Compiling, kernels_of_run, unseen
from charrnn.training.look import first_look, is_first_look_due, sample_now, validation_loss
from charrnn.training.pace import is_due, learning_rate, most_steps, reason_to_end
from charrnn.training.progress import Counters, StopFlag
from charrnn.training.snapshot import capture, check_text, health_summary, restore, summarise

T = TypeVar("T")

# Overflow is detected from the results, so NumPy's warnings are off.
ignore_float_warnings = np.errstate(over="ignore", invalid="ignore", divide="ignore")


class Trainer:
    """Trains one model on one text in one run directory.

    Args:
        config: the settings.
        text: the encoded corpus.
        run_dir: opened already.
        resume_from: the checkpoint to continue; None starts anew.
        init_from: the checkpoint whose weights a new run starts with.
        make_group: who computes the gradients.
        stop: set it (from a signal handler, say) to finish the step, save and end.
        clock: seconds since any fixed time; read before and after each step.
        compiling: shows the progress of compiling kernels.
    """

    grad_norm: float  # of the last step, before clipping
    learning_rate: float
    _reason: str | None

    def __init__(
        self,
        config: Config,
        text: EncodedText,
        run_dir: RunDirectory,
        *,
        resume_from: Checkpoint | None = None,
        init_from: Checkpoint | None = None,
        make_group: GroupMaker = group_of,
        stop: StopFlag | None = None,
        clock: Callable[[], float] = time.perf_counter,
        compiling: Compiling = unseen,
    ) -> None:
        self.config, self.text, self.run_dir, self.clock = config, text, run_dir, clock
        self.stop = stop or StopFlag()
        t, m, c = config.training, config.model, config.corpus
        self.separator = separator_ids(c, text.vocabulary)
        parts = split_parts(text, c)
        train, val = parts["train"], parts["val"]
        with naming(c.title):
            self.stream = WindowStream(
                train, t.batch_size, t.seq_length, separator=self.separator, offsets=t.random_offsets
            )
            if c.val_fraction and len(val) < 2:
                raise DataError(
                    f"the validation part has {counted(len(val), 'symbol')}",
                    hint="use a longer text or a larger corpus.val_fraction, or set it to 0 for none",
                )
            if resume_from is not None:
                check_text(resume_from, text.vocabulary, text.sha256)
        self.val_ids, self.opening = val, opening_of(train, text.vocabulary, self.separator)
        self.counters = Counters(replicas=choose_replicas(t.replicas, self.stream.columns), text_sha256=text.sha256)
        if resume_from is not None:
            self.counters = Counters.of(resume_from)  # with its replicas: another number would sum in another order
        self.counters.started_in = text.started_in or self.counters.started_in
        self.kernels = kernels_of_run(config, len(text.vocabulary), self.stream, resume_from, compiling)
        plan = replica_spec(config, text, len(train), self.separator, self.counters.replicas, self.kernels.name)
        self.group = make_group(plan, self.stream)
        self.counters.replicas = self.group.count
        self._stopping = self._told = self._looked = False
        self._last_seconds, self._saved_step = 0.0, self.counters.step
        self.model, self.state = self.group.model, self.group.state
        self.optimizer = make_optimizer(t.optimizer, self.model, OptimizerOptions.of(t))
        if resume_from is None:
            self.model.init(np.random.default_rng(t.seed), forget_bias=m.forget_bias)
            if init_from is not None:
                transplant(init_from, self.model, text.vocabulary)
        self.average = None if t.ema_decay is None else WeightEMA(self.model.params.flat, t.ema_decay)
        if resume_from is not None:
            self._restore(resume_from)

    @property
    def stop_requested(self) -> bool:
        """Whether this process was asked to stop; may be set."""
        return self.stop.stop_requested

    @stop_requested.setter
    def stop_requested(self, wish: bool) -> None:
        self.stop.stop_requested = wish

    def run(self) -> Iterator[Event]:
        """Train to the end, or to a stop.

        Raises:
            DivergenceError: a loss or gradient was not finite; the last checkpoint is intact.
            StorageError: the run directory stopped being writable.
        """
        try:
            with writing(self.run_dir.path, "the run directory"):
                self.group.start()
                yield from self._run()
        finally:
            self.group.close()

    def _run(self) -> Iterator[Event]:
        yield self._started()
        if self.config.training.on_divergence == "rollback" and self.counters.step == 0:
            yield self._save_last()  # something to go back to
        self._reason = self._end()
        while self._reason is None:
            if not self._looked and is_first_look_due(self):
                yield from self._first_look()
            happened: list[Event] = []
            try:
                self._advance(happened)
            except DivergenceError as error:
                yield from happened
                happened = [self._roll_back(error)]
            yield from happened  # once all is saved: the consumer may never ask again
        if self.run_dir.trouble:
            raise unwritable(self.run_dir.history, self.run_dir.trouble)
        summary = summarise(self.counters, self.stream, self.model, self.run_dir)
        if self._reason != "stopped":
            with self._averaged():
                ids = self.val_ids if len(self.val_ids) > 1 else self.stream.ids
                look = partial(health_summary, self.model, ids, self.counters, self.config.training.seed)
                summary |= self.group.once(ignore_float_warnings(look))
        yield RunFinished(self._reason, summary)

    def _advance(self, happened: list[Event]) -> None:
        """A step and what is due after it; events are added to `happened`."""
        t = self.config.training
        self.take_step()
        step, reason = self.counters.step, self._end()
        # A stop that was asked for only saves: patience and plateaus would count an evaluation, the history would have
        # a row more, and the run that goes on from there would not be the one that never stopped.
        at_end = reason not in (None, "stopped")
        evaluating = len(self.val_ids) > 1 and (at_end or is_due(step, t.eval_every))
        if evaluating:
            happened.extend(self._evaluate())
            reason = reason or self._end()
            at_end = reason not in (None, "stopped")
        if evaluating or at_end or is_due(step, t.log_every):
            happened.append(self._report(evaluated=evaluating))
            if self.run_dir.trouble and not self._told:
                self._told = True
                what = unwritable(self.run_dir.history, self.run_dir.trouble).message
                happened.append(Note(f"{what}; new rows are kept in memory and written as soon as they can be"))
        elif reason:
            happened.append(self._measured(evaluated=False))  # to be seen; a stop leaves nothing in the history
        if is_due(step, t.sample_every) or (at_end and t.sample_every):
            happened.append(self._sample())
        if reason or is_due(step, t.checkpoint_every):
            happened.append(self._save_last(only_for_stop=not (at_end or is_due(step, t.checkpoint_every))))
        self._reason = reason

    @ignore_float_warnings
    def take_step(self, rate: float | None = None) -> float:
        """Train on the next window; its mean loss, nats per character.

        Args:
            rate: learning rate to use instead of the schedule's.

        Raises:
            DivergenceError: a loss or gradient was not finite; nothing of the step was kept.
        """
        t, n, started = self.config.training, self.counters, self.clock()
        if n.window == 0:
            for layer in self.state:
                layer[...] = 0.0
        chars = self.stream.window_steps(n.window) * self.stream.columns
        offset = self.stream.offset(t.seed, n.epoch)
        nats = self.group.run(
            n.window, seed=t.seed, step=n.step, offset=offset, stopping=self.stop_requested, seconds=self._last_seconds
        )
        grad = self.model.grads.flat
        self.grad_norm = global_norm(grad)
        if not (math.isfinite(nats) and math.isfinite(self.grad_norm)):
            raise DivergenceError(
                f"step {n.step + 1}: the loss is {nats / chars:.4g} nats and the gradient's norm "
                f"{self.grad_norm:.4g}; nothing of this step was kept",
                step=n.step + 1,
                hint="lower training.learning_rate, set training.grad_clip, or raise training.warmup_steps",
            )
        clipped = 1.0 if t.grad_clip is None else CLIPPERS[t.grad_clip_mode](grad, t.grad_clip, self.grad_norm)
        self.learning_rate = learning_rate(t, n, self.total_steps) if rate is None else rate
        self.optimizer.step(self.model.params.flat, grad, self.learning_rate, clipped)
        n.step += 1
        if self.average is not None:
            self.average.update(self.model.params.flat, n.step)
        n.chars += chars
        n.nats_since_report += nats
        n.chars_since_report += chars
        n.window += 1
        if n.window == self.stream.windows_per_epoch:
            n.epoch, n.window = n.epoch + 1, 0
        self._last_seconds = self.clock() - started
        self._stopping, elapsed = self.group.agreed(self.stop_requested, self._last_seconds)
        n.seconds += elapsed
        n.seconds_since_report += elapsed
        return nats / chars

    @property
    def total_steps(self) -> int | None:
        """Steps the run takes at most; None where only time bounds it."""
        return most_steps(self.config.training, self.stream.windows_per_epoch)

    def _end(self) -> str | None:
        reason = reason_to_end(self.config.training, self.counters, self.total_steps)
        return reason or ("stopped" if self._stopping else None)

    def _started(self) -> RunStarted:
        t, n = self.config.training, self.counters
        return RunStarted(
            run_dir=self.run_dir.path,
            parameters=self.model.params.size,
            vocab_size=self.model.vocab_size,
            train_chars=len(self.stream.ids),
            val_chars=len(self.val_ids),
            columns=self.stream.columns,
            total_steps=self.total_steps,
            max_seconds=None if t.max_minutes is None else 60.0 * t.max_minutes,
            step=n.step,
            notes=(*self.text.notes, *self.kernels.notes),
            seconds=n.seconds,
        )

    def _evaluate(self) -> Iterator[Event]:
        with self._averaged():
            yield from self._evaluate_now()

    def _averaged(self) -> contextlib.AbstractContextManager[None]:
        """The model has the mean of the weights, where one is kept, while the block runs."""
        return contextlib.nullcontext() if self.average is None else self.average.applied(self.model.params.flat)

    def _evaluate_now(self) -> Iterator[Event]:
        n, t = self.counters, self.config.training
        n.val_loss = self.group.once(ignore_float_warnings(partial(validation_loss, self)))
        if not math.isfinite(n.val_loss):
            raise DivergenceError(f"step {n.step}: the validation loss is {n.val_loss}", step=n.step)
        best = n.best_val_loss is None or n.val_loss < n.best_val_loss
        n.evals_since_best = 0 if best else n.evals_since_best + 1
        n.plateaus += bool(n.evals_since_best) and n.evals_since_best % t.plateau_patience == 0
        yield Evaluated(n.step, n.val_loss, best)
        if best:
            n.best_val_loss = n.val_loss
            self._save(self.run_dir.best)
            yield CheckpointSaved(n.step, self.run_dir.best)

    def _report(self, *, evaluated: bool) -> StepReport:
        report, n = self._measured(evaluated=evaluated), self.counters
        n.train_loss = report.train_loss
        n.nats_since_report, n.chars_since_report, n.seconds_since_report = 0.0, 0, 0.0
        self._write(self.run_dir.append_report, report)
        return report

    def _measured(self, *, evaluated: bool) -> StepReport:
        """Where the run is now."""
        n = self.counters
        return StepReport(
            step=n.step,
            epoch=round(n.epoch + n.window / self.stream.windows_per_epoch, 6),
            chars=n.chars,
            train_loss=n.nats_since_report / n.chars_since_report,
            val_loss=n.val_loss if evaluated else None,
            grad_norm=self.grad_norm,
            learning_rate=self.learning_rate,
            chars_per_second=n.chars_since_report / max(n.seconds_since_report, 1e-9),
            seconds=n.seconds,
        )

    def _sample(self) -> SampleMade:
        if not self.group.leads:
            return SampleMade(self.counters.step, "")
        with self._averaged():
            text = sample_now(self)
        self.run_dir.append_sample(self.counters.step, text)
        return SampleMade(self.counters.step, text)

    def _first_look(self) -> Iterator[Event]:
        """Only shown: when it comes depends on the machine, so nothing of it is counted or kept."""
        n, t = self.counters, self.config.training
        self._looked = n.step > 0  # before the first step there is nothing to see
        if n.val_loss is None or n.step < (t.sample_every or 0):
            with self._averaged():
                yield self.group.once(ignore_float_warnings(partial(first_look, self)))

    def _write(self, write: Callable[..., T], *arguments: Any) -> T | None:
        """Write to the run directory, if this process is the one that does."""
        return write(*arguments) if self.group.leads else None

    def checkpoint(self) -> Checkpoint:
        """The whole state of the run.

        Raises:
            DivergenceError: a number in it is not finite.
        """
        n = self.counters
        n.optimizer_steps = self.optimizer.steps_done
        n.history_bytes, n.samples_bytes = self._write(self.run_dir.sync_logs) or (0, 0)
        made = capture(self.config, self.text.vocabulary, self.model, self._moments(), self.state, n)
        return replace(made, opening=self.opening)

    def _moments(self) -> dict[str, Array]:
        """Every vector that is kept beside the parameters."""
        return self.optimizer.moments | ({} if self.average is None else {"average": self.average.mean})

    def _restore(self, saved: Checkpoint) -> None:
        restore(saved, self.model, self._moments(), self.state)
        self.optimizer.steps_done = Counters.of(saved).optimizer_steps

    def _save(self, path: Path) -> None:
        self.group.gather()
        self._write(save_checkpoint, path, self.checkpoint())

    def _save_last(self, *, only_for_stop: bool = False) -> CheckpointSaved:
        """Save the run; a checkpoint that only a stop has made is not what a divergence goes back to."""
        n, run_dir, t = self.counters, self.run_dir, self.config.training
        if only_for_stop and t.on_divergence == "rollback" and self._saved_step == n.rollback_step:
            with contextlib.suppress(OSError):
                self._write(run_dir.keep_for_rollback)
        elif not only_for_stop:
            n.rollback_step = n.step
        self._save(run_dir.last)
        self._saved_step = n.step
        if not only_for_stop:
            self._write(run_dir.rollback.unlink, True)
        return CheckpointSaved(self.counters.step, self.run_dir.last)

    def _rollback_target(self) -> Checkpoint:
        """What an undisturbed run would have as its last checkpoint."""
        n = self.counters
        kept = self.run_dir.rollback if self._saved_step != n.rollback_step else None
        if kept and kept.is_file() and Counters.of(saved := load_checkpoint(kept)).step == n.rollback_step:
            return saved
        return load_checkpoint(self.run_dir.last)

    def _roll_back(self, error: DivergenceError) -> RolledBack:
        """Back to the last checkpoint with a lower learning rate; raises `error` if that is not allowed."""
        t, diverged = self.config.training, self.counters
        if t.on_divergence != "rollback" or diverged.rollbacks >= t.max_rollbacks:
            raise error
        saved = self.group.once(self._rollback_target)
        self._restore(saved)
        n = self.counters = Counters.of(saved)
        n.rollbacks, n.lr_scale = diverged.rollbacks + 1, diverged.lr_scale * t.rollback_lr_factor
        n.best_val_loss = diverged.best_val_loss  # the best checkpoint stands
        self._write(self.run_dir.cut_logs, n.history_bytes, n.samples_bytes)
        note = RolledBack(error.step, n.step, n.lr_scale, error.message)
        self._write(self.run_dir.append_note, "rollback", note)
        self._save_last()
        return note
