"""The memorisation check, as `eval` and `sample` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charrnn.api import TrainedModel
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.nn.params import IdArray

CHARACTERS = 5000
_SEED = 1


def check_one_text(model: TrainedModel) -> None:
    """Refuse to look for copies where several models have read different texts.

    Raises:
        SettingsError: they have.
    """
    from charrnn.errors import SettingsError

    if len({c.config.corpus.sources for c in model.checkpoints}) > 1:
        raise SettingsError("--memorization needs models that were trained on one text", hint="take them one by one")


def memorised(model: TrainedModel, parts: dict[str, IdArray]) -> dict[str, Any]:
    """What a text generated at temperature 1 shares with the training part.

    Next to it, the same for real text that the model has not seen: the level without any copying.
    """
    import numpy as np

    from charrnn.sampling.generate import Request, StopConditions, draw_ids

    steps = draw_ids(model.text_model, Request(seed=_SEED, stop=StopConditions(CHARACTERS)))
    made = np.concatenate([ids.copy() for ids in steps]).astype(model.vocabulary.dtype)
    out = {"characters": CHARACTERS, "generated": facts([made], parts["train"], model.vocabulary)}
    if len(parts["val"]) > 1:
        unseen = np.asarray(parts["val"][:CHARACTERS])
        out["unseen_text"] = facts([unseen], parts["train"], model.vocabulary)
    return out


def facts(texts: Sequence[IdArray], source: IdArray, vocabulary: Vocabulary) -> dict[str, Any]:
    """The numbers, and the longest piece itself."""
    import numpy as np

    from charrnn.evaluation.memorisation import copied

    found = copied(texts, source)
    piece = vocabulary.decode(np.concatenate(texts)[found.start : found.start + found.longest])
    return {
        "shares": {str(n): share for n, share in found.shares.items()},
        "longest": found.longest,
        "longest_text": piece if isinstance(piece, str) else piece.decode("utf-8", "replace"),
    }


def show_memorised(report: dict[str, Any]) -> None:
    """The table."""
    from charrnn.cli.views.table import print_table

    kinds = [name for name in ("generated", "unseen_text") if name in report]
    heads = ("n-grams that occur in the training text", *(name.replace("_", "-") for name in kinds))
    rows = [
        (f"of {n} characters", *(percent(report[k]["shares"][n]) for k in kinds)) for n in report[kinds[0]]["shares"]
    ]
    rows.append(("longest piece, characters", *(f"{report[kind]['longest']:,}" for kind in kinds)))
    print_table("memorisation", heads, rows, among=True)


def percent(share: float) -> str:
    """A share as a rounded percentage; a dash if there is none."""
    return "-" if share != share else f"{100 * share:.1f}%"
