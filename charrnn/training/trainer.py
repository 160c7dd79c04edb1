"""The training loop, a generator of events.

It saves its own checkpoints, so that nothing depends on who listens. Every random draw is derived from the seed and
the step, so that the same settings give the same numbers, and a resumed run those of an undisturbed one.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from charrnn.config.schema import Config
from charrnn.data.encode import EncodedText
from charrnn.data.vocabulary import default_prime
from charrnn.data.windows import WindowStream, split_bounds
from charrnn.errors import DataError, DivergenceError
from charrnn.evaluation.loss import evaluate
from charrnn.files import writing
from charrnn.nn.clip import CLIPPERS, global_norm
from charrnn.nn.ema import WeightEMA
from charrnn.nn.optim import OPTIMIZERS, OptimizerOptions
from charrnn.nn.params import Array, IdArray
from charrnn.nn.schedule import ScheduleOptions, rate_factor
from charrnn.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charrnn.runs.directory import RunDirectory
from charrnn.runs.events import (
    CheckpointSaved,
    Evaluated,
    Event,
    RolledBack,
    RunFinished,
    RunStarted,
    SampleMade,
    StepReport,
)
from charrnn.runs.transfer import transplant
from charrnn.sampling.draw import SamplingOptions, generate_text
from charrnn.training.group import GroupMaker, choose_replicas, group_of, replica_spec
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
        clock: seconds, whatever they are counted from; read before and after each step.
    """

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
    ) -> None:
        self.config, self.text, self.run_dir, self._clock = config, text, run_dir, clock
        self.stop = stop or StopFlag()
        t, m, c = config.training, config.model, config.corpus
        self.separator: IdArray | None = None
        if c.document_separator is not None:
            self.separator = text.vocabulary.encode(c.document_separator, what="corpus.document_separator")
        bounds = split_bounds(len(text.ids), val_fraction=c.val_fraction, test_fraction=c.test_fraction)
        train, val = (text.ids[slice(*bounds[name])] for name in ("train", "val"))
        self.stream = WindowStream(
            train, t.batch_size, t.seq_length, separator=self.separator, offsets=t.random_offsets
        )
        if c.val_fraction and len(val) < 2:
            raise DataError(
                f"the validation part has {len(val)} symbols",
                hint="use a longer text or a larger corpus.val_fraction, or set it to 0 for none",
            )
        self.val_ids = val
        self.counters = Counters(replicas=choose_replicas(t.replicas, self.stream.columns), text_sha256=text.sha256)
        if resume_from is not None:
            check_text(resume_from, text.vocabulary, text.sha256)
            self.counters = Counters.of(resume_from)  # with its replicas: another number would sum in another order
        plan = replica_spec(config, text, len(train), self.separator, self.counters.replicas)
        self.group = make_group(plan, self.stream)
        self.counters.replicas = self.group.count
        self._stopping, self._last_seconds = False, 0.0
        self.model, self.state = self.group.model, self.group.state
        options = {f.name: getattr(t, f.name) for f in fields(OptimizerOptions)}
        self.optimizer = OPTIMIZERS[t.optimizer](self.model.params.size, self.model.dtype, OptimizerOptions(**options))
        self.grad_norm = self.learning_rate = math.nan
        self._reason: str | None = None
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

    # --- the loop ---------------------------------------------------------------------------------------------------

    def run(self) -> Iterator[Event]:
        """Train to the end, or to a stop.

        Raises:
            DivergenceError: a loss or gradient was not finite; the last checkpoint stands.
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
            try:
                yield from self._advance()
            except DivergenceError as error:
                yield self._roll_back(error)
        summary = summarise(self.counters, self.stream, self.model, self.run_dir)
        if self._reason != "stopped":
            with self._averaged():
                ids = self.val_ids if len(self.val_ids) > 1 else self.stream.ids
                look = partial(health_summary, self.model, ids, self.counters, self.config.training.seed)
                summary |= self.group.once(ignore_float_warnings(look))
            self._write(self.run_dir.write_summary, self._reason, summary)
        yield RunFinished(self._reason, summary)

    def _advance(self) -> Iterator[Event]:
        """A step and what is due after it."""
        t = self.config.training
        self.take_step()
        step, reason = self.counters.step, self._end()
        # Not at a stop that was asked for: patience and plateaus would count it, and the run that goes on from there
        # would not be the one that never stopped.
        at_end = reason is not None and reason != "stopped"
        evaluating = len(self.val_ids) > 1 and (at_end or is_due(step, t.eval_every))
        if evaluating:
            yield from self._evaluate()
            reason = reason or self._end()
        if evaluating or reason or is_due(step, t.log_every):
            yield self._report(evaluated=evaluating)
        if is_due(step, t.sample_every) or (reason and t.sample_every):
            yield self._sample()
        if reason or is_due(step, t.checkpoint_every):
            yield self._save_last()
        self._reason = reason

    @ignore_float_warnings
    def take_step(self, rate: float | None = None) -> float:
        """Train on the next window; its mean loss, nats per character.

        Args:
            rate: learning rate to use instead of the schedule's.

        Raises:
            DivergenceError: a loss or gradient was not finite; nothing of the step was kept.
        """
        t, n, started = self.config.training, self.counters, self._clock()
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
                hint="lower training.learning_rate, set training.grad_clip, or raise training.warmup_steps",
            )
        if t.grad_clip is not None:
            CLIPPERS[t.grad_clip_mode](grad, t.grad_clip, self.grad_norm)
        self.learning_rate = t.learning_rate * n.lr_scale * self._rate_factor() if rate is None else rate
        self.optimizer.step(self.model.params.flat, grad, self.learning_rate)
        n.step += 1
        if self.average is not None:
            self.average.update(self.model.params.flat, n.step)
        n.chars += chars
        n.nats_since_report += nats
        n.chars_since_report += chars
        n.window += 1
        if n.window == self.stream.windows_per_epoch:
            n.epoch, n.window = n.epoch + 1, 0
        self._last_seconds = self._clock() - started
        self._stopping, elapsed = self.group.agreed(self.stop_requested, self._last_seconds)
        n.seconds += elapsed
        n.seconds_since_report += elapsed
        return nats / chars

    # --- when to stop, how fast to learn ----------------------------------------------------------------------------

    @property
    def total_steps(self) -> int | None:
        """Steps the run takes at most; None where only time bounds it."""
        t = self.config.training
        limits = [] if t.max_steps is None else [t.max_steps]
        if t.epochs is not None:
            limits.append(max(1, round(min(t.epochs * self.stream.windows_per_epoch, 1e18))))
        return min(limits) if limits else None

    def _end(self) -> str | None:
        t, n = self.config.training, self.counters
        if self.total_steps is not None and n.step >= self.total_steps:
            return "max_steps" if n.step == t.max_steps else "epochs"
        if t.max_minutes is not None and n.seconds >= 60.0 * t.max_minutes:
            return "max_minutes"
        if t.patience is not None and n.evals_since_best >= t.patience:
            return "patience"
        return "stopped" if self._stopping else None

    def _rate_factor(self) -> float:
        t, n = self.config.training, self.counters
        progress = 0.0
        if self.total_steps is not None:
            progress = (n.step - t.warmup_steps) / max(1, self.total_steps - t.warmup_steps)
        if t.max_minutes is not None:
            progress = max(progress, n.seconds / (60.0 * t.max_minutes))
        options = ScheduleOptions(t.min_lr_ratio, t.lr_decay_steps, t.lr_decay, n.plateaus)
        return rate_factor(t.schedule, step=n.step, progress=progress, warmup_steps=t.warmup_steps, options=options)

    # --- what is reported -------------------------------------------------------------------------------------------

    def _started(self) -> RunStarted:
        t = self.config.training
        return RunStarted(
            run_dir=self.run_dir.path,
            parameters=self.model.params.size,
            vocab_size=self.model.vocab_size,
            train_chars=len(self.stream.ids),
            val_chars=len(self.val_ids),
            columns=self.stream.columns,
            total_steps=self.total_steps,
            max_seconds=None if t.max_minutes is None else 60.0 * t.max_minutes,
            step=self.counters.step,
            notes=self.text.notes,
        )

    def _evaluate(self) -> Iterator[Event]:
        with self._averaged():
            yield from self._evaluate_now()

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """The model has the mean of the weights, where one is kept, while the block runs."""
        if self.average is None:
            yield
            return
        self.average.swap(self.model.params.flat)
        try:
            yield
        finally:
            self.average.swap(self.model.params.flat)

    def _evaluate_now(self) -> Iterator[Event]:
        n, t = self.counters, self.config.training
        read = partial(evaluate, self.model, self.val_ids, separator=self.separator, before=self.stream.ids)
        n.val_loss = self.group.once(lambda: ignore_float_warnings(read)().loss)
        if not math.isfinite(n.val_loss):
            raise DivergenceError(f"step {n.step}: the validation loss is {n.val_loss}")
        best = n.best_val_loss is None or n.val_loss < n.best_val_loss
        n.evals_since_best = 0 if best else n.evals_since_best + 1
        n.plateaus += bool(n.evals_since_best) and n.evals_since_best % t.plateau_patience == 0
        yield Evaluated(n.step, n.val_loss, best)
        if best:
            n.best_val_loss = n.val_loss
            self._save(self.run_dir.best)
            yield CheckpointSaved(n.step, self.run_dir.best)

    def _report(self, *, evaluated: bool) -> StepReport:
        n = self.counters
        n.train_loss = n.nats_since_report / n.chars_since_report
        report = StepReport(
            step=n.step,
            epoch=round(n.epoch + n.window / self.stream.windows_per_epoch, 6),
            chars=n.chars,
            train_loss=n.train_loss,
            val_loss=n.val_loss if evaluated else None,
            grad_norm=self.grad_norm,
            learning_rate=self.learning_rate,
            chars_per_second=n.chars_since_report / max(n.seconds_since_report, 1e-9),
            seconds=n.seconds,
        )
        n.nats_since_report, n.chars_since_report, n.seconds_since_report = 0.0, 0, 0.0
        self._write(self.run_dir.append_report, report)
        return report

    def _sample(self) -> SampleMade:
        t, vocabulary = self.config.training, self.text.vocabulary
        options, prime = SamplingOptions(temperature=0.8), default_prime(vocabulary)
        if not self.group.leads:
            return SampleMade(self.counters.step, "")
        with self._averaged():
            pieces = generate_text(self.model, vocabulary, prime, length=t.sample_length, seed=t.seed, options=options)
            text = "".join(pieces)
        self.run_dir.append_sample(self.counters.step, text)
        return SampleMade(self.counters.step, text)

    def _write(self, write: Callable[..., T], *arguments: Any) -> T | None:
        """Write to the run directory, if that is this process's to do."""
        return write(*arguments) if self.group.leads else None

    # --- saving and going on ----------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """The whole state of the run.

        Raises:
            DivergenceError: a number in it is not finite.
        """
        n = self.counters
        n.optimizer_steps = self.optimizer.steps_done
        n.history_bytes, n.samples_bytes = self._write(self.run_dir.sync_logs) or (0, 0)
        return capture(self.config, self.text.vocabulary, self.model, self._moments(), self.state, n)

    def _moments(self) -> dict[str, Array]:
        """Every vector that is kept beside the parameters."""
        return self.optimizer.moments | ({} if self.average is None else {"average": self.average.mean})

    def _restore(self, saved: Checkpoint) -> None:
        restore(saved, self.model, self._moments(), self.state)
        self.optimizer.steps_done = Counters.of(saved).optimizer_steps

    def _save(self, path: Path) -> None:
        self.group.gather()
        self._write(save_checkpoint, path, self.checkpoint())

    def _save_last(self) -> CheckpointSaved:
        self._save(self.run_dir.last)
        return CheckpointSaved(self.counters.step, self.run_dir.last)

    def _roll_back(self, error: DivergenceError) -> RolledBack:
        """Back to the last checkpoint with a lower learning rate; raises `error` where that is not to be."""
        t, diverged = self.config.training, self.counters
        if t.on_divergence != "rollback" or diverged.rollbacks >= t.max_rollbacks:
            raise error
        saved = self.group.once(lambda: load_checkpoint(self.run_dir.last))
        self._restore(saved)
        n = self.counters = Counters.of(saved)
        n.rollbacks, n.lr_scale = diverged.rollbacks + 1, diverged.lr_scale * t.rollback_lr_factor
        n.best_val_loss = diverged.best_val_loss  # the best checkpoint stands
        self._write(self.run_dir.cut_logs, n.history_bytes, n.samples_bytes)
        note = RolledBack(diverged.step + 1, n.step, n.lr_scale, error.message)
        self._write(self.run_dir.append_note, "rollback", note)
        self._save_last()
        return note


def is_due(step: int, every: int | None) -> bool:
    """Whether something done every `every` steps is due after `step`; never where `every` is None."""
    return every is not None and step % every == 0
