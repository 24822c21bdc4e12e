"""Programs that are killed and started again, at addresses that stay the same."""

import json
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from programs import LOG_TAIL_BYTES, LOOPBACK, answers, wait_until

STOP_SECONDS = 120.0
"""How long a program may take to stop when asked."""
_PORTS = range(15_000, 30_000)
"""Below those that systems give to outgoing connections: a client that tries again and again to reach a port of that
range while nobody listens there can end up connected to itself, and then nobody else can listen there."""


def lasting_port() -> int:
    """A free loopback port that stays free while the program that listens there is away."""
    while True:
        port = random.SystemRandom().choice(_PORTS)
        with socket.socket() as probe:
            if probe.connect_ex((LOOPBACK, port)) != 0:
                return port


@dataclass
class Restarted:
    """A program that can be killed and started again.

    Attributes:
        name: For messages, and of its log.
        command: The program's path and its arguments.
        directory: Where its log is, and a note of its process for `end_leftovers`.
        ready_url: Answers 200 when it is ready; None for a program that is so at once.
        env: Environment variables to add to this process' own.
    """

    name: str
    command: Sequence[str | Path]
    directory: Path
    ready_url: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    starts: int = 0
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """File holding all it printed."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; does not wait until it is ready."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as sink:
            # In a session of its own: Ctrl-C in a terminal is for whoever runs the chaos, who then ends the others.
            self._process = subprocess.Popen(
                self.command,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                start_new_session=True,
            )
        self.starts += 1
        note = {"pid": self.pid, "created": psutil.Process(self.pid).create_time()}
        (self.directory / f"{self.name}.pid").write_text(json.dumps(note))

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it says so."""
        self.assert_alive()
        return self.ready_url is None or answers(self.ready_url)

    def wait_until_ready(self) -> None:
        """Returns when it is ready; raises AssertionError when it ends instead."""
        wait_until(f"{self.name} is ready", lambda: self.ready, STOP_SECONDS)

    def kill(self) -> None:
        """SIGKILL: it does nothing more."""
        self.assert_alive()
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end (SIGTERM) and wait for that; returns its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(STOP_SECONDS)

    def end(self) -> None:
        """Make sure that it does not run any more."""
        if self.running and self._process is not None:
            self._process.kill()
            self._process.wait()

    def assert_alive(self) -> None:
        """Raises AssertionError, with the end of its log, when it has ended by itself."""
        assert self._process is not None, f"{self.name} was never started"
        code = self._process.poll()
        assert code is None, f"{self.name} ended with exit code {code}\n{self.log_tail()}"

    def log_tail(self) -> str:
        """The end of its log, named."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return f"--- end of {self.log} ---\n{text[-LOG_TAIL_BYTES:]}"


def end_leftovers(directory: Path) -> None:
    """Kill what an earlier run in this directory has left when it was killed itself."""
    for note in directory.glob("*.pid"):
        told = json.loads(note.read_text())
        try:
            process = psutil.Process(told["pid"])
            if process.create_time() == told["created"]:
                process.send_signal(signal.SIGKILL)
                process.wait(STOP_SECONDS)
        except psutil.NoSuchProcess:
            continue
