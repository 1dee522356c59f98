"""Developer scripts, run from the checkout as `python -m tools.NAME`: they made the embedded data, and record a patch
for a release of open_clip. None of them is in the wheel.
"""
