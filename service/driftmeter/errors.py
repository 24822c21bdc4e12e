"""Every exception this package raises on purpose.

    DriftmeterError
    ├── ConfigError       a mistake in what the user gave at start: exit code 2, nothing was started
    │   └── BaselineError a baseline file or reference data that cannot be used
    ├── MalformedError    bytes that are not what their sender says they are
    ├── TransientError    something that cannot be done now and may be possible later
    │   └── DiskFullError for want of room on a disk
    └── DamagedError      what was written to disk is not what is there now

Bad data inside a well-formed request is not an exception: it is a counted value.
"""


class DriftmeterError(Exception):
    """Root of all errors raised on purpose."""


class ConfigError(DriftmeterError):
    """A mistake in configuration or arguments; the message says what, where and what to do."""


class BaselineError(ConfigError):
    """A baseline file or reference data that cannot be used."""


class MalformedError(DriftmeterError):
    """Bytes that do not decode; the message says at which offset and why."""


class TransientError(DriftmeterError):
    """Something that cannot be done now; trying again later may help. Nothing has changed by the attempt."""


class DiskFullError(TransientError):
    """There is no room on a disk; the message says which, and what would make some."""


class DamagedError(DriftmeterError):
    """Stored bytes that are not what was written; the message names the file, the place and what to do."""
