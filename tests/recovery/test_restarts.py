"""A pipeline that is started again goes on exactly as one that never stopped."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings

from restarting import Restarting
from traffic import BASELINES, CONFIG, STEPS, Sender, Step, do

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(steps=STEPS)
def test_a_restart_changes_nothing(tmp_path: Path, steps: list[Step]) -> None:
    """Ledger, counts of every window and revision bit for bit, findings: all as if nothing had happened."""
    with Restarting(CONFIG, BASELINES) as undisturbed, Restarting(CONFIG, BASELINES, tmp_path) as restarted:
        lives = (undisturbed, restarted)
        senders = [Sender(), Sender()]
        for step in steps:
            for it, sender in zip(lives, senders, strict=True):
                do(step, it, sender)
        for it in lives:
            it.tick()
        assert undisturbed.ledger() == restarted.ledger()
        assert undisturbed.close_all_windows() == restarted.close_all_windows()
        assert undisturbed.seen.counts == restarted.seen.counts
        assert undisturbed.seen.evaluated.keys() == restarted.seen.evaluated.keys()
        for place, expected in undisturbed.seen.evaluated.items():
            assert expected.findings.equals(restarted.seen.evaluated[place].findings), place
            assert expected.quality.equals(restarted.seen.evaluated[place].quality), place
        assert undisturbed.ledger() == restarted.ledger()
