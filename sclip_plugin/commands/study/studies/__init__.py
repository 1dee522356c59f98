"""The studies that come with the package: `sclip study --list`."""
