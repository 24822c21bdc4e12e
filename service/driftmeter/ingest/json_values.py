"""JSON values as values of protobuf's fields, by the OTLP specification, and what is wrong with them."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Self

from google.protobuf.descriptor import FieldDescriptor

_HEXADECIMAL = {"trace_id", "span_id", "parent_span_id"}
_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORDS_OF_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
_SHOWN_CHARACTERS = 40


class MistakeError(Exception):
    """What is wrong; the place is put in front of it on the way out."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words, self.place = words, ""

    def within(self, part: str) -> Self:
        """The same, with the key or the number of the element that it is in put in front of its place."""
        separator = "" if not self.place or self.place.startswith("[") else "."
        self.place = f"{part}{separator}{self.place}"
        return self

    def __str__(self) -> str:
        return f"{self.place}: {self.words}" if self.place else self.words


def converter_of(field: FieldDescriptor) -> Callable[[Any], Any]:
    """What makes a JSON value one for this field, which is no message; it raises MistakeError for other values."""
    return _hexadecimal if field.name in _HEXADECIMAL else _CONVERTERS.get(field.type, _integer)


def shown(given: Any) -> str:
    """The start of a value, for the sender's operator."""
    text = json.dumps(given) if isinstance(given, str | int | float | bool) else type(given).__name__
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def _text(given: Any) -> str:
    if not isinstance(given, str):
        raise MistakeError(f"{shown(given)} is not a string")
    return given


def _boolean(given: Any) -> bool:
    if not isinstance(given, bool):
        raise MistakeError(f"{shown(given)} is not true or false")
    return given


def _integer(given: Any) -> int:
    """From a number or a string; 5.0 is an integer too, as protobuf's JSON has it."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, float) and given.is_integer():
        return int(given)
    if isinstance(given, str) and _INTEGER.fullmatch(given):
        return int(given)
    raise MistakeError(f"{shown(given)} is not an integer")


def _enum(given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise MistakeError(f"{shown(given)} is not an integer, as which OTLP has enums")
    return given


def _double(given: Any) -> float:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return float(given)
    if isinstance(given, str):
        if given in _WORDS_OF_NUMBERS:
            return _WORDS_OF_NUMBERS[given]
        if _NUMBER.fullmatch(given):
            return float(given)
    raise MistakeError(f"{shown(given)} is not a number")


def _hexadecimal(given: Any) -> bytes:
    try:
        return binascii.unhexlify(_text(given))
    except (binascii.Error, ValueError):
        raise MistakeError(f"{shown(given)} is not hexadecimal") from None


def _base64(given: Any) -> bytes:
    """Standard or URL-safe, padded or not, as protobuf's JSON has it."""
    text = _text(given).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MistakeError(f"{shown(given)} is not base64") from None


_CONVERTERS: dict[int, Callable[[Any], Any]] = {
    FieldDescriptor.TYPE_STRING: _text,
    FieldDescriptor.TYPE_BYTES: _base64,
    FieldDescriptor.TYPE_BOOL: _boolean,
    FieldDescriptor.TYPE_ENUM: _enum,
    FieldDescriptor.TYPE_DOUBLE: _double,
    FieldDescriptor.TYPE_FLOAT: _double,
}
