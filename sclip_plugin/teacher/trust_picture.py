"""How far pseudo-captions are trusted, drawn: the measured curve, and the trust that the unpaired images get (ours)."""

from typing import Final

import numpy as np
from matplotlib.figure import Figure

from sclip_plugin.diagnostics.calibration import Calibration

BINS: Final = 20
CURVE, IMAGES = "#3d4451", "#e4572e"


def draw(calibration: Calibration, trusts: np.ndarray) -> Figure:
    """Two plots: cosine with a pair → probability that its caption fits, and a histogram of the trust.

    Args:
        calibration: measured on the pairs.
        trusts: (M,), the trust in each unpaired image's pseudo-caption, from 0 to 1.
    """
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    curve, histogram = figure.subplots(1, 2)
    curve.plot(calibration.similarities, calibration.probabilities, color=CURVE)
    curve.set(ylim=(0, 1), xlabel="cosine of two images in the start model", ylabel="probability that the caption fits")
    histogram.hist(trusts, bins=BINS, range=(0, 1), color=IMAGES)
    histogram.set(xlim=(0, 1), xlabel=f"trust in a pseudo-caption (mean {trusts.mean():.2f})", ylabel="unpaired images")
    return figure
