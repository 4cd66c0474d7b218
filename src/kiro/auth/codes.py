"""What the codes of an import report mean, for a person.

E_ concern the whole input, R_ refuse one record and complete the sentence "Account 3 …", W_ are
remarks about accounts that were accepted.
"""

from typing import Final

MEANINGS: Final[dict[str, str]] = {
    "E_TOO_LARGE": "The input is larger than 5 MB, so it is not a file of sign-ins.",
    "E_ENCODING": "The text is in no encoding that can be read; UTF-8, or UTF-16 with its mark, is needed.",
    "E_EMPTY": "There is nothing in it.",
    "E_NOT_JSON": "The text is not valid JSON.",
    "E_NOT_JSON_OBJECT": "A JSON object or a list of them is needed.",
    "E_UNKNOWN_FORMAT": "This JSON has no field of any known sign-in file.",
    "E_UNSUPPORTED_LINES": "Lines with passwords between separators are refused: such lists come from account trading.",
    "E_REFERENCES_ONLY": "The file holds only paths of other files. Import those files instead.",
    "E_NOT_A_CREDENTIAL": "The file accompanies a sign-in but is none. Import the token file beside it.",
    "E_NO_ACCOUNTS": "Nobody is signed in there.",
    "E_UNREADABLE_STORE": "The database cannot be read; it is damaged or not a Kiro CLI database.",
    "R_NOT_AN_OBJECT": "is not an object",
    "R_STATUS_ERROR": "was marked as broken by the program that wrote it",
    "R_BAD_REGION": "names a region that is none",
    "R_NO_REFRESH_TOKEN": "has no refresh token",
    "R_TRUNCATED_REFRESH_TOKEN": "has a refresh token that a screen has shortened",
    "R_UNSAFE_HASH": "names its client registration in a way that cannot be a file name",
    "R_CLIENT_PAIR_INCOMPLETE": "has only one half of client id and client secret",
    "R_NO_CLIENT_CREDENTIALS": "has no client registration, so it cannot be refreshed, and no access token that still lives",
    "R_EXTERNAL_IDP_INCOMPLETE": "lacks the token endpoint or the client id of the company's sign-in",
    "R_ENDPOINT_NOT_ALLOWED": "names a token service outside Microsoft's hosts and `auth.external_hosts`",
    "R_DUPLICATE": "has the same refresh token or key as an earlier one",
    "R_API_KEY_MISSING": "is an API key account without the key",
    "R_UNKNOWN_AUTH_METHOD": "names a sign-in method that is not known",
    "W_BOM": "The text began with a byte order mark.",
    "W_LEGACY_KEY": "The sign-in is in the place of the old Amazon Q CLI.",
    "W_ALIAS_CONFLICT": "A field was there in two spellings with different values; the camelCase one was taken.",
    "W_METHOD_PROVIDER_CONFLICT": "Method and provider contradict each other; the provider was believed.",
    "W_METHOD_INFERRED": "The sign-in method was guessed from the fields present.",
    "W_FLAVOR_UNKNOWN": "Builder ID or Identity Center: not told, taken as Identity Center.",
    "W_REGION_DEFAULTED": "No sign-in region was given; us-east-1 was taken.",
    "W_API_REGION_UNKNOWN": "A region where Kiro does not answer was ignored.",
    "W_NOT_REFRESHABLE": "Without a client registration the sign-in ends with its access token.",
    "W_REGISTRATION_EXPIRED": "The client registration has expired.",
    "W_REGISTRATION_MISSING": "The file with the client registration is not there.",
    "W_CLIENT_SECRET_DROPPED": "A client secret that company sign-ins do not need was left out.",
    "W_EXPIRED": "The access token has expired; the first use refreshes it.",
    "W_EXPIRY_UNKNOWN": "When the access token ends is not known; the first use refreshes it.",
    "W_BAD_ARN": "A profile ARN that is none was ignored.",
    "W_PLACEHOLDER_ARN": "A profile ARN that everybody has was ignored.",
    "W_PROFILE_ARN_MISSING": "The profile is not in the file; the first refresh brings it.",
    "W_SHORT_REFRESH_TOKEN": "A refresh token is unusually short; is it whole?",
    "W_REFERENCES_SKIPPED": "Entries that only name other files were skipped.",
    "W_WRAPPER_SECRETS_IGNORED": "Passwords and client keys of the other program were not imported.",
}
