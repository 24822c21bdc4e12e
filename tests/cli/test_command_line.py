"""Commands as a person runs them: output, exit codes, and one clear line about each mistake."""

import io
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from commands import Ran, Run, runner
from driftmeter import __version__
from driftmeter.baseline.file import read_baseline
from driftmeter.detect.units import DECIDING_KEYS, KEYS
from driftmeter.methods import DECIDING
from driftmeter.methods.sampled import SAMPLED
from driftmeter.model.findings import FINDINGS_SCHEMA

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`driftmeter` with these arguments, in this process."""
    return runner(monkeypatch, capsys)


def frame(seed: int, days: int = 40, shift: float = 0.0) -> pl.DataFrame:
    """Two hundred rows a day: a number, a colour, an answer and its probability."""
    random = np.random.default_rng(seed)
    rows = 200 * days
    return pl.DataFrame(
        {
            "time": pl.Series([JANUARY + timedelta(seconds=432 * i) for i in range(rows)]),
            "size[cm]": random.normal(size=rows) + shift,
            "[/red]": random.choice(["a", "b"], rows),
            "answer": random.choice(["yes", "no"], rows),
            "p": random.random(rows),
            "truth": random.choice(["yes", "no"], rows),
        }
    )


COLUMNS = ("--timestamp", "time", "--prediction", "answer", "--probability", "p=yes", "--label", "truth")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Good times, and later days on which the number has moved."""
    reference, current = tmp_path / "reference.parquet", tmp_path / "current.csv"
    frame(0).write_parquet(reference)
    frame(1, 5, shift=3).write_csv(current)
    return reference, current


def test_json_findings_have_the_documented_fields(run: Run, files: tuple[Path, Path]) -> None:
    """An array ordered by column, method and window; RFC 3339 times in UTC; null for names not given."""
    reference, current = files
    ran = run(
        "analyze", "--reference", reference, "--current", current, "--window", "24h", "--format", "json", *COLUMNS
    )
    assert (ran.code, ran.err) == (0, "")
    findings = json.loads(ran.out)
    assert all(list(each) == list(FINDINGS_SCHEMA) for each in findings)
    order = [(each["column"], each["method"], each["window_index"]) for each in findings]
    assert order == sorted(order)
    assert {each["method"] for each in findings} == set(KEYS)
    assert {each["column"]: each["role"] for each in findings} == {
        "": "model",
        "size[cm]": "feature",
        "[/red]": "feature",
        "answer": "prediction",
        "yes": "probability",
    }
    for each in findings:
        assert [each[name] for name in ("model", "version", "stage", "segment")] == [None] * 4
        assert (each["window"], each["revision"], each["baseline"], each["rows"]) == ("24h", 0, "file", 200)
        start, end = (each[name] for name in ("window_start", "window_end"))
        assert RFC_3339.fullmatch(start)
        assert RFC_3339.fullmatch(end)
        assert datetime.fromisoformat(start) == JANUARY + timedelta(days=each["window_index"])
        assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(days=1)
    moved = [each["detected"] for each in findings if (each["column"], each["method"]) == ("size[cm]", DECIDING)]
    assert moved == [False, True, True, True, True]
    other = {each["reason"] for each in findings if each["method"] not in DECIDING_KEYS}
    assert other == {"informing"}


def test_files_without_times_work_with_row_windows(run: Run, files: tuple[Path, Path]) -> None:
    """Times are null; the trailing partial window is kept; the names given are repeated."""
    reference, current = files
    ran = run(
        "analyze", "--reference", reference, "--current", current, "--window", "300rows", "--format", "json",
        "--ignore", "time", "--model", "m", "--version", "2",
    )  # fmt: skip
    findings = [each for each in json.loads(ran.out) if each["method"] == DECIDING and each["column"] == "p"]
    assert [each["rows"] for each in findings] == [300, 300, 300, 100]
    assert [each["window_index"] for each in findings] == [0, 1, 2, 3]
    for each in findings:
        assert (each["window_start"], each["window_end"], each["model"], each["version"]) == (None, None, "m", "2")


