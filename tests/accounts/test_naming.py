"""An account is named by what is known of it, and no two alike."""

import pytest

from kiro.accounts.naming import free_name, suggested_name
from kiro.auth.credentials import ApiKeyCredentials, BuilderIdCredentials, SocialCredentials
from kiro.auth.records import ImportedAccount
from kiro.redaction import Secret


def social(**more) -> ImportedAccount:
    return ImportedAccount(index=0, credentials=SocialCredentials(refresh_token=Secret("r")), **more)


@pytest.mark.parametrize(
    ("imported", "name"),
    [
        (social(email="ann.b@example.com"), "ann.b"),
        (social(email="ann+kiro@example.com"), "ann-kiro"),
        (social(name="My Work!"), "My-Work"),
        (social(provider="Github"), "github"),
        (social(), "social"),
        (ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret("k"))), "api-key"),
        (ImportedAccount(index=0, credentials=BuilderIdCredentials(refresh_token=Secret("k"))), "builder-id"),
    ],
)
def test_a_name_is_made_from_what_is_known(imported, name):
    assert suggested_name(imported) == name


def test_a_taken_name_gets_the_first_free_number():
    assert free_name("a", {"a", "a-2"}.__contains__) == "a-3"
