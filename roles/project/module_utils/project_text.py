"""How a project's text files are encoded and read, and how a value in them is shown: what is taken as it is, and what is refused."""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import yaml

#: What Windows' editors write before a text of each kind. UTF-32 begins as UTF-16 does.
_MARKS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))
_AS_UTF8 = "Save it as UTF-8"
_WHOLE = "tag:yaml.org,2002:int"
_CREDENTIALS = re.compile(r"//[^/\s\"]*@")


class TextError(ValueError):
    """What a text is instead of UTF-8, and what to do."""


def decoded(raw: bytes) -> str:
    """Return the text, without the byte order mark that Docker and YAML skip too. Raises TextError."""
    if why := _other(raw):
        raise TextError(why)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise TextError(f"is no UTF-8: byte {wrong.start} is {raw[wrong.start]:#04x}. {_AS_UTF8}.") from wrong


def flaw(raw: bytes, script: bool) -> str:
    """What is wrong with the bytes of an SQL file, or of a script: psql skips a byte order mark and takes CRLF, a shell does not."""
    if (why := _other(raw)) or not script:
        return why
    if raw.startswith(codecs.BOM_UTF8):
        return f"begins with a byte order mark (BOM), which a shell does not skip. {_AS_UTF8} without BOM."
    if b"\r\n" in raw:
        line = raw[: raw.index(b"\r\n")].count(b"\n") + 1
        return f"ends line {line} as Windows does (CRLF), which a shell takes for a part of the command. Save it with line ends LF."
    return ""


def _other(raw: bytes) -> str:
    for mark, name in _MARKS:
        if raw.startswith(mark):
            return f"is {name}. {_AS_UTF8}."
    # Without a mark: every second byte of English text.
    if raw[:200].count(0) * 3 > len(raw[:200]):
        return f"is UTF-16 without a byte order mark. {_AS_UTF8}."
    return ""


class Loader(yaml.SafeLoader):
    """YAML's safe part, where a key stands once and nothing is repeated by an alias: ten of them can make a billion values.

    A whole number has the digits 0 to 9: YAML 1.1 would make 384 of 0600, 90 of 1:30 and 1000 of 1_000.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own attribute
        first: [each for each in resolvers if each[0] != _WHOLE] for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, f"an alias (*{event.anchor}) cannot be used; write it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value.__hash__ and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {shown(key.value)} stands twice", key.start_mark)
            seen |= {key.value} if key.value.__hash__ else set()
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(_WHOLE, re.compile("-?(0|[1-9][0-9]*)$"), list("-0123456789"))


def shown(value: Any) -> str:
    """A value as JSON, cut where it is long, without what a URL has before its host."""
    text = json.dumps(value, ensure_ascii=False, default=str) if _simple(value) else f'"{value}"'
    text = _CREDENTIALS.sub("//…@", text)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _simple(value: Any) -> bool:
    """Whether JSON has keys of this kind."""
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(map(_simple, value.values()))
    return not isinstance(value, list) or all(map(_simple, value))


def plain(value: Any) -> str:
    """A key or a word, as it was meant."""
    text = value if isinstance(value, str) else shown(value).strip('"')
    return text if text.isprintable() and len(text) <= 40 else shown(text)
