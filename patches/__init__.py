"""A plugin extension point for open_clip releases, as unified diffs, and `sclip patch`, which applies and reverts them.

Imported as `sclip_plugin.patches`. README.md says what each change is for. Nothing here runs by itself.
"""
