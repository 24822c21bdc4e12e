"""Running real programs for the length of a `with` block: started, waited for, always stopped, their logs shown."""

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from driftmeter.clock import SystemClock

LOOPBACK = "127.0.0.1"
"""The only address that tests listen on."""
START_SECONDS = 60.0
"""How long a program may take until it is ready; generous, since builds may share the machine."""
STOP_SECONDS = 20.0
"""How long a program may take to stop when asked, before it is killed."""
LOG_TAIL_BYTES = 8_000
"""How much of a program's log goes into the report of a test that fails."""

_CLOCK = SystemClock()


def free_port() -> int:
    """A TCP port on the loopback address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(what: str, holds: Callable[[], bool], seconds: float = START_SECONDS) -> None:
    """Returns as soon as `holds()` is true; raises AssertionError naming `what` after `seconds`."""
    deadline = _CLOCK.monotonic_seconds() + seconds
    pause = threading.Event()
    while not holds():
        if _CLOCK.monotonic_seconds() > deadline:
            raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")
        pause.wait(0.05)


def answers(url: str) -> bool:
    """True when a GET of this URL answers 200."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs.

    Attributes:
        process: Its process; tests of crashes may kill it.
        log: File holding all it printed.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def log_text(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        """Asks it to stop (SIGTERM), kills it when it does not; returns its exit code. Safe to call twice."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(STOP_SECONDS)


@contextmanager
def running(
    command: Sequence[str | Path], log: Path, ready: Callable[[], bool], env: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Runs a program until the block ends, entering it once `ready()` is true.

    Args:
        command: The program's path and its arguments.
        log: File that takes all it prints; appended to.
        ready: Polled until true. A program that ends before that raises AssertionError.
        env: Environment variables to add to this process' own.

    An exception in the block carries the end of the log as a note.
    """
    with log.open("ab") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    program = Program(process, log)
    try:
        wait_until(f"{command[0]} is ready", lambda: process.poll() is not None or ready())
        assert process.poll() is None, f"{command[0]} ended with exit code {process.returncode} before it was ready"
        yield program
    except BaseException as error:
        error.add_note(f"--- end of {log} ---\n{program.log_text()[-LOG_TAIL_BYTES:]}")
        raise
    finally:
        program.stop()
