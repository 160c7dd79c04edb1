"""What compressors and counting reach on a text, to compare a network with."""

from __future__ import annotations

import math
from typing import Any

from charrnn.data.vocabulary import Vocabulary
from charrnn.evaluation.compressors import compressed_bits_per_char
from charrnn.evaluation.ngram import NgramModel, choose_order
from charrnn.nn.params import IdArray


def baselines(
    ids: IdArray, vocabulary: Vocabulary, parts: dict[str, IdArray] | None, counted: NgramModel | None = None
) -> dict[str, Any]:
    """Bits per character of compressors and of the n-gram model whose order does best on the validation part.

    Args:
        ids: (N,) the text, at least two.
        vocabulary: of the ids.
        parts: of the training text, `train` and `val`; None: no n-gram model.
        counted: the n-gram model of that text, if it has been made already.

    Returns:
        `gzip`, `xz`, `bz2`, `ngram` in bits per character; `ngram_order`, and `ngram_chars`, the symbols it counted.
    """
    text = vocabulary.decode(ids)
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    out: dict[str, Any] = dict(compressed_bits_per_char(data, len(ids)))
    if parts is not None and len(parts["train"]) > 1:
        chosen_on = parts["val"] if len(parts["val"]) > 1 else parts["train"]
        model = counted or choose_order(parts["train"], chosen_on, len(vocabulary))[0]
        nats, count = model.log_loss(ids)
        out["ngram"] = nats / count / math.log(2)
        out["ngram_order"], out["ngram_chars"] = model.order, model.used_chars
    return out
