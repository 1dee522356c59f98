"""Host modules: one for each generation of open_clip_train, and nothing else knows its internals."""
