"""The parts of `charrnn sample`."""
