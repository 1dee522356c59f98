"""From captions to a keyword file, as `sclip keywords` makes it.

`captions` reads the captions of shards, `phrases` and `embedding` rank phrases, `variants` finds near-duplicates,
`extraction` chooses the keywords, and `keyword_file` writes them down. For `--prune`, `pair_features` reads pairs and
encodes their images, `evidence` has figures of keywords over these pairs, and `pruning` drops what does not help.

    with spooled(["shards/paired/000000.tar"]) as captions:
        counted = extract(captions, ExtractionOptions(top=50))
"""
