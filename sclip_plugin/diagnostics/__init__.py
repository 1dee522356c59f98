"""What a training run says about itself, and what can be told before one.

    measures     figures of a step's pseudo-labels
    recorder     observes the loss, and writes the figures of the steps that are logged
    signs        tells from the figures that a run goes wrong
    calibration  a rising line from similarity to probability, fitted to observations

A run writes the figures where the host's own figures go, and the warnings into its log.
"""
