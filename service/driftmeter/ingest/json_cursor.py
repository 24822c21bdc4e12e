"""A place in a JSON text that is read piece by piece."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from driftmeter.ingest.json_values import MistakeError

_BLANK = re.compile(r"[ \t\n\r]*")


def _no_constant(name: str) -> NoReturn:
    raise MistakeError(f"{name} must be a string")


class Cursor:
    """A place in a JSON text.

    Every reading raises MistakeError where the text is not JSON, RecursionError where it nests too deeply for Python.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def value(self) -> Any:
        """The value here, as Python has it; moves behind it."""
        self._skip_blank()
        try:
            value, self._at = self._decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            raise MistakeError(f"{error.msg[0].lower() + error.msg[1:]} at character {error.pos}") from None
        except ValueError as error:  # A number of thousands of digits.
            raise MistakeError(str(error)) from None
        return value

    def members(self) -> Iterator[str]:
        """The keys of the object here, each with the cursor at its value, which must be read before the next."""
        yield from self._items("{", "}", self._key)

    def elements(self) -> Iterator[str]:
        """For each element of the list here an empty word with the cursor at it; it must be read before the next."""
        yield from self._items("[", "]", str)

    def null(self) -> bool:
        """Whether null is here; moves behind it if so."""
        self._skip_blank()
        found = self._text.startswith("null", self._at)
        self._at += 4 * found
        return found

    def end(self) -> None:
        """Check that nothing follows."""
        self._skip_blank()
        if self._at != len(self._text):
            raise MistakeError(f"more follows at character {self._at}")

    def _items(self, opening: str, closing: str, key: Callable[[], str]) -> Iterator[str]:
        self._take(opening)
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            yield key()
            if self._peek() == closing:
                self._at += 1
                return
            self._take(",")

    def _key(self) -> str:
        if self._peek() != '"':
            raise MistakeError(f"a key is missing at character {self._at}")
        key = self.value()
        self._take(":")
        return str(key)

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise MistakeError(f"'{mark}' is missing at character {self._at}")
        self._at += 1

    def _peek(self) -> str:
        self._skip_blank()
        return self._text[self._at : self._at + 1]

    def _skip_blank(self) -> None:
        if (found := _BLANK.match(self._text, self._at)) is not None:
            self._at = found.end()
