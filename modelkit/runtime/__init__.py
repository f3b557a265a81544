"""Run models: providers, sessions, inputs for them, comparison and timing."""
