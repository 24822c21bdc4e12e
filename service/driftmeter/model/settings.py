"""Kinds of values that users write in the configuration, checked when it is read."""

import ipaddress
import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from driftmeter.errors import ConfigError
from driftmeter.model.windows import parse_duration_ns

PORT_MAX = 65_535
_HOST = re.compile(r"[^\s/:\[\]]+|\[[0-9A-Fa-f:.%]+\]")


def _checked_by(parse: Callable[[str], object]) -> AfterValidator:
    """Accepts what `parse` accepts; its words are the mistake's."""

    def check(text: str) -> str:
        try:
            parse(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return text

    return AfterValidator(check)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[ipv6]:port`; raises ConfigError when `text` is neither."""
    host, _, port = text.rpartition(":")
    if not _HOST.fullmatch(host) or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise ConfigError(f"{text!r} is not an address: write host:port, such as 127.0.0.1:4317 or [::1]:4317")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine itself can reach `host:port`, by name or by number."""
    host, _ = split_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Duration = Annotated[str, _checked_by(parse_duration_ns)]
"""A whole number and a unit: 250ms, 30s, 5m, 1h, 7d; at most ten years."""

Address = Annotated[str, _checked_by(split_address)]
"""host:port, or [ipv6]:port."""
