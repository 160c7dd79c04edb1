"""What a network of a certain loss can be expected to write."""

from __future__ import annotations

from charrnn.evaluation.text_facts import TextFacts

# Loss as a share of what pairs of characters reach on the text, so that it means the same for other alphabets. Measured
# by the words in samples at temperature 0.7 that the text has too: see docs/advice.md.
_LEVELS = (
    (0.45, "fluent text in the manner of its source; look for copied passages"),
    (0.6, "nearly always real words, in phrases that make sense for a few words at a time"),
    (0.72, "mostly real words, in short phrases"),
    (0.85, "words of plausible form, about half of them real"),
    (1.0, "strings that look like words, some of them real"),
)
_SPACED = (0.04, 0.5)  # shares of spaces in prose (a sixth) and in code (up to two fifths)


def expectation(loss: float | None, text: TextFacts | None) -> str | None:
    """What samples will look like.

    Args:
        loss: nats per character on the validation part; None if unknown.
        text: the text; None if unknown.

    Returns:
        What the network writes, as the object of a sentence; None where that cannot be said.
    """
    if loss is None or text is None or not text.train_pair_nats or text.harder:
        return None  # of a validation part of another kind the loss says nothing about samples
    if not _SPACED[0] < (text.space_share or 0.0) < _SPACED[1]:
        return None  # no text of words
    share = loss / text.train_pair_nats
    return next((what for limit, what in _LEVELS if share < limit), "characters in nearly random order")
