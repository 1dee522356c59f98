"""Flags that several commands share: how they are declared, checked and turned into values."""