def test_parquet_and_json_hold_the_same_findings(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Both can be written to a file, and say the same."""
    reference, current = files
    base = ("analyze", "--reference", reference, "--current", current, "--window", "24h", *COLUMNS)
    for how in ("json", "parquet", "table"):
        ran = run(*base, "--format", how, "--out", tmp_path / f"findings.{how}")
        assert (ran.code, ran.out) == (0, "")
    table = pl.read_parquet(tmp_path / "findings.parquet")
    assert table.schema == FINDINGS_SCHEMA
    rows = json.loads((tmp_path / "findings.json").read_text())
    assert [each["value"] for each in rows] == table["value"].to_list()
    assert "4 of 5" in (tmp_path / "findings.table").read_text()


def test_table_shows_columns_by_their_own_names(run: Run, files: tuple[Path, Path]) -> None:
    """Names with brackets are names, not markup; a column is one line with its verdict."""
    reference, current = files
    ran = run("analyze", "--reference", reference, "--current", current, "--window", "24h", *COLUMNS)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert any("size[cm]" in line and "4 of 5" in line for line in lines)
    assert any("[/red]" in line and "0 of 5" in line for line in lines)


def test_several_windows_that_overlap(run: Run, files: tuple[Path, Path]) -> None:
    """Each length has its findings; in the table each has lines of its own under its name."""
    reference, current = files
    windows = ("--window", "24h", "--window", "48h every 24h", "--window", "300rows")
    base = ("analyze", "--reference", reference, "--current", current, *COLUMNS, *windows)
    findings = [each for each in json.loads(run(*base, "--format", "json").out) if each["method"] == DECIDING]
    sizes = {
        window: [each["rows"] for each in findings if (each["window"], each["column"]) == (window, "yes")]
        for window in ("24h", "48h every 24h", "300rows")
    }
    assert sizes == {
        "24h": [200] * 5,
        "48h every 24h": [200, 400, 400, 400, 400],
        "300rows": [300, 300, 300, 100],
    }
    table = run(*base).out
    assert [window for window in sizes if f"windows of {window}" in table] == list(sizes)


@pytest.mark.parametrize("show", ["findings", "verdicts", "quality", "anomalies"])
def test_whole_rows_and_all_that_can_be_shown(run: Run, files: tuple[Path, Path], show: str) -> None:
    """As a table for people and as JSON, with what whole rows say."""
    reference, current = files
    base = ("analyze", "--reference", reference, "--current", current, "--window", "24h", *COLUMNS, "--whole-rows")
    rows = json.loads(run(*base, "--show", show, "--format", "json").out)
    table = run(*base, "--show", show).out
    match show:
        case "findings":
            assert {each["method"] for each in rows} == {*KEYS, *SAMPLED}
            assert "domain_classifier" in table
        case "verdicts":
            assert [each["detected"] for each in rows] == [False, True, True, True, True]
            assert table.count("yes") == 4
        case "quality":
            assert [each["duplicates"] for each in rows if each["role"] == "model"] == [0] * 5
            assert "size[cm]" in table
        case _:
            assert len(rows) == 5 * 20
            assert [each["row"] // 200 for each in rows] == [day for day in range(5) for _ in range(20)]
            assert "anomalous" in table


def test_what_cannot_be_shown_is_refused(run: Run, files: tuple[Path, Path]) -> None:
    """A name that is none, and rows that nobody looked at."""
    base = ("analyze", "--reference", files[0], "--current", files[1])
    ran = run(*base, "--show", "everything")
    assert (ran.code, "--show everything: must be findings, verdicts, quality or anomalies" in ran.err) == (2, True)
    ran = run(*base, "--show", "anomalies")
    assert (ran.code, "--show anomalies: needs --whole-rows" in ran.err) == (2, True)


def test_marks_that_fit_no_column_are_refused(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Misspelt names of texts and embeddings: the message names the columns that there are."""
    for option in ("--text", "--embedding"):
        for command in (
            ("analyze", "--reference", files[0], "--current", files[1]),
            ("baseline", "build", "--data", files[0], "--model", "m", "--out", tmp_path / "b.parquet"),
        ):
            ran = run(*command, *COLUMNS, option, "nothing*")
            assert ran.code == 2
            assert f"no column fits {option} 'nothing*'; there are" in ran.err


def test_parquet_is_written_to_a_pipe(files: tuple[Path, Path]) -> None:
    """Without a file, the bytes go to the output; the program runs by its name, with exit code 0."""
    reference, current = files
    command = [
        sys.executable, "-m", "driftmeter", "analyze", "--reference", str(reference), "--current", str(current),
        "--window", "100rows", "--format", "parquet", *COLUMNS,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert pl.read_parquet(io.BytesIO(done.stdout)).schema == FINDINGS_SCHEMA


def test_mistake_ends_a_real_process_with_code_2() -> None:
    """The message is one line without a traceback."""
    command = [sys.executable, "-m", "driftmeter", "baseline", "show", "gone.parquet"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("driftmeter: gone.parquet: there is no such baseline file")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--reference": "gone.parquet"}, "gone.parquet: there is no such file"),
        ({"--current": "gone.csv"}, "gone.csv: there is no such file"),
        ({"--window": "soon"}, "'soon' is not a window"),
        ({"--format": "xml"}, "--format xml: must be table, json or parquet"),
        ({"--timestamp": "when"}, "no column named 'when'; the file has time, size[cm], [/red]"),
        ({"--timestamp": "p"}, "'p' of type Float64 cannot be a timestamp"),
        ({"--prediction": "p"}, "'p' is given two roles"),
        ({"--ignore": "nothing"}, "no column named 'nothing'"),
        ({"--out": "no folder/findings"}, "--out no folder/findings: cannot be written"),
    ],
    ids=str,
)
def test_bad_input_of_analyze_is_one_line_and_code_2(
    run: Run, files: tuple[Path, Path], changes: dict[str, str], message: str
) -> None:
    """Each mistake says what is wrong; nothing is printed on the output."""
    reference, current = files
    given = {"--reference": str(reference), "--current": str(current), "--window": "24h", "--timestamp": "time"}
    given |= {"--probability": "p", "--prediction": "answer"} | changes
    ran = run("analyze", *(word for pair in given.items() for word in pair))
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.startswith("driftmeter: ")
    assert ran.err.count("\n") == 1


def test_window_by_time_without_timestamps_says_what_to_do(run: Run, files: tuple[Path, Path]) -> None:
    """It names the option, and the other kind of window."""
    reference, current = files
    ran = run("analyze", "--reference", reference, "--current", current, "--window", "1h", "--ignore", "time")
    assert ran.code == 2
    assert "--timestamp" in ran.err
    assert "5000rows" in ran.err


@pytest.mark.parametrize("arguments", [("analyze",), ("nothing",), ("baseline", "build", "--data"), ("--nothing",)])
def test_wrong_arguments_are_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    """Missing and unknown options and commands."""
    assert run(*arguments).code == 2


def test_version_and_help(run: Run) -> None:
    """Both end with 0; the help names every command."""
    assert run("--version").out == f"driftmeter {__version__}\n"
    text = run("--help").out
    for command in ("serve", "demo", "baseline", "analyze", "config"):
        assert command in text


def test_baseline_is_built_and_shown(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Build writes the file and says how much; show prints model, span, chunks, and one line a column."""
    reference, _ = files
    out = tmp_path / "made" / "price.baseline.parquet"
    built = run("baseline", "build", "--data", reference, "--model", "price", "--out", out, *COLUMNS)
    assert built == Ran(0, f"Wrote {out}: 8,000 rows, 4 columns\n", "")
    baseline = read_baseline(out)
    assert (baseline.model, baseline.version, baseline.windows) == ("price", "", ("5m", "1h", "24h"))
    shown = run("baseline", "show", out)
    assert (shown.code, shown.err) == (0, "")
    for text in (
        "model price, any version: 8,000 rows, 4 columns",
        "from 2024-01-01 00:00 to 2024-02-09 23:52 UTC",
        "24h × 40",
        baseline.content_hash[:16],
        "size[cm]",
        "[/red]",
        "a 5",
    ):
        assert text in shown.out


def test_baseline_options_reach_the_file(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Version, windows, roles under other names, ignored columns."""
    reference, _ = files
    out = tmp_path / "b.parquet"
    ran = run(
        "baseline", "build", "--data", reference, "--model", "m", "--version", "7", "--out", out, "--window", "1d",
        "--window", "500rows", "--timestamp", "time", "--prediction", "answer=verdict", "--ignore", "truth",
        "--ignore", "p",
    )  # fmt: skip
    assert ran.code == 0
    baseline = read_baseline(out)
    assert (baseline.version, baseline.windows) == ("7", ("1d", "500rows"))
    assert [each.column.field for each in baseline.columns] == [
        "feature.size[cm]", "feature.[/red]", "prediction.verdict"
    ]  # fmt: skip


def test_hours_of_the_week_go_by_a_time_zone(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """The zone is in the file; a wrong one, and one without --seasonal, is code 2 and says what to do."""
    out = tmp_path / "b.parquet"
    build = ("baseline", "build", "--data", files[0], "--model", "m", "--out", out, *COLUMNS)
    assert run(*build, "--seasonal", "hour-of-week", "--time-zone", "Asia/Tokyo").code == 0
    assert read_baseline(out).zone == "Asia/Tokyo"
    ran = run(*build, "--seasonal", "hour-of-week", "--time-zone", "Tokyo")
    assert (ran.code, "'Tokyo': there is none of this name" in ran.err) == (2, True)
    ran = run(*build, "--time-zone", "Asia/Tokyo")
    assert (ran.code, "add that" in ran.err) == (2, True)


def test_baseline_without_times_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    """A baseline that can calibrate nothing by time says so; columns that were left out are named."""
    data, out = tmp_path / "rows.parquet", tmp_path / "b.parquet"
    pl.DataFrame({"x": [1.0, 2.0], "[none]": [None, None]}).write_parquet(data)
    ran = run("baseline", "build", "--data", data, "--model", "m", "--out", out)
    assert ran.code == 0
    assert "note: without --timestamp there are no verdicts" in ran.err
    assert "left out: [none]: all its values are missing" in ran.err
    shown = run("baseline", "show", out)
    assert "left out: [none]: all its values are missing" in shown.out
    assert "chunks: none" in shown.out


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "damaged or not a baseline"), (b"PAR1PAR1PAR1", "damaged or not a baseline")]
)
def test_damaged_baseline_is_code_2(run: Run, tmp_path: Path, content: bytes, message: str) -> None:
    """`baseline show` says what is wrong with the file."""
    path = tmp_path / "b.parquet"
    path.write_bytes(content)
    ran = run("baseline", "show", path)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_config_check_says_good_or_what_is_wrong(run: Run, tmp_path: Path) -> None:
    """A good file is good; three mistakes are told at once; a baseline it names must be there."""
    path = tmp_path / "driftmeter.yaml"
    path.write_text("window: {lengths: [1h]}\n")
    assert run("config", "check", path) == Ran(0, f"{path}: good\n", "")
    path.write_text("window: {lengths: [1x], clok: data}\ndetect: {level: 3}\n")
    ran = run("config", "check", path)
    assert (ran.code, ran.out) == (2, "")
    for place in ("3 mistakes", "window.lengths.0:", "window.clok:", "detect.level:"):
        assert place in ran.err
    path.write_text(f"baseline: {{files: ['{tmp_path}/gone.parquet']}}\n")
    ran = run("config", "check", path)
    assert ran.code == 2
    assert "there is no such baseline file" in ran.err


