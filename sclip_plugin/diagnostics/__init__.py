"""What a training run says about itself.

    measures  figures of a step's pseudo-labels
    recorder  observes the loss, and writes the figures of the steps that are logged
    signs     tells from the figures that a run goes wrong
"""
