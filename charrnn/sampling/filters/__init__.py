"""What happens to the logits before a symbol is drawn: small filters, run in an order that can be changed.

`options` holds the settings and needs no NumPy, `filters` the common form, `cuts`, `scaling`, `repetition` and
`mirostat` the filters themselves, `chain` runs them. docs/sampling.md explains each filter and names its source.
"""
