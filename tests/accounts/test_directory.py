"""Accounts are added once, named well, changed by name or id, and removed with their secrets."""

from datetime import UTC, datetime

import msgspec
import pytest

from kiro.accounts.account import UsageSnapshot
from kiro.accounts.directory import AccountDirectory
from kiro.auth.credentials import BuilderIdCredentials, IdcCredentials, OidcClient, SocialCredentials
from kiro.auth.records import ImportedAccount
from kiro.errors import UsageError
from kiro.redaction import Secret
from kiro.storage.database import Database
from kiro.storage.paths import find_paths
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

ARN = "arn:aws:codewhisperer:eu-central-1:000000000000:profile/FAKEEXAMPLE1"


def open_directory(tmp_path) -> tuple[Database, AccountDirectory]:
    paths = find_paths({"KIRO_HOME": str(tmp_path)})
    database = Database(paths.database_file)
    vault = Vault(paths.vault_file, Surroundings(paths.key_file, use_keyring=False))
    return database, AccountDirectory(database, vault, paths.locks_dir)


@pytest.fixture
def directory(tmp_path):
    database, directory = open_directory(tmp_path)
    yield directory
    database.close()


def social(refresh: str = "r", **more) -> ImportedAccount:
    credentials = SocialCredentials(refresh_token=Secret(refresh), provider=more.get("provider"))
    return ImportedAccount(index=0, credentials=credentials, **more)


def test_an_added_account_can_be_had_by_name_and_by_id(directory):
    added = directory.add(social(email="ann@example.com", provider="Google"))
    assert not added.merged
    account = added.account
    assert directory.get("ANN") == directory.get(account.id) == account
    assert (account.name, account.kind, account.provider, account.state) == ("ann", "social", "Google", "active")
    assert directory.credentials(account.id).refresh_token == Secret("r")


def test_every_account_gets_a_machine_id_of_its_own_that_stays(directory):
    one = directory.add(social("1")).account
    two = directory.add(social("2", machine_id="ab" * 32)).account
    assert len(one.machine_id) == 64 != two.machine_id
    assert two.machine_id == "ab" * 32
    assert directory.get(one.id).machine_id == one.machine_id


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"email": "a@x.org"}, {"email": "A@x.org"}, True),
        ({"email": "a@x.org"}, {"email": "b@x.org"}, False),
        ({"email": "a@x.org", "user_id": "1"}, {"email": "a@x.org", "user_id": "2"}, False),
        ({"user_id": "1", "email": "a@x.org"}, {"user_id": "1", "email": "new@x.org"}, True),
        ({"email": "a@x.org", "provider": "Google"}, {"email": "a@x.org", "provider": "Github"}, False),
        ({}, {}, False),
    ],
    ids=["same email", "other email", "other user", "same user, new email", "other provider", "nothing known"],
)
def test_the_same_person_is_recognised(directory, first, second, same):
    directory.add(social("r1", **first))
    assert directory.add(social("r2", **second)).merged is same
    assert len(directory.list()) == (1 if same else 2)


def test_the_same_refresh_token_is_the_same_account(directory):
    directory.add(social("r1"))
    assert directory.add(social("r1", email="late@x.org")).merged
    assert directory.list()[0].email == "late@x.org"


def test_the_same_email_at_two_companies_is_two_accounts(directory):
    def idc(url: str) -> ImportedAccount:
        client = OidcClient(id="c", secret=Secret("s"))
        credentials = IdcCredentials(refresh_token=Secret(url), client=client, auth_region="eu-west-1", start_url=url)
        return ImportedAccount(index=0, credentials=credentials, email="a@x.org", start_url=url)

    directory.add(idc("https://d-1.awsapps.com/start"))
    assert not directory.add(idc("https://d-2.awsapps.com/start")).merged


def test_adding_again_renews_the_secrets_and_keeps_name_priority_and_id(directory):
    account = directory.add(social("old", email="a@x.org"), name="mine").account
    directory.change("mine", priority=7)
    directory.set_state(account.id, "invalid", "invalid_grant")
    again = directory.add(social("new", email="a@x.org")).account
    assert (again.id, again.name, again.priority, again.state) == (account.id, "mine", 7, "active")
    assert directory.credentials(account.id).refresh_token == Secret("new")


def test_a_taken_name_gets_a_number(directory):
    names = [directory.add(social(str(number), provider="Google")).account.name for number in range(3)]
    assert names == ["google", "google-2", "google-3"]


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "ä", "x" * 65])
def test_impossible_names_are_refused(directory, name):
    with pytest.raises(UsageError):
        directory.add(social(), name=name)
    assert directory.list() == []


def test_two_accounts_cannot_have_one_name(directory):
    directory.add(social("1"), name="one")
    directory.add(social("2"), name="two")
    with pytest.raises(UsageError, match="already"):
        directory.rename("two", "ONE")
    with pytest.raises(UsageError, match="already"):
        directory.add(social("3"), name="One")
    assert directory.rename("one", "One").name == "One"


