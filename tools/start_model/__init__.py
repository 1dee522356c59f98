"""Makes the demo's start model: `python -m tools.start_model.pretrain`."""
