"""How well a network predicts a text: nats, bits, scores, and other methods for comparison."""
