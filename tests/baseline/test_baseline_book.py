"""Baseline files that appear, change, break and go while a service runs."""

import os
from pathlib import Path

import numpy as np
import pytest

from driftmeter.baseline.book import BaselineFiles
from driftmeter.baseline.build import build_baseline
from driftmeter.baseline.file import write_baseline
from driftmeter.errors import BaselineError
from driftmeter.model.baseline import Baseline
from rows import dataset


def _baseline(model: str, version: str = "", scale: float = 1.0) -> Baseline:
    return build_baseline(dataset({"x": scale * np.arange(100.0)}), model, version, [])


def test_what_changes_is_read_once(tmp_path: Path) -> None:
    """New and changed files are read the next time they are looked at; others are not."""
    files = BaselineFiles((str(tmp_path / "*.parquet"),))
    first = write_baseline(_baseline("price"), tmp_path / "a.parquet")
    found = files.read().find("price", "1")
    assert found is not None
    assert found.content_hash == first.content_hash
    assert files.changed().read == ()
    second = write_baseline(_baseline("price", "2"), tmp_path / "b.parquet")
    changed = write_baseline(_baseline("price", scale=3), tmp_path / "a.parquet")
    read = files.changed().read
    assert [each.baseline.content_hash for each in read] == [changed.content_hash, second.content_hash]
    assert [each.content for each in read] == [(tmp_path / name).read_bytes() for name in ("a.parquet", "b.parquet")]
    assert files.changed() == type(files.changed())()


def test_the_same_content_written_again_is_no_change(tmp_path: Path) -> None:
    """A file that is copied anew or touched holds the same baseline."""
    files = BaselineFiles((str(tmp_path / "a.parquet"),))
    write_baseline(_baseline("price"), tmp_path / "a.parquet")
    files.read()
    os.utime(tmp_path / "a.parquet", ns=(1, 1))
    assert files.changed().read == ()


def test_a_broken_file_is_told_once_and_read_when_it_is_whole(tmp_path: Path) -> None:
    """A half copied file is a mistake in words; what was read before stays until it is whole."""
    path = tmp_path / "a.parquet"
    files = BaselineFiles((str(path),))
    write_baseline(_baseline("price"), path)
    files.read()
    whole = write_baseline(_baseline("price", scale=2), tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    path.write_bytes(content[:500])
    (mistake,) = files.changed().mistakes
    assert str(path) in mistake
    assert "damaged" in mistake
    assert files.changed().mistakes == ()
    path.write_bytes(content)
    (read,) = files.changed().read
    assert read.baseline.content_hash == whole.content_hash


def test_two_files_for_one_model_are_a_mistake(tmp_path: Path) -> None:
    """Which of them counts would be a guess: at a start it is an error, later the first one stays."""
    files = BaselineFiles((str(tmp_path / "*.parquet"),))
    write_baseline(_baseline("price"), tmp_path / "a.parquet")
    files.read()
    write_baseline(_baseline("price", scale=2), tmp_path / "b.parquet")
    changed = files.changed()
    assert changed.read == ()
    assert "two baselines for model 'price'" in changed.mistakes[0]
    assert "a.parquet" in changed.mistakes[0]
    with pytest.raises(BaselineError, match="two baselines"):
        BaselineFiles(files.patterns).read()


def test_files_that_go_are_told_and_may_come_back(tmp_path: Path) -> None:
    """A file that is gone is named once; when it comes back it is read."""
    path = tmp_path / "a.parquet"
    files = BaselineFiles((str(path),))
    write_baseline(_baseline("price"), path)
    files.read()
    content = path.read_bytes()
    path.unlink()
    assert files.changed().gone == (path,)
    assert files.changed().gone == ()
    path.write_bytes(content)
    assert len(files.changed().read) == 1
