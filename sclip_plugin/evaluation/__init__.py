"""Measures of a trained model: retrieval, zero-shot classification, frozen features and regions.

    names            the words: kinds of set, metrics, recall ranks, precisions
    activation       whether a model has the activation of its weights
    models           loading an open_clip model
    sets             evaluation sets on disk, and reading their samples
    features         features of images and texts, in batches
    metrics          measures as pure functions of features
    bootstrap        how far a measure would move with other images
    retrieval        evaluating a model on a retrieval set
    zeroshot         evaluating a model on a classification set
    labelled         features of a classification set's splits, and what a classifier learns from
    knn              the classes of the nearest images
    linear_probe     a linear classifier of image features
    frozen           evaluating frozen features by either of these
    regions          evaluating a model on the crops of pictures
    evaluate         evaluating a model on several sets: `sclip eval`, `sclip wiseft`
    during_training  evaluating a model while it is trained

`evaluate_retrieval` and `evaluate_zeroshot` serve `sclip eval` and the evaluation inside training alike.
"""
