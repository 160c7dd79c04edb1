"""Many runs: a plan of trials, their processes, their table."""
