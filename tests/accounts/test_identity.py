"""Which sign-in is which account: pairs of what is here and what comes, in every order of knowing."""

from datetime import UTC, datetime

import pytest

from kiro.accounts.directory import AccountDirectory
from kiro.auth.credentials import (
    BUILDER_ID_START_URL,
    ApiKeyCredentials,
    BuilderIdCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
)
from kiro.auth.records import ImportedAccount
from kiro.redaction import Secret
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

ARN = "arn:aws:codewhisperer:eu-central-1:000000000000:profile/FAKEEXAMPLE1"
HERE, THERE = "https://d-1.awsapps.com/start", "https://d-2.awsapps.com/start"
CLIENT = OidcClient(id="c", secret=Secret("s"))


@pytest.fixture
def directory(tmp_path):
    paths = find_paths({"KIRO_HOME": str(tmp_path)})
    vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
    with Database(paths.database_file) as database:
        yield AccountDirectory(database, vault, paths.locks_dir)


def social(token, **more):
    return ImportedAccount(index=0, credentials=SocialCredentials(refresh_token=Secret(token)), **more)


def builder(token, **more):
    credentials = BuilderIdCredentials(refresh_token=Secret(token), client=CLIENT)
    return ImportedAccount(index=0, credentials=credentials, **more)


def idc(token, arn=None, **more):
    credentials = IdcCredentials(
        refresh_token=Secret(token),
        client=CLIENT,
        auth_region="eu-west-1",
        profile_arn=arn,
        start_url=more.get("start_url"),
    )
    return ImportedAccount(index=0, credentials=credentials, **more)


def key(token, **more):
    return ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret(token)), **more)


A, B = "a@x.org", "b@x.org"
SAME = {
    "the same user": (social("1", user_id="u"), social("2", user_id="u")),
    "the same user under a new email": (social("1", user_id="u", email=A), social("2", user_id="u", email=B)),
    "the same user with a second key": (key("1", user_id="u"), key("2", user_id="u")),
    "the same email, the user known here only": (social("1", user_id="u", email=A), social("2", email=A)),
    "the same email, the user known there only": (social("1", email=A), social("2", user_id="u", email=A)),
    "the same email in other letters": (social("1", email="Ann@X.org"), social("2", email="ann@x.ORG")),
    "the same email, the provider told once": (social("1", email=A), social("2", email=A, provider="Google")),
    "the same email and start URL": (idc("1", email=A, start_url=HERE), idc("2", email=A, start_url=HERE)),
    "the same start URL in another spelling": (
        idc("1", email=A, start_url=HERE),
        idc("2", email=A, start_url=f"{HERE.replace('d-1', 'D-1')}/#/"),
    ),
    "the same Builder ID": (
        builder("1", email=A, start_url=BUILDER_ID_START_URL),
        builder("2", email=A, start_url=BUILDER_ID_START_URL),
    ),
    "the same token and nothing else": (social("1"), social("1")),
    "the same token, whose kind was guessed before": (idc("1"), builder("1", provider="BuilderId")),
    "the same token, whose kind is guessed now": (builder("1", provider="BuilderId"), idc("1")),
    "an empty user id, which is none": (social("1", user_id="", email=A), social("2", user_id="", email=A)),
}
OTHER = {
    "two users": (social("1", user_id="u"), social("2", user_id="v")),
    "two users of one mailbox": (social("1", user_id="u", email=A), social("2", user_id="v", email=A)),
    "two emails": (social("1", email=A), social("2", email=B)),
    "a user here and an email there": (social("1", user_id="u"), social("2", email=A)),
    "one email with two providers": (
        social("1", email=A, provider="Google"),
        social("2", email=A, provider="Github"),
    ),
    "one email at two companies": (idc("1", email=A, start_url=HERE), idc("2", email=A, start_url=THERE)),
    "one email, the company told once": (idc("1", email=A, start_url=HERE), idc("2", email=A)),
    "one email, two kinds": (social("1", email=A), builder("2", email=A)),
    "one user id, two kinds": (social("1", user_id="u"), builder("2", user_id="u")),
    "two tokens and nothing else": (social("1"), social("2")),
    "two empty emails": (social("1", email=""), social("2", email="")),
}


@pytest.mark.parametrize(("first", "second"), SAME.values(), ids=SAME.keys())
def test_is_the_same_account(directory, first, second):
    account = directory.add(first).account
    again = directory.add(second)
    assert again.merged
    assert again.account.id == account.id
    assert len(directory.list()) == 1