def test_baseline_is_calibrated(run: Run, files: tuple[Path, Path], tmp_path: Path) -> None:
    """Budgets with their levels, the smallest drift of each column, the level kept in the file; or what is wrong."""
    reference, _ = files
    out = tmp_path / "b.parquet"
    build = ("baseline", "build", "--data", reference, "--model", "m", "--out", out, *COLUMNS)
    assert run(*build).code == 0
    before = read_baseline(out)
    assert len(before.levels) == 1
    config = tmp_path / "driftmeter.yaml"
    config.write_text("baseline: {references: [file, previous]}\nwindow: {lengths: [24h]}\n")
    assert run(*build, "--config", config).code == 0
    assert len(read_baseline(out).levels) == 2
    assert not before.levels.keys() & read_baseline(out).levels.keys()
    config.write_text("detect: {false_alarms_per_week: 0.1}\n")
    assert "supports 0.18 false alarms a week or more" in run(*build, "--config", config).err
    assert run(*build, "--no-calibrate").code == 0
    assert not read_baseline(out).levels
    ran = run("baseline", "calibrate", out, "--window", "24h", "--false-alarms-per-week", "2")
    assert ran.code == 0
    for text in ("5.7 weeks", "asked per week", "window of 24h", "size[cm]", "[/red]", f"Kept the level in {out}"):
        assert text in ran.out.replace("\n", " ")
    assert len(read_baseline(out).levels) == 1
    assert read_baseline(out).content_hash == before.content_hash
    short = run("baseline", "calibrate", out, "--window", "24h", "--false-alarms-per-week", "0.1")
    assert short.code == 2
    assert "it supports 0.18 or more" in short.err
    config.write_text(f"baseline: {{files: ['{out}']}}\ndetect: {{false_alarms_per_week: 0.1}}\n")
    checked = run("config", "check", config)
    assert checked.code == 2
    assert "detect.false_alarms_per_week: 0.1 cannot be kept" in checked.err
    config.write_text(f"baseline: {{files: ['{out}']}}\ndetect: {{false_alarms_per_week: 2}}\n")
    assert run("config", "check", config).code == 0


