"""The mixed loader: batches of pairs and unpaired images read from tar shards."""
