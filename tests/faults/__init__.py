"""A seeded fuzzer over everything that the program reads, with an oracle that knows what was broken.

`python -m tests.faults --seed N --tries N` runs it; docs/reliability.md says what is promised and how it is tested.
"""
