"""Records with named fields (rows of tables, lines of JSON): which field is the image, the caption, the label, …"""

from collections.abc import Iterable, Mapping

from sclip_plugin.errors import UsageError

# role → names that are recognised, best first, without case. A role without names is found only where the user names
# its field.
ROLES: dict[str, tuple[str, ...]] = {
    "image": ("filepath", "file_name", "filename", "image", "image_path", "path", "img", "jpg", "png"),
    "caption": ("caption", "captions", "title", "text", "sentence", "sentences", "description"),
    "label": ("label", "class", "category"),
    "group": (),
    "split": (),
}


def find_columns(names: Iterable[str], given: Mapping[str, str], source: str, needed: Iterable[str]) -> dict[str, str]:
    """{role: field name} of the roles that are there.

    Args:
        names: the source's fields.
        given: {role: name} by the user.
        source: what messages call the source.
        needed: roles that must be found.

    Raises:
        UsageError: a field that was given or is needed is not there; names those that are.
    """
    names = list(names)
    lower = {name.strip().lower(): name for name in reversed(names)}
    found = {}
    for role, known in ROLES.items():
        wanted = (given[role].strip().lower(),) if role in given else known
        match = next((lower[name] for name in wanted if name in lower), None)
        if match is not None:
            found[role] = match
        elif role in given or role in needed:
            what = f"no column {given[role]!r}" if role in given else f"no column recognised as the {role}"
            raise UsageError(f"--{role}-column: {what} in {source}; its columns are: {', '.join(names)}")
    return found
