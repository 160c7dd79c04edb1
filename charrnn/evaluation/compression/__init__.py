"""Lossless compression driven by a model's predictions."""
