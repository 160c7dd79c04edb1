"""Settings: declared once in `schema`, read from YAML by `load`."""
