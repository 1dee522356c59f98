"""Values of a study file: texts with variables in them, flags, whole numbers. What is wrong with one is a `Bad`."""

from string import Template
from typing import Any, Final, TypeAlias

LARGEST: Final = 2**31 - 1  # of any whole number; NumPy's seeds end at twice this, and a rank's number is added to one

Value: TypeAlias = str | int | float | bool
Flag: TypeAlias = Value | list[Value]
Raw: TypeAlias = dict[str, Any]  # a TOML table: what it holds is checked key by key


class Bad(Exception):
    """What is wrong in a file, without the file's name."""


def resolved(raw: Raw) -> dict[str, str]:
    """The variables' values. One may use others, whatever the order in the file."""
    values: dict[str, str] = {}
    open_names = dict(raw)
    while open_names:
        ready = [n for n, value in open_names.items() if not set(_uses(n, value)) & (set(open_names) | {n})]
        if not ready:
            raise Bad(f"variables: {', '.join(open_names)} use each other")
        for name in ready:
            values[name] = Filler(values).text(f"variables: {name}", str(open_names.pop(name)))
    return values


def _uses(name: str, value: object) -> list[str]:
    if not isinstance(value, str | int | float):
        raise Bad(f"variables: {name} must be text or a number, got {value!r}")
    return [found["named"] or found["braced"] for found in Template.pattern.finditer(str(value))]


class Filler:
    """Replaces `$name` by the variable's value.

    Args:
        values: the variables' values by name.
    """

    def __init__(self, values: dict[str, str]) -> None:
        self.values = values

    def text(self, key: str, value: str) -> str:
        """A text with its variables replaced; `key` names it in messages."""
        if "\0" in value:
            raise Bad(f"{key}: holds a null character, which no command can be given")
        try:
            return Template(value).substitute(self.values)
        except KeyError as error:
            raise Bad(f"{key}: no variable ${error.args[0]}; there are {', '.join(self.values)}") from None
        except ValueError:
            raise Bad(f"{key}: a lone $ in {value!r}; $$ stands for the sign itself") from None

    def flag(self, key: str, value: Flag) -> Flag:
        """A flag's value with the variables replaced in its texts."""
        if isinstance(value, list):
            return [self.text(key, one) if isinstance(one, str) else one for one in value]
        return self.text(key, value) if isinstance(value, str) else value

    def texts(self, key: str, values: object) -> list[str]:
        """The texts of a list."""
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise Bad(f"{key}: must be a list of texts, got {values!r}")
        return [self.text(key, one) for one in values]


def is_flag(value: object) -> bool:
    """True for a text, a number, a boolean, or a list of these."""
    return all(isinstance(one, Value) for one in value) if isinstance(value, list) else isinstance(value, Value)


def optional(key: str, table: Raw, where: str = "") -> int | None:
    """The whole number of at least 1 under this key; None where the table has no such key."""
    value = table.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise Bad(f"{where}{key}: must be a whole number of at least 1, got {value!r}")
    if value is not None and value > LARGEST:
        raise Bad(f"{where}{key}: must be at most {LARGEST}, got {value}")
    return value
