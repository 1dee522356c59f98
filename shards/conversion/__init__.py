"""From a source to shards: reading, examining, splitting and writing. What `sclip convert` and `sclip split` do."""
