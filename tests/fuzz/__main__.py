"""Fuzzes one target guided by coverage: `python -m fuzz TARGET CORPUS [options of libFuzzer]`; see `make fuzz`.

A finding is written to the folder `CORPUS` as `crash-…`; `python -m fuzz TARGET FILE` runs it again.
"""

import hashlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import atheris


def _kernels() -> Iterator[str]:
    """Modules with compiled kernels: these cannot be watched, since numba would compile the watching too."""
    spec = find_spec("driftmeter")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        for file in Path(folder).rglob("*.py"):
            if "numba" in (text := file.read_text(encoding="utf-8")) or "model.compiled" in text:
                yield ".".join(("driftmeter", *file.relative_to(folder).with_suffix("").parts))


with atheris.instrument_imports(include=["driftmeter"], exclude=list(_kernels())):
    from fuzz.targets import TARGETS, samples


def main() -> None:
    """Fuzz until the options say stop or something is found."""
    name, corpus, *options = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    place = Path(corpus)
    if place.is_file():
        TARGETS[name](place.read_bytes())
        return
    place.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples()[name]):
        (place / f"sample-{number}").write_bytes(sample)

    def target(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except BaseException:  # noqa: BLE001 - whatever it is, it is a finding.
            finding = place / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
            finding.write_bytes(data)
            traceback.print_exc()
            sys.stderr.write(f"found: python -m fuzz {name} {finding}\n")
            sys.stderr.flush()
            os._exit(1)  # An ordinary exit would wait for threads that the target has left behind.

    atheris.Setup([sys.argv[0], corpus, *options], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
