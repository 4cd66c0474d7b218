"""Two thousand requests in bad weather: everyone is answered or honestly refused, and no account is wronged.

What must never happen is asserted inside the simulation, at the moment in which it would.
"""

import pytest

from kiro import errors
from support.simulation import Simulation
from support.virtual_time import run

REQUESTS, SECONDS = 2000, 3600.0
WEATHER = {
    "RateLimited",
    "TokenRejected",
    "AccountSuspended",
    "ModelOverloaded",
    "UpstreamBroken",
    "NetworkFailed",
    "StreamCut",
    "EmptyAnswer",
}


async def simulated(seed, **options):
    return await Simulation(seed, requests=REQUESTS, seconds=SECONDS, **options).run()


@pytest.mark.parametrize("strategy", ["least-used", "priority", "round-robin", "most-left"])
@pytest.mark.parametrize("seed", range(2))
def test_every_request_is_answered_once_or_honestly_refused(strategy, seed):
    done = run(simulated(seed, strategy=strategy, sessions=60, max_in_flight=3))
    refused = [outcome for outcome in done.outcomes.values() if outcome is not None]
    assert len(done.outcomes) == REQUESTS
    assert len(refused) < 0.02 * REQUESTS
    assert all(isinstance(one, errors.UpstreamError | errors.AccountError) for one in refused)
    assert set(done.refusals) >= WEATHER
    assert min(done.turns.moves, done.turns.helped, len(done.continued)) > 50


@pytest.mark.parametrize("seed", range(3))
def test_round_robin_gives_each_account_its_fair_share_of_what_it_was_free_for(seed):
    done = run(simulated(seed, strategy="round-robin", sessions=0, max_in_flight=8))
    for name, share in done.turns.due.items():
        assert done.turns.starts[name] == pytest.approx(share, rel=0.1)


def test_with_every_account_throttled_clients_are_told_when_to_come_back():
    """The storms of all five at once, and too many requests for what is left."""
    done = run(simulated(7, strategy="least-used", sessions=20, max_in_flight=1, storms_last=(30, 200)))
    waits = [one.retry_after_s for one in done.outcomes.values() if isinstance(one, errors.NoAccountReady)]
    assert waits
    assert all(wait_s is not None and wait_s >= 1 for wait_s in waits)
