"""What a run is on disk: training writes it, everything else reads it."""
