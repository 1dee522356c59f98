"""Looking inside a run: figures of the pseudo-labels, a panel of images, and the signs of a run going wrong."""
