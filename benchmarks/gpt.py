"""A small transformer in PyTorch with the published CPU recipe of nanoGPT's character demo, as a baseline to beat.

Run as a program it trains on a text and prints one JSON object: `python -m benchmarks.gpt TEXT THREADS`. The recipe: 4
blocks of 4 heads and 128 numbers, 64 symbols of context, batches of 12, 2,000 steps of AdamW (β 0.9, 0.99; decay 0.1 on
matrices), 100 steps of warm-up to 1e-3 and a cosine to 1e-4, gradients clipped at 1, no dropout, output weights tied.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

BLOCKS, HEADS, WIDTH, CONTEXT, BATCH, STEPS = 4, 4, 128, 64, 12, 2000
RATE, LEAST_RATE, WARM_UP, DECAY, BETAS = 1e-3, 1e-4, 100, 0.1, (0.9, 0.99)


def network(vocab_size: int) -> Any:
    """Pre-norm blocks of causal attention and a wide layer; returns logits (B, T, V)."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_a, self.norm_b = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
            self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
            self.merge = nn.Linear(WIDTH, WIDTH, bias=False)
            self.wide = nn.Sequential(
                nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)
            )

        def forward(self, x: Any) -> Any:
            rows, length, _ = x.shape
            heads = self.qkv(self.norm_a(x)).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
            mixed = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
            x = x + self.merge(mixed.transpose(1, 2).reshape(rows, length, WIDTH))
            return x + self.wide(self.norm_b(x))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.symbols, self.places = nn.Embedding(vocab_size, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm = nn.LayerNorm(WIDTH, bias=False)
            for name, values in self.named_parameters():
                if values.ndim == 2:
                    into_the_sum = name.endswith(("merge.weight", "wide.2.weight"))
                    nn.init.normal_(values, std=0.02 / (math.sqrt(2 * BLOCKS) if into_the_sum else 1.0))

        def forward(self, ids: Any) -> Any:
            x = self.symbols(ids) + self.places(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.norm(x) @ self.symbols.weight.T

    return Transformer()


def rate_at(step: int) -> float:
    """Learning rate of a step."""
    if step < WARM_UP:
        return RATE * (step + 1) / (WARM_UP + 1)
    progress = (step - WARM_UP) / (STEPS - WARM_UP)
    return LEAST_RATE + 0.5 * (1 + math.cos(math.pi * progress)) * (RATE - LEAST_RATE)


def train(text: Path, threads: int, seed: int = 1337) -> dict[str, float]:
    """The recipe on the first nine tenths of a text; seconds of training and the loss over all of the last tenth."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    _, ids = np.unique(np.array(list(text.read_text(encoding="utf-8"))), return_inverse=True)
    data = torch.from_numpy(ids.astype(np.int64))
    model = network(int(ids.max()) + 1)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE, betas=BETAS)
    end = int(0.9 * len(data))
    started = time.perf_counter()
    for step in range(STEPS):
        starts = torch.randint(end - CONTEXT - 1, (BATCH, 1)) + torch.arange(CONTEXT)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        logits = model(data[starts])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), data[starts + 1].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    seconds = time.perf_counter() - started
    held_out = data[end:]
    windows = (len(held_out) - 1) // CONTEXT
    inputs = held_out[: windows * CONTEXT].view(windows, CONTEXT)
    targets = held_out[1 : windows * CONTEXT + 1].view(windows, CONTEXT)
    with torch.no_grad():
        parts = zip(inputs.split(256), targets.split(256), strict=True)
        nats = sum(
            torch.nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
            for x, y in parts
        )
    parameters = sum(p.numel() for p in model.parameters())
    return {"seconds": seconds, "val_loss": nats / targets.numel(), "parameters": parameters}


if __name__ == "__main__":
    print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]))))
