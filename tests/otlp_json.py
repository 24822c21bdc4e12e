"""OTLP's JSON of a protobuf request, written apart from the service: protobuf's own JSON with OTLP's deviations."""

import base64
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

_IDS = {"traceId", "spanId", "parentSpanId"}


def json_tree(request: Message, *, upper_case: bool = False) -> dict[str, Any]:
    """The request as JSON values: ids in hexadecimal, enums as integers, 64-bit integers as strings."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    _to_hexadecimal(tree, upper_case=upper_case)
    return tree


def parse_tree(tree: dict[str, Any], request: Message) -> Message:
    """Fill a request from JSON values as protobuf itself does, once ids are base64; for tests to compare with."""
    _to_base64(tree)
    return json_format.ParseDict(tree, request, ignore_unknown_fields=True)


def _to_hexadecimal(value: Any, *, upper_case: bool) -> None:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _to_hexadecimal(part, upper_case=upper_case)
    for key in _IDS & value.keys() if isinstance(value, dict) else ():
        text = base64.b64decode(value[key]).hex()
        value[key] = text.upper() if upper_case else text


def _to_base64(value: Any) -> None:
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _to_base64(part)
    for key in _IDS & value.keys() if isinstance(value, dict) else ():
        value[key] = base64.b64encode(bytes.fromhex(value[key])).decode()
