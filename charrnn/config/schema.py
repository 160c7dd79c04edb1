"""The settings of a run, declared: their names, types, ranges and defaults.

A setting is declared once, here: its annotation is what a file is checked against (`config.load`), what the error
says is allowed and what the JSON Schema shows. Names of cells, optimisers, schedules and clippers are strings here, and
are read from the registries of `charrnn.nn` where they are checked, because those load NumPy.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
CountFromZero = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, lt=1)]
Name = Annotated[str, Meta(min_length=1)]

# U+001C is ASCII's own file separator, which no text has by accident.
DOCUMENT_ENDS = {"lines": "\n", "files": "\x1c"}


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
        Literal["keep", "unix"], Meta(description="line ends: leave them alone, or turn CR/LF and CR into LF")
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
    val_fraction: Annotated[Share, Meta(description="share of the text kept for validation")] = 0.1
    test_fraction: Annotated[Share, Meta(description="share of the text kept for the final test")] = 0.0

    def __post_init__(self) -> None:
        """Make `document_separator` what really ends a document, so that its readers need not know `documents`."""
        if self.document_separator is None and self.documents != "text":
            msgspec.structs.force_setattr(self, "document_separator", DOCUMENT_ENDS[self.documents])

    @property
    def sources(self) -> tuple[str, ...]:
        """The source as a list, whether it is one or several."""
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def title(self) -> str:
        """The source as a message names it."""
        return ", ".join(self.sources)


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network."""

    cell: Annotated[str, Meta(description="kind of recurrent cell")] = "lstm"
    hidden_size: Annotated[int, Meta(ge=1, le=65536, description="units in each layer")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64, description="recurrent layers, one on top of the other")] = 1
    embedding_size: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None,
        Meta(description="numbers a symbol becomes before the first layer; null: one-hot symbols"),
    ] = None
    tied_embedding: Annotated[
        bool, Meta(description="use the output layer's weights as the embedding, of hidden_size numbers")
    ] = False
    dropout: Annotated[Share, Meta(description="probability that a unit between layers is dropped in training")] = 0.0
    dropout_mask: Annotated[
        Literal["step", "window"], Meta(description="drop other units at each step, or the same ones through a window")
    ] = "step"
    weight_dropout: Annotated[
        Share, Meta(description="probability that a recurrent weight is dropped for a window in training")
    ] = 0.0
    forget_bias: Annotated[float, Meta(description="initial bias of the LSTM's forget gate")] = 1.0

    def sizes(self) -> dict[str, Any]:
        """What decides the parameters' shapes, as `CharRNN.param_shapes` takes it."""
        return {
            "cell": self.cell,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "embedding_size": self.hidden_size if self.tied_embedding else self.embedding_size or 0,
            "tied": self.tied_embedding,
        }

    def network(self, *, dropout: bool = True) -> dict[str, Any]:
        """The network as `CharRNN` takes it; without dropout of any kind where it is not to be trained."""
        if not dropout:
            return self.sizes()
        return self.sizes() | {
            "dropout": self.dropout,
            "locked_dropout": self.dropout_mask == "window",
            "weight_dropout": self.weight_dropout,
        }


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the network is trained, when it is looked at, and when it stops."""

    batch_size: Annotated[Count, Meta(description="windows in a step, read side by side")] = 64
    seq_length: Annotated[Count, Meta(description="characters in a window, also the steps gradients flow back")] = 64
    epochs: Annotated[Positive | None, Meta(description="stop after so many passes over the text; null: no limit")] = (
        10.0
    )
    max_steps: Annotated[Count | None, Meta(description="stop after so many steps; null: no limit")] = None
    max_minutes: Annotated[Positive | None, Meta(description="stop after so many minutes; null: no limit")] = None
    optimizer: Annotated[str, Meta(description="update rule")] = "adam"
    momentum: Annotated[Share, Meta(description="share of the last update kept (sgd)")] = 0.9
    nesterov: Annotated[bool, Meta(description="Nesterov's form of momentum (sgd)")] = False
    beta1: Annotated[Share, Meta(description="decay of the gradient's mean a step (adam, adamw)")] = 0.9
    beta2: Annotated[Share, Meta(description="decay of the squared gradient's mean a step (adam, adamw)")] = 0.99
    rho: Annotated[Share, Meta(description="decay of the squared gradient's mean a step (rmsprop)")] = 0.95
    epsilon: Annotated[Positive, Meta(description="added to the divisor of an update, against division by 0")] = 1e-8
    learning_rate: Annotated[Positive, Meta(description="peak rate, the schedule's factor 1")] = 0.003
    schedule: Annotated[str, Meta(description="course of the learning rate after warm-up")] = "cosine"
    warmup_steps: Annotated[CountFromZero, Meta(description="steps over which the rate first rises; 0: none")] = 50
    final_rate_fraction: Annotated[
        float, Meta(ge=0, le=1, description="share of the peak rate left at the end (cosine, linear)")
    ] = 0.01
    plateau_evaluations: Annotated[
        Count, Meta(description="validations without a better loss before the rate decays (plateau)")
    ] = 2
    decay_every_steps: Annotated[Count, Meta(description="steps for one decay of the rate (step, exponential)")] = 1000
    decay_factor: Annotated[
        float, Meta(gt=0, le=1, description="factor of one decay of the rate (step, exponential, plateau)")
    ] = 0.5
    grad_clip: Annotated[Positive | None, Meta(description="limit of the gradient; null: none")] = 1.0
    grad_clip_mode: Annotated[str, Meta(description="what is limited: the gradient's norm or each value")] = "norm"
    on_divergence: Annotated[
        Literal["stop", "rollback"],
        Meta(description="what follows a loss or gradient that is no number: the end, or the last checkpoint"),
    ] = "stop"
    max_rollbacks: Annotated[Count, Meta(description="returns to the last checkpoint before the run ends")] = 3
    rollback_rate_factor: Annotated[
        float, Meta(gt=0, lt=1, description="factor of the learning rate after each return")
    ] = 0.5
    weight_decay: Annotated[float, Meta(ge=0, description="pull of the weights towards 0; 0: none")] = 0.0
    average_decay: Annotated[
        Share | None,
        Meta(description="decay a step of the running mean of the weights that is validated and kept; null: no mean"),
    ] = None
    random_offsets: Annotated[bool, Meta(description="begin each pass over the text at another character")] = False
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1, description="seed of every random number of the run")] = 1337
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(description="processes that share each batch; auto: one a core, if each has columns enough"),
    ] = "auto"
    log_every: Annotated[Count, Meta(description="steps between two reports")] = 10
    eval_every: Annotated[Count | None, Meta(description="steps between two validations; null: never")] = 500
    checkpoint_every: Annotated[Count, Meta(description="steps between two checkpoints")] = 500
    sample_every: Annotated[Count | None, Meta(description="steps between two samples; null: never")] = 500
    sample_length: Annotated[Count, Meta(description="characters in a sample")] = 200
    tensorboard: Annotated[bool, Meta(description="also write event files for TensorBoard")] = False
    patience: Annotated[
        Count | None, Meta(description="stop after so many validations without a better loss; null: never")
    ] = None


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of one run."""

    corpus: CorpusSettings
    model: ModelSettings = msgspec.field(default_factory=ModelSettings)
    training: TrainingSettings = msgspec.field(default_factory=TrainingSettings)
