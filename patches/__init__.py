"""A plugin extension point for open_clip releases, as unified diffs, and what `sclip patch` does with them.

The package is imported as `sclip_plugin.patches`. README.md says what each change is for. Nothing here runs by itself.
"""
