"""From a sign-in to an account: profile, person, plan."""

import pytest

from kiro.accounts.joining import join
from kiro.auth.credentials import BuilderIdCredentials, IdcCredentials
from kiro.auth.records import ImportedAccount
from kiro.emulator.faults import HttpError
from kiro.errors import KiroError
from kiro.redaction import Secret
from support.signing import Signer

SECOND = "arn:aws:codewhisperer:eu-central-1:111122223333:profile/SECOND"


@pytest.fixture
def signer(session, clock):
    return Signer(session, clock)


def signed_in(emulator, kind="idc"):
    person = emulator.people.add("sue", kind)
    tokens = emulator.people.issue(person)
    secrets = {"access_token": Secret(tokens.access), "refresh_token": Secret(tokens.refresh)}
    credentials = (
        IdcCredentials(**secrets, auth_region="eu-west-1") if kind == "idc" else BuilderIdCredentials(**secrets)
    )
    return person, ImportedAccount(index=0, credentials=credentials)


def never(_):
    raise AssertionError


async def test_the_only_profile_is_taken_unasked(emulator, signer):
    person, imported = signed_in(emulator)
    joined = await join(imported, signer.send, never, base_url=emulator.url)
    assert joined.imported.credentials.profile_arn == person.profile_arn
    assert joined.imported.api_region == "us-east-1"


async def test_of_several_profiles_one_is_chosen_and_tells_the_region(emulator, signer):
    person, imported = signed_in(emulator)
    person.more_profiles = (SECOND,)
    joined = await join(imported, signer.send, lambda profiles: profiles[1], base_url=emulator.url)
    assert joined.imported.credentials.profile_arn == SECOND
    assert joined.imported.api_region == "eu-central-1"


async def test_without_a_profile_that_is_told(emulator, signer):
    person, imported = signed_in(emulator)
    person.without_profile = True
    joined = await join(imported, signer.send, never, base_url=emulator.url)
    assert joined.without_profile
    assert joined.imported.credentials.profile_arn is None


async def test_profiles_that_cannot_be_listed_end_the_sign_in(emulator, signer):
    _, imported = signed_in(emulator)
    emulator.faults.add(HttpError(500), operation="profiles")
    with pytest.raises(KiroError, match="profiles"):
        await join(imported, signer.send, never, base_url=emulator.url)


async def test_person_and_plan_are_known(emulator, signer):
    _, imported = signed_in(emulator, "builder_id")
    joined = await join(imported, signer.send, never, base_url=emulator.url)
    assert (joined.imported.email, joined.imported.user_id) == ("sue@example.com", "d-0000000000.sue")
    assert joined.limits.plan == "KIRO PRO"
    assert [one.operation for one in emulator.requests] == ["usage"]


async def test_a_plan_that_kiro_does_not_tell_keeps_the_sign_in(emulator, signer):
    _, imported = signed_in(emulator, "builder_id")
    emulator.faults.add(HttpError(500), operation="usage")
    joined = await join(imported, signer.send, never, base_url=emulator.url)
    assert joined.trouble is not None
    assert joined.imported.credentials == imported.credentials


async def test_both_regions_are_asked_for_profiles():
    from kiro.auth.http import HttpReply

    asked = []

    async def send(ask):
        asked.append(ask.url)
        return HttpReply(500, {}, b"") if "eu-central" in ask.url else HttpReply(200, {}, b'{"profiles":[]}')

    imported = ImportedAccount(
        index=0,
        credentials=IdcCredentials(access_token=Secret("a"), refresh_token=Secret("r"), auth_region="ap-south-1"),
    )
    joined = await join(imported, send, never)
    assert joined.without_profile
    assert asked == ["https://q.us-east-1.amazonaws.com/", "https://q.eu-central-1.amazonaws.com/"]
