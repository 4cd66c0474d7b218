"""One-time links: what opens them, for how long, and what lies in the database meanwhile."""

import pytest

from kiro.redaction import Secret
from kiro.storage.database import Database
from kiro.storage.login_links import LIFE_S, LinkPage, LoginLinks
from support.clock import FakeClock

GO = LinkPage("browse", url="https://app.kiro.dev/signin?state=very-secret-state")
ADDRESS = "http://localhost:3128/oauth/callback?code=very-secret-code&state=very-secret-state"


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "kiro.db") as opened:
        yield opened


@pytest.fixture
def links(database, clock):
    return LoginLinks(database, clock)


def test_the_page_is_there_for_the_secret_and_for_nothing_else(links):
    secret = links.make(GO)
    assert links.page(secret) == GO
    for other in ("", "x" * 43, secret.reveal()[:-1], secret.reveal().swapcase()):
        assert links.page(Secret(other)) is None
        assert not links.hand_in(Secret(other), ADDRESS)


def test_a_secret_has_256_random_bits(links):
    one, other = links.make(GO), links.make(GO)
    assert one != other
    assert len(one.reveal()) == 43


def test_an_answer_comes_through_once(links):
    secret = links.make(GO)
    assert links.answer(secret) is None
    assert links.hand_in(secret, ADDRESS)
    assert not links.hand_in(secret, "http://localhost:1/")
    assert links.answer(secret) == ADDRESS


def test_after_an_answer_the_page_waits_for_the_terminal(links):
    secret = links.make(GO)
    links.hand_in(secret, ADDRESS)
    assert links.page(secret).kind == "wait"


def test_another_page_takes_another_answer(links):
    secret = links.make(GO)
    links.hand_in(secret, "wrong")
    links.turn(secret, GO)
    assert links.answer(secret) is None
    assert links.hand_in(secret, ADDRESS)


@pytest.mark.parametrize("kind", ["wait", "code", "done", "failed"])
def test_a_page_without_a_form_takes_no_answer(links, kind):
    secret = links.make(LinkPage(kind))
    assert not links.hand_in(secret, ADDRESS)


@pytest.mark.parametrize("text", ["", "x" * 16_385])
def test_nothing_and_too_much_are_no_answers(links, text):
    assert not links.hand_in(links.make(GO), text)


def test_after_ten_minutes_it_is_gone(links, clock):
    secret = links.make(GO)
    clock.advance(LIFE_S - 1)
    assert links.page(secret) == GO
    clock.advance(1)
    assert links.page(secret) is None
    assert not links.hand_in(secret, ADDRESS)


def test_turning_the_page_makes_no_link_live_longer(links, clock):
    secret = links.make(GO)
    clock.advance(LIFE_S - 1)
    links.turn(secret, GO)
    clock.advance(1)
    assert links.page(secret) is None


def test_the_last_page_stays_for_a_minute(links, clock):
    secret = links.make(GO)
    links.turn(secret, LinkPage("done", "You are signed in."))
    clock.advance(59)
    assert links.page(secret).kind == "done"
    clock.advance(1)
    assert links.page(secret) is None


def test_a_link_can_be_closed(links):
    secret = links.make(GO)
    links.close(secret)
    assert links.page(secret) is None
    assert links.answer(secret) is None


def test_old_links_are_deleted_when_a_new_one_is_made(links, clock, database):
    links.make(GO)
    clock.advance(LIFE_S)
    links.make(GO)
    assert database.row("SELECT count(*) FROM login_links")[0] == 1


def test_two_processes_meet_in_the_database(tmp_path):
    clock = FakeClock()
    with Database(tmp_path / "kiro.db") as one, Database(tmp_path / "kiro.db") as other:
        secret = LoginLinks(one, clock).make(GO)
        assert LoginLinks(other, clock).hand_in(Secret(secret.reveal()), ADDRESS)
        assert LoginLinks(one, clock).answer(secret) == ADDRESS


def test_nothing_of_it_is_readable_in_the_database(links, tmp_path):
    secret = links.make(GO)
    links.hand_in(secret, ADDRESS)
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for text in (secret.reveal(), "very-secret-state", "very-secret-code", "app.kiro.dev"):
        assert text.encode() not in data


def test_a_page_shows_nothing_of_itself():
    assert repr(GO) == "LinkPage(browse)"
