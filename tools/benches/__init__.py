"""Benches: data sets that studies are measured on, built from packages of public registries.

Each bench is a command, `python -m tools.benches.NAME --out DIR`, with the versions of its packages pinned and the
licence of every source written down. docs/studies.md says what each bench is good for.
"""
