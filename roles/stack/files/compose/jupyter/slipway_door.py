"""The door of a page of Slipway's that the tunnel opens: a token, and nothing for other sites. WSGI around any application.

Each program on the user's computer reaches a port of its loopback, and so does each web page that the browser shows: by a form or a script
of another site, or under a name of its own that it lets lead to 127.0.0.1 (DNS rebinding). So a request counts only if it asks for this
computer by a name of the loopback, if the browser says that it comes from a page of the same origin or from the user, and if it has the
token: in the URL at first, then in a cookie; or in the header `Authorization: token …`, as with Jupyter.
"""

import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from werkzeug.http import dump_cookie, parse_cookie

#: Its port is whichever the tunnel has on the user's computer.
_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE)
_READS = ("GET", "HEAD")
_AUTHORIZATION = re.compile(r"(?:token|bearer) +(.+)", re.IGNORECASE)
#: What each answer says to the browser. With `no-referrer` it would hide the origin of the page's own requests too.
_HEADERS = [
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
]
_STATUS = {302: "302 Found", 403: "403 Forbidden", 405: "405 Method Not Allowed"}


@dataclass(frozen=True)
class Asked:
    """A request, as the browser describes it. Headers that it does not have are empty."""

    method: str = "GET"
    host: str = ""
    origin: str = ""
    referer: str = ""
    #: Sec-Fetch-Site.
    site: str = ""
    #: The token in the URL and in the header Authorization, and what the cookies of its name have: a page at another port can set one too.
    url: str = ""
    header: str = ""
    cookies: tuple[str, ...] = ()
    #: Whether it would change something.
    changes: bool = False


@dataclass(frozen=True)
class Answer:
    """200: the application answers. 302: the token has come in the URL, and goes into a cookie."""

    status: int
    why: str = ""


def judge(asked: Asked, token: str) -> Answer:
    """What becomes of a request. Without a token of its own the door stays closed."""
    if not _LOOPBACK.fullmatch(asked.host):
        return Answer(403, "It is reached by a name of this computer's loopback alone, such as 127.0.0.1.")
    if why := _foreign(asked):
        return Answer(403, why)
    by_url, by_header = _equal(asked.url, token), _equal(asked.header, token)
    if not (by_url or by_header or any(_equal(each, token and kept(token)) for each in asked.cookies)):
        wrong = "The token is wrong." if asked.url or asked.header or asked.cookies else "This page needs its token."
        return Answer(403, f"{wrong} Open the address with the token: `status` prints it.")
    if asked.changes and asked.method in _READS:
        return Answer(405, "This changes something, which takes a POST.")
    if asked.method not in _READS and not (by_header or asked.site or asked.origin or asked.referer):
        # Browsers say where a POST comes from. What sends the header is no browser's page.
        return Answer(403, "It is not known from where this comes.")
    return Answer(302 if by_url and asked.method in _READS else 200)


def _foreign(asked: Asked) -> str:
    """Why a request comes from elsewhere. Another port is another origin: pages of other programs are there, and cookies ignore ports."""
    own = f"http://{asked.host}".lower()
    if asked.origin and asked.origin.lower() != own:
        return "It was asked for by a page of another origin."
    if asked.referer and _origin(asked.referer) != own:
        return "It was asked for by a page of another origin. Paste the address into the browser."
    if asked.site and asked.site not in ("none", "same-origin"):
        return "It was asked for by a page of another origin. Paste the address into the browser."
    return ""


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()


def _equal(given: str, wanted: str) -> bool:
    """Compared in constant time. What is empty equals nothing."""
    return bool(wanted) and hmac.compare_digest(given.encode(errors="surrogateescape"), wanted.encode(errors="surrogateescape"))


def kept(token: str) -> str:
    """What the cookie has: it is no token, for browsers send it to every port of the loopback."""
    return hmac.digest(token.encode(errors="surrogateescape"), b"cookie", "sha256").hex()


def cookie_name(name: str, host: str) -> str:
    """One for each port, so that the pages of two projects keep theirs."""
    port = host.rpartition(":")[2]
    return f"slipway-{name}-{port if port.isdigit() else 80}"


class Door:
    """Lets requests through to the application. `file` has the token, which is read each time; `changes` tells of a path whether a POST
    to it would change something."""

    def __init__(self, application: Callable[..., Iterable[bytes]], name: str, file: Path, changes: Callable[[str], bool]) -> None:
        self.application, self.name, self.file, self.changes = application, name, file, changes

    def token(self) -> str:
        try:
            return self.file.read_text(errors="surrogateescape").strip()
        except OSError:
            return ""

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        host, path, token = _text(environ.get("HTTP_HOST", "")), environ.get("PATH_INFO", ""), self.token()
        query = parse_qsl(_text(environ.get("QUERY_STRING", "")), keep_blank_values=True, errors="surrogateescape")
        cookie = cookie_name(self.name, host)
        header = _AUTHORIZATION.fullmatch(_text(environ.get("HTTP_AUTHORIZATION", "")).strip())
        answer = judge(
            Asked(
                method=environ["REQUEST_METHOD"],
                host=host,
                origin=environ.get("HTTP_ORIGIN", ""),
                referer=environ.get("HTTP_REFERER", ""),
                site=environ.get("HTTP_SEC_FETCH_SITE", ""),
                url=dict(query).get("token", ""),
                header=header[1] if header else "",
                # Programs at other ports set theirs, of any bytes.
                cookies=tuple(parse_cookie(environ.get("HTTP_COOKIE", "").encode("ascii", "ignore").decode()).getlist(cookie)),
                changes=self.changes(_text(path)),
            ),
            token,
        )
        if answer.status == 200:

            def guarded(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                return start(status, [*headers, *_HEADERS], *more)

            return self.application(environ, guarded)
        headers = [*_HEADERS, ("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8")]
        if answer.status == 302:
            rest = urlencode([each for each in query if each[0] != "token"], errors="surrogateescape")
            # More than one / at its begin would name another host.
            place = "/" + quote(path.encode("latin-1").lstrip(b"/\\"))
            headers.append(("Location", f"{place}?{rest}" if rest else place))
            headers.append(("Set-Cookie", dump_cookie(cookie, kept(token), httponly=True, samesite="Strict")))
        if answer.status == 405:
            headers.append(("Allow", "POST"))
        body = f"{answer.why}\n".encode() if answer.why else b""
        start(_STATUS[answer.status], [*headers, ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _text(word: str) -> str:
    """What WSGI has as Latin-1, as the text that it is."""
    return word.encode("latin-1", errors="replace").decode(errors="surrogateescape")
