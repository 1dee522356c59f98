"""Errors a user can cause. Each message is one line that names the file, flag or field."""


class SClipError(Exception):
    """The data or the run failed: the command line prints the message and exits 1."""


class DataError(SClipError):
    """Shards, captions or keywords that cannot be used."""


class UsageError(SClipError):
    """Wrong flags or a wrong combination of them: exits 2."""