def test_an_unknown_name_is_told_with_the_known_ones(directory):
    directory.add(social(), name="mine")
    with pytest.raises(UsageError) as caught:
        directory.get("yours")
    assert "mine" in caught.value.hint


def test_a_disabled_account_keeps_the_state_below(directory):
    account = directory.add(social()).account
    directory.set_state(account.id, "exhausted", "month")
    disabled = directory.enable(account.name, False)
    assert (disabled.enabled, disabled.state) == (False, "exhausted")
    assert directory.enable(account.name, True).state == "exhausted"


def test_a_removed_account_leaves_no_secret(directory, tmp_path):
    account = directory.add(social("r", proxy=Secret("http://u:p@x"))).account
    directory.remove(account.name)
    assert directory.list() == []
    assert directory.credentials(account.id) is None
    assert account.id not in (tmp_path / "vault.json").read_text()


def test_saving_after_removal_brings_nothing_back(directory):
    account = directory.add(social("r")).account
    directory.remove(account.id)
    assert directory.save_credentials(account.id, SocialCredentials(refresh_token=Secret("x"))) is False
    assert directory.credentials(account.id) is None


def test_changes_are_seen_by_another_process(directory, tmp_path):
    database, other = open_directory(tmp_path)
    with database:
        before = directory.version()
        account = other.add(social("r")).account
        assert directory.version() != before
        before = directory.version()
        other.set_state(account.id, "cooling")
        assert directory.version() != before
        before = directory.version()
        other.set_state(account.id, "cooling")
        assert directory.version() == before


def test_settings_of_an_account_are_kept(directory):
    directory.add(social(), name="a")
    changed = directory.change("a", priority=3, region="eu-central-1", flavour="cli", email="a@x.org", user_id="u")
    assert (changed.priority, changed.region, changed.flavour, changed.email) == (3, "eu-central-1", "cli", "a@x.org")
    assert directory.change("a", region="").region is None


def test_accounts_are_listed_by_priority(directory):
    directory.add(social("1"), name="late")
    directory.add(social("2"), name="early")
    directory.change("late", priority=1)
    assert [account.name for account in directory.list()] == ["early", "late"]


def test_a_proxy_is_shown_without_its_password_and_used_with_it(directory):
    directory.add(social(), name="a")
    shown = directory.set_proxy("a", "http://me:abc-def@p.example:3128")
    assert "abc-def" not in shown.proxy
    assert directory.proxy(shown.id).reveal() == "http://me:abc-def@p.example:3128"
    assert directory.set_proxy("a", None).proxy is None
    assert directory.proxy(shown.id) is None
    with pytest.raises(UsageError):
        directory.set_proxy("a", "ftp://x")


def test_a_profile_that_was_found_is_in_row_and_secrets(directory):
    client = OidcClient(id="c", secret=Secret("s"))
    credentials = IdcCredentials(refresh_token=Secret("r"), client=client, auth_region="eu-west-1")
    account = directory.add(ImportedAccount(index=0, credentials=credentials)).account
    directory.set_state(account.id, "needs_profile")
    changed = directory.set_profile(account.id, ARN)
    assert (changed.profile_arn, changed.state) == (ARN, "active")
    assert directory.credentials(account.id).profile_arn == ARN


def test_a_usage_snapshot_is_kept(directory):
    account = directory.add(social()).account
    usage = UsageSnapshot(1.5, 50, datetime(2026, 10, 1, tzinfo=UTC), "KIRO FREE")
    directory.set_usage(account.id, usage)
    assert directory.get(account.id).usage == usage


def test_the_database_holds_no_secret(directory, tmp_path):
    client = OidcClient(id="c", secret=Secret("THE-CLIENT-SECRET"))
    credentials = BuilderIdCredentials(
        access_token=Secret("THE-ACCESS"), refresh_token=Secret("THE-REFRESH"), client=client
    )
    directory.add(ImportedAccount(index=0, credentials=credentials, proxy=Secret("http://u:THE-PASSWORD@x")))
    for path in tmp_path.rglob("*"):
        assert b"THE-" not in (path.read_bytes() if path.is_file() else b""), path


def test_an_account_can_be_shown_as_json(directory):
    account = directory.add(social(email="a@x.org")).account
    assert b'"email":"a@x.org"' in msgspec.json.encode(account)


def test_kiro_tells_the_owner_only_where_nobody_is_known(directory):
    account = directory.add(social()).account
    directory.set_person(account.id, "sue@example.com", None)
    directory.set_person(account.id, "other@example.com", "d-1.sue")
    directory.set_person(account.id, None, None)
    told = directory.get(account.id)
    assert (told.email, told.user_id) == ("sue@example.com", "d-1.sue")
