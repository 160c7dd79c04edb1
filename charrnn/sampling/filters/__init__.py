"""What happens to the logits before a symbol is drawn: small filters, run in an order that can be changed.

`sampling/options.py` declares each filter's options and needs no NumPy; here `filter` has the common form, `cuts`,
`scaling`, `repetition` and `mirostat` the filters themselves, and `chain` runs them. docs/sampling.md explains each
filter and names its source.
"""