@pytest.mark.parametrize(("first", "second"), OTHER.values(), ids=OTHER.keys())
@pytest.mark.parametrize("turned", [False, True], ids=["in this order", "turned"])
def test_is_another_account(directory, first, second, turned):
    directory.add(second if turned else first)
    assert not directory.add(first if turned else second).merged


def test_after_a_rotation_a_bare_token_is_not_recognised_but_the_person_is(directory):
    account = directory.add(social("old", email=A)).account
    directory.save_credentials(account.id, SocialCredentials(refresh_token=Secret("rotated")))
    assert directory.add(social("newer", email=A)).account.id == account.id
    directory.save_credentials(account.id, SocialCredentials(refresh_token=Secret("rotated again")))
    assert not directory.add(social("newer")).merged


def test_the_surest_sign_decides_and_not_the_order(directory):
    by_email = directory.add(social("1", email=A)).account
    by_user = directory.add(social("2", email=B, user_id="u")).account
    by_token = directory.add(social("3")).account
    assert directory.add(social("4", email=A, user_id="u")).account.id == by_user.id
    assert directory.add(social("3", email=A)).account.id == by_token.id
    assert directory.add(social("5", email=A, provider="Google")).account.id == by_email.id


def test_a_file_of_kiro_s_own_tells_which_account_it_was(directory):
    account = directory.add(social("old", id="0123456789ab")).account
    assert account.id == "0123456789ab"
    assert directory.add(social("new", id="0123456789ab")).merged
    directory.change(account.id, user_id="u")
    other = directory.add(social("newer", id="0123456789ab", user_id="v"))
    assert not other.merged
    assert other.account.id != account.id


def test_the_start_url_and_the_profile_stay_when_the_newcomer_does_not_tell_them(directory):
    account = directory.add(idc("1", ARN, user_id="u", start_url=HERE)).account
    again = directory.add(idc("2", user_id="u")).account
    assert (again.id, again.start_url, again.profile_arn) == (account.id, HERE, ARN)
    stored = directory.credentials(account.id)
    assert (stored.start_url, stored.profile_arn, stored.refresh_token) == (HERE, ARN, Secret("2"))


def test_a_builder_id_stays_one_when_a_file_does_not_tell(directory):
    directory.add(builder("1", provider="BuilderId", start_url=BUILDER_ID_START_URL))
    again = directory.add(idc("1")).account
    assert (again.kind, again.start_url) == ("builder_id", BUILDER_ID_START_URL)
    assert isinstance(directory.credentials(again.id), BuilderIdCredentials)


def test_a_followed_store_is_known_by_its_place_unless_somebody_else_signed_in(directory):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    account = directory.add(social("1", email="Ann@x.org"), mode="follow", source="/s", now=now).account
    assert directory.known(social("2"), "/s").id == account.id
    assert directory.known(social("2", email="ann@x.org"), "/s").id == account.id
    assert directory.known(social("2", email=B), "/s") is None
    assert directory.known(social("2"), "/other") is None


EARLIER, LATER = datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, 1, tzinfo=UTC)


def signed_in(token, ends):
    credentials = SocialCredentials(refresh_token=Secret(token), access_token=Secret("a"), expires_at=ends)
    return ImportedAccount(index=0, credentials=credentials, user_id="u")


AGES = {
    "an older copy": (LATER, EARLIER, "active", True),
    "a newer sign-in": (EARLIER, LATER, "active", False),
    "a copy of the same moment": (LATER, LATER, "active", False),
    "a copy without a time": (LATER, None, "active", False),
    "an older copy, but ours is dead": (LATER, EARLIER, "invalid", False),
}


@pytest.mark.parametrize(("ours", "theirs", "state", "kept"), AGES.values(), ids=AGES.keys())
def test_an_old_copy_does_not_end_a_sign_in_that_works(directory, ours, theirs, state, kept):
    account = directory.add(signed_in("ours", ours)).account
    directory.set_state(account.id, state)
    again = directory.add(signed_in("theirs", theirs), keep_newer=True)
    assert (again.merged, again.kept) == (True, kept)
    assert directory.credentials(account.id).refresh_token == Secret("ours" if kept else "theirs")
    assert directory.add(signed_in("fresh", theirs)).kept is False
