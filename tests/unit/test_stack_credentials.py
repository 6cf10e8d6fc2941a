"""Docker's settings of the user: which file and which key is broken."""

from __future__ import annotations

import pytest

from tests.modules import load

fault = load("stack_credentials").fault
PATH = "/home/me/.docker/config.json"


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"auths": {"registry.example": {"auth": "eA=="}}}',
        '{"credsStore": "secretservice", "credHelpers": {"r.example": "ecr-login"}}',
        '{"credsStore": "", "credHelpers": {}, "auths": null}',
        '{"currentContext": "x", "psFormat": 7}',
    ],
)
def test_credentials_that_can_be_used_have_no_fault(text: str) -> None:
    assert fault(PATH, text, lambda program: program in ("docker-credential-secretservice", "docker-credential-ecr-login")) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"credsStore": "desktop"}', "credsStore: desktop: the program docker-credential-desktop is not installed"),
        ('{"credHelpers": {"r.example": "gcloud"}}', "credHelpers: r.example: gcloud: the program docker-credential-gcloud is not"),
        ('{"credHelpers": ["gcloud"]}', 'credHelpers: ["gcloud"] is no object'),
        ('{"credsStore": {"a": 1}}', 'credsStore: {"a": 1} is no text'),
        ('{"auths": 7}', "auths: 7 is no object"),
        ('{"proxies": "x"}', "proxies: "),
        ("[]", "it is [], no object"),
        ("", "it is no JSON"),
        ('{"auths": {', "it is no JSON"),
        ("\ufeff{}", "it is no JSON"),
    ],
)
def test_credentials_that_are_broken_are_named_in_one_line(text: str, said: str) -> None:
    why = fault(PATH, text, lambda _: False)
    assert why is not None and why.startswith(f"{PATH}: {said}") and "\n" not in why
