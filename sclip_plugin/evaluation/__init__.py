"""Measures of a trained model: retrieval and zero-shot classification on sets in CLIP_benchmark's layout.

`evaluate_retrieval` and `evaluate_zeroshot` serve `sclip eval` and the evaluation inside training alike.
"""
