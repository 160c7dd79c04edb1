"""Looking inside a trained network: numbers only; showing them is the command line's job."""
