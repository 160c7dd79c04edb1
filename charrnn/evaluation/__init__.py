"""How well a network predicts a text: nats, bits, scores, and what other methods reach."""
