"""Reading of states that come from disk: what is not there, or of another type, is damage."""

from typing import Any

from driftmeter.errors import DamagedError


def member(tree: object, name: str) -> Any:
    """A member of a mapping; raises DamagedError without it."""
    if not isinstance(tree, dict) or name not in tree:
        raise DamagedError(f"the decoder's state has no {name!r}")
    return tree[name]


def items(tree: object) -> list[Any]:
    """A list; raises DamagedError for anything else."""
    if not isinstance(tree, list):
        raise DamagedError("the decoder's state has something else where a list should be")
    return tree


def text_member(tree: object, name: str) -> str:
    """A text in a mapping; raises DamagedError when there is none."""
    return _text(member(tree, name))


def text_items(tree: object, name: str) -> list[str]:
    """A list of texts in a mapping; raises DamagedError when it is anything else."""
    return [_text(each) for each in items(member(tree, name))]


def flag_member(tree: object, name: str) -> bool:
    """A truth value in a mapping; raises DamagedError when there is none."""
    value = member(tree, name)
    if not isinstance(value, bool):
        raise DamagedError(f"the decoder's state has something else than true or false as {name!r}")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise DamagedError("the decoder's state has something else where a text should be")
    return value
