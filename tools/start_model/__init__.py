"""How the start model of the demo was made."""
