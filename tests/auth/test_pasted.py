"""A refresh token that somebody copied: whose it is, and the one refresh that proves it."""

import pytest

from kiro.auth.credentials import BuilderIdCredentials, ExternalIdpCredentials, IdcCredentials, SocialCredentials
from kiro.auth.pasted import Pasted, pasted_credentials, pasted_flow
from kiro.auth.refresh import RefreshUrls
from kiro.auth.steps import SignInFailed
from kiro.emulator.faults import HttpError
from kiro.errors import RateLimited, UpstreamBroken, UsageError
from kiro.redaction import Secret
from support.signing import Signer

COMPANY = "https://d-1234567890.awsapps.com/start"
ENDPOINT = "https://login.company.example/tenant/oauth2/token"


@pytest.fixture
def signer(session, clock):
    return Signer(session, clock)


def prove(emulator, signer, given, *hosts):
    urls = RefreshUrls(emulator.url, emulator.url, hosts)
    return signer.sign_in(pasted_flow(pasted_credentials(given), urls, signer.now))


def with_client(emulator, person, **more):
    token = emulator.people.issue(person).refresh
    return Pasted(Secret(token), person.client.id, Secret(person.client.secret), **more)


async def test_alone_it_is_social_and_the_new_one_is_kept(emulator, signer):
    person = emulator.people.add("sue")
    old = emulator.people.issue(person).refresh
    account = await prove(emulator, signer, Pasted(Secret(old)))
    assert isinstance(account.credentials, SocialCredentials)
    assert account.credentials.refresh_token.reveal() != old
    assert emulator.people.holder(account.credentials.refresh_token.reveal()) is person
    assert account.credentials.profile_arn == person.profile_arn


async def test_with_a_client_it_is_builder_id(emulator, signer):
    account = await prove(emulator, signer, with_client(emulator, emulator.people.add("sue", "builder_id")))
    assert isinstance(account.credentials, BuilderIdCredentials)


async def test_with_a_start_url_it_is_a_company(emulator, signer):
    given = with_client(emulator, emulator.people.add("sue", "idc"), start_url=COMPANY, region="eu-west-1")
    account = await prove(emulator, signer, given)
    assert isinstance(account.credentials, IdcCredentials)
    assert (account.start_url, account.auth_region) == (COMPANY, "eu-west-1")


async def test_with_an_endpoint_it_is_a_companys_provider_whose_host_is_confirmed(emulator, signer):
    tokens = emulator.people.issue(emulator.people.add("sue", "external_idp"))
    given = Pasted(Secret(tokens.refresh), "client", token_endpoint=ENDPOINT)
    account = await prove(emulator, signer, given)
    assert isinstance(account.credentials, ExternalIdpCredentials)
    assert signer.hosts == ["login.company.example"]


async def test_an_endpoint_that_is_not_confirmed_gets_nothing(emulator, signer):
    signer.agrees = False
    given = Pasted(Secret("r" * 120), "client", token_endpoint=ENDPOINT)
    with pytest.raises(SignInFailed, match="was not confirmed"):
        await prove(emulator, signer, given)
    assert signer.asks == []


WRONG = {
    "nothing": (Pasted(Secret("")), "No refresh token"),
    "three dots": (Pasted(Secret("aorAAAA...ZZZZ")), "shortened"),
    "one sign of three dots": (Pasted(Secret("aorAAAA…ZZZZ")), "shortened"),
    "two words": (Pasted(Secret("aorAAAA ZZZZ")), "no refresh token"),
    "letters of elsewhere": (Pasted(Secret("aorÄ")), "no refresh token"),
    "a client without its secret": (Pasted(Secret("aor1"), "client"), "No client secret"),
    "a shortened secret": (Pasted(Secret("aor1"), "client", Secret("abc...")), "shortened"),
    "a start URL alone": (Pasted(Secret("aor1"), start_url=COMPANY), "need --client-id"),
    "a start URL without region": (Pasted(Secret("aor1"), "c", Secret("s"), start_url=COMPANY), "needs --region"),
    "an endpoint alone": (Pasted(Secret("aor1"), token_endpoint=ENDPOINT), "needs --client-id"),
}


@pytest.mark.parametrize(("given", "said"), WRONG.values(), ids=WRONG.keys())
def test_is_refused_before_anything_is_sent(given, said):
    with pytest.raises(UsageError, match=said) as failed:
        pasted_credentials(given)
    assert failed.value.hint
    assert given.token.reveal() not in failed.value.full_text() or not given.token.reveal()


async def test_a_dead_token_is_told_with_what_may_be_wrong(emulator, signer):
    with pytest.raises(SignInFailed, match="does not accept") as failed:
        await prove(emulator, signer, Pasted(Secret("aor" + "x" * 100)))
    assert "--client-id" in failed.value.hint


async def test_a_token_of_another_client_is_told(emulator, signer):
    person, other = emulator.people.add("sue", "builder_id"), emulator.people.add("bob", "builder_id")
    token = emulator.people.issue(person).refresh
    with pytest.raises(SignInFailed, match=r"\(invalid_grant\)") as failed:
        await prove(emulator, signer, Pasted(Secret(token), other.client.id, Secret(other.client.secret)))
    assert "client id and secret" in failed.value.hint


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, UpstreamBroken)])
async def test_trouble_of_the_service_says_nothing_about_the_token(emulator, signer, status, kind):
    emulator.faults.add(HttpError(status), operation="refresh")
    with pytest.raises(kind) as failed:
        await prove(emulator, signer, Pasted(Secret("aor" + "x" * 100)))
    assert failed.value.hint
