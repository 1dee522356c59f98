"""Measures of a trained model: retrieval and zero-shot classification on sets in CLIP_benchmark's layout.

    names            the words: kinds of set, metrics, recall ranks, precisions
    models           loading an open_clip model
    sets             evaluation sets on disk, and reading their samples
    features         features of images and texts, in batches
    metrics          measures as pure functions of features
    bootstrap        how far a measure would move with other images
    retrieval        evaluating a model on a retrieval set
    zeroshot         evaluating a model on a classification set
    evaluate         evaluating a model on several sets: `sclip eval`, `sclip wiseft`
    during_training  evaluating a model while it is trained

`evaluate_retrieval` and `evaluate_zeroshot` serve `sclip eval` and the evaluation inside training alike.
"""
