"""The library: train a network on a text, load it, generate text and score texts.

Example:
    >>> import charrnn
    >>> text = "the cat sat on a mat. " * 200
    >>> model = charrnn.train(text=text, run_dir="cat", hidden_size=32, max_steps=150, learning_rate=0.02)
    >>> len(model.generate("the ", length=30, seed=1))
    30
    >>> charrnn.load("cat").next("the c", top=1)[0].text
    'a'
"""

from charrnn.api.model import NextChar, TrainedModel, load
from charrnn.api.training import train, train_events

__all__ = ["NextChar", "TrainedModel", "load", "train", "train_events"]
