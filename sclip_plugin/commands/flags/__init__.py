"""Flags that several commands share: how they are declared, and how they are checked and turned into values."""