def test_segments_are_built_and_checked(run: Run, tmp_path: Path) -> None:
    """A segment's column is no feature; the configuration is told when the baseline lacks what it asks for."""
    out, config = tmp_path / "b.parquet", tmp_path / "driftmeter.yaml"
    frame(1).with_columns(region=pl.col("size[cm]").round().cast(pl.Int64) % 3).write_parquet(tmp_path / "r.parquet")
    build = ("baseline", "build", "--data", tmp_path / "r.parquet", "--model", "m", "--out", out, *COLUMNS)
    ran = run(*build, "--window", "24h", "--segment", "region=area", "--segment-values", "2")
    assert ran.code == 0
    assert "3 segments: area=" in ran.out
    built = read_baseline(out)
    assert {label.partition("=")[0] for label in built.segments} == {"area"}
    assert "area=other" in built.segments
    assert not {"region", "area"} & {each.column.name for each in built.columns}
    for segments, said in (("{area: 2}", ""), ("{area: 1}", "--segment-values 1"), ("{place: 4}", "--segment place")):
        config.write_text(f"baseline: {{files: ['{out}']}}\nsegments: {segments}\n")
        checked = run("config", "check", config)
        assert checked.code == 0
        assert said in checked.err.replace("\n", " ")
        assert bool(said) == ("no_baseline" in checked.err.replace("\n", " "))
    for mistake, said in (("{'a=b': 2}", "is no name of a segment"), ("{area: 0}", "segments.area")):
        config.write_text(f"segments: {mistake}\n")
        assert said in run("config", "check", config).err
    assert "no column named" in run(*build, "--segment", "empty").err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--segment", "v"), "column 'v' cannot be a segment: lists of numbers are no segments"),
        (("--segment", "v", "--embedding", "v"), "column 'v' cannot be a segment: lists of numbers are no segments"),
        (("--segment", "d"), "column 'd' cannot be a segment: values of type Date are neither numbers nor categories"),
        (("--segment", "none"), "column 'none' cannot be a segment: all its values are missing"),
        (("--segment", "c", "--ignore", "c"), "column 'c' is a segment and to be ignored: take one of these back"),
    ],
)
def test_what_cannot_be_a_segment_is_refused(run: Run, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """One line that says which column and why, whatever it holds."""
    rows = {"x": [1.0, 2.0], "c": ["a", "b"], "v": [[1.0], [2.0]], "d": [JANUARY.date()] * 2, "none": [None, None]}
    pl.DataFrame(rows).write_parquet(tmp_path / "rows.parquet")
    ran = run(
        "baseline", "build", "--data", tmp_path / "rows.parquet", "--model", "m", "--out", tmp_path / "b", *options
    )
    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize("budget", ["0", "-1", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(run: Run, files: tuple[Path, Path], tmp_path: Path, budget: str) -> None:
    """False alarms a week are a number above 0."""
    baseline = tmp_path / "b.parquet"
    built = run("baseline", "build", "--data", files[0], "--model", "m", *COLUMNS, "--no-calibrate", "--out", baseline)
    assert built.code == 0
    ran = run("baseline", "calibrate", baseline, "--false-alarms-per-week", budget)
    assert ran.code == 2
    assert f"--false-alarms-per-week {budget}: must be a number above 0" in ran.err


def test_config_schema_is_json(run: Run) -> None:
    """The schema can be given to an editor as it is."""
    ran = run("config", "schema")
    assert ran.code == 0
    assert set(json.loads(ran.out)["properties"]) >= {"ingest", "window", "baseline", "detect", "export"}


def test_serve_refuses_a_bad_configuration_before_it_starts(run: Run, tmp_path: Path) -> None:
    """A mistake at start ends with code 2 and its place."""
    path = tmp_path / "driftmeter.yaml"
    path.write_text("ingest: {lisen: 1}\n")
    ran = run("serve", "--config", path)
    assert ran.code == 2
    assert "ingest.lisen: there is no such field" in ran.err


def test_serve_refuses_a_level_that_is_none(run: Run) -> None:
    """One of the four is asked for, without a traceback; capitals do not matter."""
    ran = run("serve", "--log-level", "foo")
    assert (ran.code, ran.out) == (2, "")
    for level in ("foo", "debug", "info", "warning", "error"):
        assert level in ran.err
    assert "Traceback" not in ran.err
    ran = run("serve", "--log-level", "WARNING", "--config", "gone.yaml")
    assert (ran.code, ran.err) == (2, "driftmeter: gone.yaml: there is no such file\n")
