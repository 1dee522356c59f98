"""Files in object stores, by URL: `s3://`, `gs://`, `hf://`, `https://` and whatever else fsspec knows.

`urls` tells URLs from paths and finds the filesystem, `patience` repeats what a store does not answer, `objects` reads,
lists and writes, `remote_file` is a file that reads by ranges, `lease` stands for a lock, and `location` gives URLs the
few methods of `pathlib.Path` that folders of shards need. Credentials and endpoints are fsspec's: its configuration
files and variables, and those of each store's own package.
"""
