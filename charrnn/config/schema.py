"""Declares the settings of a run: their names, types, ranges and defaults.

A setting is declared once, here: its annotation is what a file is checked against (`config.load`), what the error
says is allowed and what the JSON Schema shows. Names of cells, optimisers, schedules and clippers are strings here, and
are read from the registries of `charrnn.nn` where they are checked, because those load NumPy.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountFromZero = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Fraction = Annotated[float, Meta(ge=0, lt=1)]
Name = Annotated[str, Meta(min_length=1)]

# U+001C is ASCII's own file separator, which no text contains by accident.
DOCUMENT_ENDS = {"lines": "\n", "files": "\x1c"}


# Settings that used to have another name; files and checkpoints that use it still load.
RENAMED = {
    "model.tied_embedding": "model.tie_weights",
    "model.dropout_mask": "model.variational_dropout",
    "training.final_rate_fraction": "training.min_lr_ratio",
    "training.plateau_evaluations": "training.plateau_patience",
    "training.decay_every_steps": "training.lr_decay_steps",
    "training.decay_factor": "training.lr_decay",
    "training.rollback_rate_factor": "training.rollback_lr_factor",
    "training.average_decay": "training.ema_decay",
}
_OLD_VALUES: dict[str, dict[object, object]] = {"model.dropout_mask": {"step": False, "window": True}}


def renamed(path: str, value: object) -> tuple[str, object]:
    """Current path and value of a setting that may be given under an old name."""
    values = _OLD_VALUES.get(path, {})
    return RENAMED.get(path, path), values.get(value, value) if isinstance(value, str) else value


def source_name(source: str) -> str:
    """A source of text as a message names it."""
    return "standard input" if source == "-" else source


def source_place(source: str) -> PurePath:
    """The path of a source of text; of a glob, the folder that it looks in."""
    path = PurePath(source)
    while set("*?[") & set(path.name):
        path = path.parent
    return path


class CorpusSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The text to learn from and how it is split."""

    source: Annotated[
        Name | Annotated[tuple[Name, ...], Meta(min_length=1)],
        Meta(description="named corpus, file, glob or directory, a list of these, or - for standard input"),
    ]
    encoding: Annotated[
        Name, Meta(description="encoding of the files, such as utf-8, latin-1 or gb18030; bytes: learn single bytes")
    ] = "utf-8"
    newlines: Annotated[
        Literal["keep", "unix"], Meta(description="line ends: keep them, or convert CR/LF and CR to LF")
    ] = "keep"
    normalize: Annotated[
        Literal["nfc", "nfd", "nfkc", "nfkd"] | None, Meta(description="Unicode normal form to convert the text to")
    ] = None
    documents: Annotated[
        Literal["text", "files", "lines"],
        Meta(description="what one document is: the whole text, a file or a line; document_separator divides a text"),
    ] = "text"
    document_separator: Annotated[
        Name | None,
        Meta(description="text after each document; for documents: text, null means that the text is one document"),
    ] = None
    split: Annotated[
        Literal["tail", "shuffled"],
        Meta(description="what is kept for validation and test: the end of the text, or documents drawn at random"),
    ] = "tail"
    split_seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of the shuffled split")] = 0
    val_fraction: Annotated[Fraction, Meta(description="fraction of the text kept for validation")] = 0.1
    test_fraction: Annotated[Fraction, Meta(description="fraction of the text kept for the final test")] = 0.0

    def __post_init__(self) -> None:
        """Set `document_separator` to the actual end of a document, so that its readers need not know `documents`."""
        if self.document_separator is None and self.documents != "text":
            msgspec.structs.force_setattr(self, "document_separator", DOCUMENT_ENDS[self.documents])

    @property
    def sources(self) -> tuple[str, ...]:
        """The source as a list, whether it is one or several."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def title(self) -> str:
        """The source as a message names it."""
        return ", ".join(map(source_name, self.sources))

    @property
    def label(self) -> str:
        """The text's name for others, without folders of this machine; of several sources the first."""
        name = "a text" if self.sources[0] == "-" else source_place(self.sources[0]).name or "a text"
        return name + (" and others" if len(self.sources) > 1 else "")


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network."""

    cell: Annotated[str, Meta(description="kind of recurrent cell")] = "lstm"
    hidden_size: Annotated[int, Meta(ge=1, le=65536, description="units in each layer")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64, description="stacked recurrent layers")] = 1
    embedding_size: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None,
        Meta(description="size of the symbol embedding; null: one-hot symbols"),
    ] = None
    tie_weights: Annotated[bool, Meta(description="share the output layer's weights with the embedding")] = False
    dropout: Annotated[
        Fraction,
        Meta(description="probability of dropping a unit between layers and before the output layer in training"),
    ] = 0.0
    variational_dropout: Annotated[
        bool, Meta(description="keep one dropout mask for the whole window instead of a new one at every step")
    ] = False
    weight_dropout: Annotated[
        Fraction, Meta(description="probability of dropping a recurrent weight for a window in training")
    ] = 0.0
    forget_bias: Annotated[
        float, Meta(description="initial bias of the gate that keeps the state: f of an LSTM, z of a GRU")
    ] = 1.0

    def sizes(self) -> dict[str, Any]:
        """What determines the parameters' shapes, as keywords of `CharRNN.param_shapes`."""
        return {
            "cell": self.cell,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "embedding_size": self.hidden_size if self.tie_weights else self.embedding_size or 0,
            "tie_weights": self.tie_weights,
        }

    def network(self, *, dropout: bool = True) -> dict[str, Any]:
        """The network as keywords of `CharRNN`; without any dropout unless it is to be trained."""
        if not dropout:
            return self.sizes()
        return self.sizes() | {
            "dropout": self.dropout,
            "variational_dropout": self.variational_dropout,
            "weight_dropout": self.weight_dropout,
        }


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network is trained, when it is evaluated, and when training stops."""

    batch_size: Annotated[Count, Meta(description="windows per step, read in parallel")] = 64
    seq_length: Annotated[Count, Meta(description="characters per window, and steps that gradients flow back")] = 64
    epochs: Annotated[Positive | None, Meta(description="passes over the text before stopping; null: no limit")] = 10.0
    max_steps: Annotated[Count | None, Meta(description="steps before stopping; null: no limit")] = None
    max_minutes: Annotated[Positive | None, Meta(description="minutes of training before stopping; null: no limit")] = (
        None
    )
    optimizer: Annotated[str, Meta(description="update rule")] = "adam"
    momentum: Annotated[Fraction, Meta(description="fraction of the last update that is kept (sgd)")] = 0.9
    nesterov: Annotated[bool, Meta(description="Nesterov momentum (sgd)")] = False
    beta1: Annotated[
        Fraction, Meta(description="decay per step of the gradient's running mean (adam, adamw, muon)")
    ] = 0.9
    beta2: Annotated[
        Fraction, Meta(description="decay per step of the squared gradient's running mean (adam, adamw, muon)")
    ] = 0.99
    rho: Annotated[Fraction, Meta(description="decay per step of the squared gradient's running mean (rmsprop)")] = 0.95
    epsilon: Annotated[Positive, Meta(description="added to an update's divisor to avoid division by zero")] = 1e-8
    learning_rate: Annotated[Positive, Meta(description="peak learning rate")] = 0.003
    schedule: Annotated[str, Meta(description="learning-rate schedule after warm-up")] = "cosine"
    warmup_steps: Annotated[CountFromZero, Meta(description="steps of linear warm-up; 0: none")] = 50
    min_lr_ratio: Annotated[
        float, Meta(ge=0, le=1, description="final learning rate as a fraction of the peak (cosine, linear)")
    ] = 0.01
    plateau_patience: Annotated[
        Count, Meta(description="validations without a better loss before the learning rate decays (plateau)")
    ] = 2
    lr_decay_steps: Annotated[Count, Meta(description="steps per learning-rate decay (step, exponential)")] = 1000
    lr_decay: Annotated[
        float, Meta(gt=0, le=1, description="factor applied at each learning-rate decay (step, exponential, plateau)")
    ] = 0.5
    grad_clip: Annotated[Positive | None, Meta(description="gradient clipping threshold; null: none")] = 1.0
    grad_clip_mode: Annotated[str, Meta(description="clip the gradient's norm or each value")] = "norm"
    on_divergence: Annotated[
        Literal["stop", "rollback"],
        Meta(description="on a NaN or infinite loss: stop, or roll back to the last checkpoint"),
    ] = "stop"
    max_rollbacks: Annotated[int, Meta(ge=1, le=1000, description="rollbacks before the run ends")] = 3
    rollback_lr_factor: Annotated[
        float, Meta(gt=0, lt=1, description="factor applied to the learning rate after each rollback")
    ] = 0.5
    weight_decay: Annotated[float, Meta(ge=0, description="weight decay; 0 disables it")] = 0.0
    ema_decay: Annotated[
        Fraction | None,
        Meta(description="decay per step of the weights' moving average, which is validated and kept; null: none"),
    ] = None
    state_reset: Annotated[
        Fraction, Meta(description="probability that a stream starts a window from the zero state, not the carried one")
    ] = 0.05
    random_offsets: Annotated[bool, Meta(description="start each pass over the text at a different character")] = False
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of every random number in the run")] = 1337
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(
            description="parts of a batch trained in parallel, by threads (compiled kernels) or processes; auto: one "
            "per core when the batch is large enough"
        ),
    ] = "auto"
    kernels: Annotated[
        Literal["auto", "numpy", "compiled"],
        Meta(description="NumPy's time loops or compiled ones (extra [fast]); auto: compiled when that saves time"),
    ] = "auto"
    log_every: Annotated[Count, Meta(description="steps between reports")] = 10
    eval_every: Annotated[Count | None, Meta(description="steps between validations; null: only at the end")] = 500
    checkpoint_every: Annotated[Count, Meta(description="steps between checkpoints")] = 500
    sample_every: Annotated[Count | None, Meta(description="steps between samples; null: never")] = 500
    sample_length: Annotated[Count, Meta(description="characters per sample")] = 200
    tensorboard: Annotated[bool, Meta(description="also write event files for TensorBoard")] = False
    patience: Annotated[
        Count | None, Meta(description="validations without a better loss before stopping; null: never")
    ] = None


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one run.

    Example:
        >>> charrnn.Config(corpus=CorpusSettings(source="tiny-shakespeare")).training.optimizer
        'adam'
    """

    corpus: CorpusSettings
    model: ModelSettings = msgspec.field(default_factory=ModelSettings)
    training: TrainingSettings = msgspec.field(default_factory=TrainingSettings)
