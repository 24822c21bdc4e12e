"""The alert rules and the Prometheus configuration of the compose stack, judged by the real promtool."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from components import ROOT, require

RULES = ROOT / "deploy" / "prometheus" / "rules" / "driftmeter.yaml"
UNIT_TESTS = Path(__file__).with_name("driftmeter_test.yaml")
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs promtool and returns its exit code and all it printed."""
    command = [require("promtool"), *arguments]
    return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


def test_rules_pass_every_lint_of_promtool() -> None:
    """`check rules` with all lints on finds nothing."""
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert checked.returncode == 0, checked.stdout
    assert "3 rules found" in checked.stdout


def test_rules_behave_as_their_unit_tests_say() -> None:
    """`test rules` passes: firing, letting go, stale markers, lookback, restarts."""
    tested = promtool("test", "rules", UNIT_TESTS)
    assert tested.returncode == 0, tested.stdout


def test_unit_tests_notice_a_rule_that_changed(tmp_path: Path) -> None:
    """The unit tests fail when no alert waits: so they do test the rules file of this repository."""
    changed = tmp_path / "rules.yaml"
    changed.write_text(RULES.read_text().replace("for: 5m", "for: 0s"))
    text = UNIT_TESTS.read_text().replace("../../deploy/prometheus/rules/driftmeter.yaml", str(changed))
    unit_tests = tmp_path / "unit_test.yaml"
    unit_tests.write_text(text)
    assert promtool("test", "rules", unit_tests).returncode != 0


def test_prometheus_configuration_is_valid() -> None:
    """`check config` accepts what compose mounts into Prometheus."""
    checked = promtool("check", "config", ROOT / "deploy" / "prometheus" / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """Severity, summary and description are there, and the runbook has the alert's heading with its four parts."""
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"].endswith(".")
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    sections = re.split(r"^## ", (ROOT / file).read_text(), flags=re.MULTILINE)
    runbook = {section.partition("\n")[0].lower(): section for section in sections}[anchor]
    for part in ("Meaning", "Impact", "Diagnosis", "Mitigation"):
        assert f"**{part}.**" in runbook
