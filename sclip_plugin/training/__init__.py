"""One training run with `--loss sclip`: its flags, its model adapter, and what happens at each stage of the run."""
