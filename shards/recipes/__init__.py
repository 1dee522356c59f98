"""Recipes: one TOML file per published data set, and the code that reads them (`recipe.py`)."""
