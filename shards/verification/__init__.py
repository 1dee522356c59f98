"""Looking at shards to the last byte: what `sclip verify` does."""
