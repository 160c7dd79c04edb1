"""PyTorch (extra `[torch]`): a state_dict, and next to it a script that samples from it with PyTorch alone."""

from __future__ import annotations

import io
import json
from pathlib import Path

from charrnn.errors import MissingExtraError, SettingsError
from charrnn.files import is_stream, open_regular, write_output
from charrnn.formats.common import metadata, start_facts, torch_names
from charrnn.nn.cells import CELLS
from charrnn.runs.checkpoint import Checkpoint

_SCRIPT = '''\
"""Samples from FILE with PyTorch alone: python SCRIPT --temperature 0.7 --prompt "The " --seed 1"""

import argparse
import json
from pathlib import Path

import torch

FACTS = json.loads(r"""FACTS_HERE""")


class CharRNN(torch.nn.Module):
    """One-hot symbols, recurrent layers, a linear head."""

    def __init__(self):
        super().__init__()
        self.size = len(FACTS["symbols"])
        self.rnn = getattr(torch.nn, FACTS["module"])(self.size, FACTS["hidden_size"], FACTS["num_layers"])
        self.head = torch.nn.Linear(FACTS["hidden_size"], self.size)

    def forward(self, ids, state=None):
        """(T, B) ids -> (T, B, V) logits and the state after them."""
        h, state = self.rnn(torch.nn.functional.one_hot(ids, self.size).float(), state)
        return self.head(h), state


class Text:
    """Reads symbols one by one from the state in which a text begins, and forgets where training did: at separators."""

    def __init__(self, model):
        layers, self.separator = FACTS["start"]["state"], FACTS["start"]["separator"]
        parts = [torch.tensor([layer[name] for layer in layers])[:, None] for name in layers[0]]
        self.model, self.recent = model, list(self.separator or [])
        self.state = tuple(parts) if len(parts) > 1 else parts[0]
        self.logits = model.head(parts[0][-1, 0])

    def read(self, symbol):
        if self.separator and self.recent == self.separator:
            self.state = None
        self.recent = [*self.recent, symbol][1:]
        logits, self.state = self.model(torch.tensor([[symbol]]), self.state)
        self.logits = logits[-1, 0]


def load():
    model = CharRNN()
    model.load_state_dict(torch.load(Path(__file__).with_name("FILE"), weights_only=True))
    return model.eval()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompt", "--prime", default="")
    parser.add_argument("--length", type=int, default=300)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    symbols, as_bytes = FACTS["symbols"], FACTS["encoding"] == "bytes"
    place = {symbol: k for k, symbol in enumerate(symbols)}
    prime = list(args.prompt.encode()) if as_bytes else [ord(c) for c in args.prompt]
    made = [place[symbol] for symbol in prime if symbol in place]
    generator = torch.Generator().manual_seed(args.seed)
    with torch.no_grad():
        text = Text(load())
        for symbol in made:
            text.read(symbol)
        for _ in range(args.length):
            last = text.logits
            if args.temperature == 0:
                symbol = int(last.argmax())
            else:
                p = torch.softmax(last / args.temperature, 0)
                symbol = int(torch.multinomial(p, 1, generator=generator))
            made.append(symbol)
            text.read(symbol)
    values = [symbols[k] for k in made]
    print(bytes(values).decode("utf-8", "replace") if as_bytes else "".join(map(chr, values)))


if __name__ == "__main__":
    main()
'''


def write(checkpoint: Checkpoint, output: Path) -> list[Path]:
    """Write the state_dict and the script.

    Raises:
        MissingExtraError: no PyTorch.
        SettingsError: a name that the script next to it cannot have, because it is another file's or impossible, or a
            cell that PyTorch does not have.
    """
    script = output.with_suffix(".py")
    if script == output or is_stream(output) or set(output.name) & set('"\\'):
        raise SettingsError(
            f"{output}: choose another file for the weights, such as model.pt; {script} is for the script"
        )
    if not _may_be_written(script):
        raise SettingsError(
            f"{script}: the script goes there, but it exists already and no export has written it",
            hint="choose another name for the weights, whose name the script has",
        )
    arrays = torch_names(checkpoint)  # first: PyTorch would not help a cell that it does not have
    try:
        import torch
    except ImportError:
        raise MissingExtraError("PyTorch", "torch", purpose="this export") from None
    weights = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    write_output(output, buffer.getvalue())
    m, meta = checkpoint.config.model, metadata(checkpoint)
    facts = {
        "module": CELLS[m.cell].torch_module,
        "hidden_size": m.hidden_size,
        "num_layers": m.num_layers,
        **meta["vocabulary"],
        "start": start_facts(checkpoint),
    }
    text = _SCRIPT.replace("FACTS_HERE", json.dumps(facts)).replace("FILE", output.name).replace("SCRIPT", script.name)
    write_output(script, text.encode())
    return [output, script]


def _may_be_written(script: Path) -> bool:
    """Nobody has named the script's file, so nothing is replaced but another such script."""
    head = _SCRIPT.partition("FILE")[0].encode()
    try:
        with open_regular(script, follow=True) as file:
            return file.read(len(head)) == head
    except OSError as error:
        return isinstance(error, FileNotFoundError)
