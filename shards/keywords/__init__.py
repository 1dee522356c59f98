"""Keywords out of captions: ranking of phrases, near-duplicates, and the keyword file. What `sclip keywords` does."""
