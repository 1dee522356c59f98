"""Unified diffs for open_clip releases. Imported as `sclip_plugin.patches`."""
