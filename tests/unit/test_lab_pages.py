"""A web page of another site, in a browser of this computer, cannot use the lab's EC2 API: its machines and their data are at stake."""

from __future__ import annotations

import pytest

from lab import rules


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        # The SDKs, the AWS CLI, Terraform and Slipway itself.
        ({"HTTP_HOST": "127.0.0.1:5000"}, False),
        ({"HTTP_HOST": "localhost:5000"}, False),
        ({"HTTP_HOST": "[::1]:5000"}, False),
        ({}, False),
        # moto's own pages, from the address bar and then from themselves.
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_SEC_FETCH_SITE": "none"}, False),
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "http://127.0.0.1:5000"}, False),
        # A form, a script, an image of another site or of another port; a name that leads to 127.0.0.1.
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_ORIGIN": "http://evil.example"}, True),
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_ORIGIN": "null"}, True),
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_ORIGIN": "http://127.0.0.1:8888"}, True),
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_SEC_FETCH_SITE": "cross-site"}, True),
        ({"HTTP_HOST": "127.0.0.1:5000", "HTTP_SEC_FETCH_SITE": "same-site"}, True),
        ({"HTTP_HOST": "evil.example:5000", "HTTP_ORIGIN": "http://evil.example:5000", "HTTP_SEC_FETCH_SITE": "same-origin"}, True),
        ({"HTTP_HOST": "127.0.0.1.evil.example"}, True),
    ],
)
def test_no_page_of_another_site_may_ask(headers: dict[str, str], refused: bool) -> None:
    assert rules.of_a_page(headers) == refused
