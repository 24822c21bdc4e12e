"""The commands and examples of the pages for users, run as a reader would run them."""

import datetime as dt
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[1]
DRIFTMETER = str(Path(sys.executable).with_name("driftmeter"))


def text_of(page: str) -> str:
    """A page by its path from the root."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Lines of all shell blocks."""
    return [line for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


def run(line: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run one line of `driftmeter` in a folder; its output. It must succeed."""
    program, *arguments = shlex.split(line, comments=True)
    assert program == "driftmeter"
    result = subprocess.run(
        [DRIFTMETER, *arguments], cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 0, f"{line}\n{result.stdout}{result.stderr}"
    return result.stdout


def some_rows(first_day: dt.datetime, days: int) -> pl.DataFrame:
    """Forty predictions an hour of a price model."""
    random = np.random.default_rng(7)
    n = days * 24 * 40
    times = [first_day + dt.timedelta(minutes=1.5 * i) for i in range(n)]
    return pl.DataFrame(
        {
            "time": times,
            "age": random.normal(40, 12, n),
            "region": random.choice(["north", "south"], n),
            "price": random.lognormal(3, 0.5, n),
        }
    )
