"""What prepares data: readers, writer, keyword extraction, verification. Imported as `sclip_plugin.shards`."""
