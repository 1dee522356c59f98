"""What a training run says about itself: figures of its pseudo-labels, and the signs of a run going wrong."""
