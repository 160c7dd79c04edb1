"""Training: the loop, the events it reports, and the run directory it writes."""
