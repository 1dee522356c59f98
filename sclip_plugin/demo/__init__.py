"""The embedded data set, its start model and the demonstration run."""
