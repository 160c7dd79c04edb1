"""Generated text: options, filters of the logits, the draw, and the one generator of characters."""
