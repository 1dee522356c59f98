"""Developer scripts: what made the embedded data, and what a release needs. None of it is in the wheel."""
