"""Characters coloured by a number of bits, one at a time, so that a stream stays a stream."""

from __future__ import annotations

import os
import sys

from charrnn.cli.output import visible

# Upper bounds in bits, with colours of the 256-colour palette that stay readable on dark and light backgrounds, from
# expected to astonishing.
_STEPS = ((0.5, 245), (1.0, 71), (2.0, 37), (4.0, 172), (7.0, 203), (float("inf"), 199))


class Painter:
    """Paints characters by bits of surprise or entropy.

    Args:
        what: "surprise" or "entropy", for the legend.
        enabled: False leaves texts unchanged.
    """

    def __init__(self, what: str, *, enabled: bool) -> None:
        self.what, self.enabled = what, enabled

    def paint(self, text: str, bits: float) -> str:
        """`text` in the colour of `bits`; line ends stay outside, so that no terminal colours the rest of a line."""
        shown = visible(text)
        if not self.enabled or bits != bits or not shown.strip("\n"):
            return shown
        colour = next(code for bound, code in _STEPS if bits <= bound)
        # A surprising space would otherwise be invisible.
        mark = "48" if shown.isspace() and bits > 2.0 else "38"
        return f"\x1b[{mark};5;{colour}m{shown}\x1b[0m"

    def legend(self) -> str:
        """One line that explains the colours."""
        if not self.enabled:
            return ""
        low, parts = 0.0, []
        for bound, colour in _STEPS:
            label = f"over {low:g}" if bound == float("inf") else f"{low:g}-{bound:g}"
            parts.append(f"\x1b[38;5;{colour}m{label}\x1b[0m")
            low = bound
        return f"{self.what}, bits per character: " + "  ".join(parts) + "\n"


def colours_wanted() -> bool:
    """Whether standard output shows colours: a terminal, and no NO_COLOR; CLICOLOR_FORCE wins over the first."""
    if os.environ.get("NO_COLOR"):
        return False
    return sys.stdout.isatty() or os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0")
