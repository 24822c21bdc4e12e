"""Every exception this package raises on purpose.

    DriftmeterError
    ├── ConfigError       a mistake in what the user gave at start: exit code 2, nothing was started
    │   └── BaselineError a baseline file or reference data that cannot be used
    ├── TransientError    try again later; may say when
    ├── PermanentError    trying again cannot help: drop and count
    └── MalformedError    bytes that are not what their sender says they are

Bad data inside a well-formed request is not an exception: it is a counted value.
"""


class DriftmeterError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(DriftmeterError):
    """A mistake in configuration or arguments; the message says what, where and what to do."""


class BaselineError(ConfigError):
    """A baseline file or reference data that cannot be used."""


class TransientError(DriftmeterError):
    """A failure that a later attempt may not meet again.

    Args:
        message: What failed.
        retry_after_seconds: When the other side asked to be tried again; None when it did not say.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class PermanentError(DriftmeterError):
    """A failure that every later attempt would meet too."""


class MalformedError(DriftmeterError):
    """Bytes that do not decode; the message says at which offset and why."""
