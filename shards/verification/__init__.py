"""Shards looked at to the last byte, as `sclip verify` does it.

`parts` finds what is in a folder, `shard_checks` looks at one shard, `folder_checks` compares the shards with the files
beside them, and `verification` does all of it:

    found = verify(Path("shards"))
    found.faults.counts
"""
