"""Weights between a start model and a tuned one (WiSE-FT, arXiv 2109.01903), against forgetting."""
