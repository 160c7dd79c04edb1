"""The commands, one file each, and their list: `charrnn --help` is made from it and loads none of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import typer

from charrnn.cli.help import CommandGroup


@dataclass(frozen=True)
class Listed:
    """A command in the list of all.

    Attributes:
        panel: of `charrnn --help`.
        home: "module:name" of its function, or of its `CommandGroup`, below this package.
        help: first sentence of its help.
        example: name of its example in the module.
    """

    panel: str
    home: str
    help: str
    example: str = "EXAMPLE"


_TRAIN, _WRITE, _MEASURE, _FILES = "Train", "Write text", "Measure and compare", "Texts, settings and files"
LISTED = {
    "train": Listed(_TRAIN, "train:train", "Train a network on a text."),
    "watch": Listed(_TRAIN, "watch:watch", "Follow a run from another terminal."),
    "doctor": Listed(_TRAIN, "doctor:doctor", "Say what is wrong with a run and which settings to change."),
    "find-lr": Listed(_TRAIN, "find_lr:find_lr", "Suggest a learning rate."),
    "compare": Listed(_TRAIN, "compare:compare", "Train several configurations under one budget and compare them."),
    "sweep": Listed(_TRAIN, "sweep:sweep", "Train many configurations, on all cores or many machines, and rank them."),
    "sample": Listed(_WRITE, "sample:sample", "Generate text, shown character by character."),
    "next": Listed(_WRITE, "next_char:next_char", "Show the most likely next characters and their probabilities."),
    "eval": Listed(_MEASURE, "evaluate:evaluate", "Measure how well a model predicts a text."),
    "rank": Listed(_MEASURE, "rank:rank", "Rank lines by how likely a model finds them."),
    "runs": Listed(_MEASURE, "runs:runs", "List runs, best validation loss first."),
    "plot": Listed(_MEASURE, "plot:plot", "Plot the losses, learning rate and gradient norm of one or more runs."),
    "report": Listed(_MEASURE, "report:report", "Write an HTML page about one or more runs."),
    "inspect": Listed(_MEASURE, "inspection:app", "Look inside a trained network."),
    "gradcheck": Listed(_MEASURE, "gradcheck:gradcheck", "Compare the training gradients with finite differences."),
    "corpus": Listed(_FILES, "corpus:app", "List, inspect, build and fetch texts to learn from."),
    "config": Listed(_FILES, "config:app", "Choose, list, show and check settings."),
    "export": Listed(_FILES, "export:export", "Write a model in another format."),
    "import": Listed(_FILES, "export:import_", "Convert a PyTorch network to a checkpoint.", "EXAMPLE_IMPORT"),
    "compress": Listed(_FILES, "compress:compress", "Compress a file losslessly with a model's predictions."),
    "decompress": Listed(_FILES, "compress:decompress", "Restore a compressed file, byte for byte.", "EXAMPLE_BACK"),
}  # fmt: skip


def load(name: str) -> Any:
    """The command of this name, with its module loaded."""
    listed = LISTED[name]
    module_name, _, attribute = listed.home.partition(":")
    module = importlib.import_module(f"{__name__}.{module_name}")
    found = getattr(module, attribute)
    if not isinstance(found, typer.Typer):
        alone = CommandGroup(no_args_is_help=False)
        alone.command(name, epilog=getattr(module, listed.example))(found)
        found = alone
    command: Any = typer.main.get_command(found)
    command.name = name
    command.common, command.panels = getattr(module, "COMMON", None), getattr(module, "PANELS", {})
    return command


class LoadedOnUse(MutableMapping[str, Any]):
    """Name -> command; a command is loaded when it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(name)
        return self._loaded[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(LISTED)

    def __len__(self) -> int:
        return len(LISTED)
