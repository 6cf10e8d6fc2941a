"""From packages that were installed by hand to the lines of a Dockerfile."""

from __future__ import annotations

import importlib.util
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from slipway import adopt
from slipway.model import RefusalError
from tests.conftest import PROJECT

# A role's module_utils are in no package until Ansible sends them.
SPEC = importlib.util.spec_from_file_location("rules", PROJECT / "roles" / "stack" / "module_utils" / "stack_package_rules.py")
assert SPEC and SPEC.loader
rules = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(rules)

DAY = date(2026, 3, 1)
FRESH = "ARG BASE\nFROM ${BASE}\n"


def pip(name: str, now: str | None = "1.0", line: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "was": None,
        "now": now,
        "asked": True,
        "line": line or (now and f"{name}=={now}"),
        "why": None,
        "home": False,
    } | more


def apt(name: str, now: str | None = "1.0-1", **more: Any) -> dict[str, Any]:
    return {"name": name, "was": None, "now": now, "asked": True, "line": now and name, "why": None, "home": False} | more


def planned(dockerfile: str, *, pip: list[Any] | None = None, apt: list[Any] | None = None, named: Any = None) -> adopt.Plan:
    return adopt.plan(dockerfile, {"pip": pip or [], "apt": apt or []}, named or {}, DAY)


def lines(plan: adopt.Plan) -> list[str]:
    return [each["line"] for each in plan.added]


def test_a_missing_dockerfile_is_begun_and_both_kinds_are_added() -> None:
    plan = planned(
        "", pip=[pip("tabulate", "0.9.0"), pip("wcwidth", asked=False)], apt=[apt("graphviz"), apt("libgvc6", asked=False, line=None)]
    )
    assert plan.text == FRESH + (
        "\n# 2026-03-01, adopted from the container: Debian packages\n"
        "USER root\n"
        "RUN apt-get update \\\n"
        " && apt-get install --yes --no-install-recommends graphviz \\\n"
        " && rm -rf /var/lib/apt/lists/*\n"
        "USER ${NB_UID}\n"
        "\n# 2026-03-01, adopted from the container: Python packages; wcwidth came along\n"
        "RUN pip install --no-cache-dir \\\n"
        "      tabulate==0.9.0 \\\n"
        "      wcwidth==1.0\n"
    )
    assert not plan.left


@pytest.mark.parametrize("own", [FRESH, "# mine\r\nARG BASE\r\nFROM ${BASE}\r\n\tRUN echo ä  \r\n", FRESH + "RUN true", "\n\n"])
def test_own_lines_stay_byte_for_byte_and_twice_is_once(own: str) -> None:
    found = {"pip": [pip("tabulate")], "apt": [apt("graphviz")]}
    once = planned(own, **found)
    assert once.text.startswith(own)
    again = planned(once.text, **found)
    assert again.text == once.text
    assert [each["why"] for each in again.left] == ["docker/jupyter/Dockerfile has it already"] * 2


@pytest.mark.parametrize(
    ("run", "kind", "there"),
    [
        ("RUN pip install tabulate", "pip", True),
        ("RUN pip install -q 'Tabulate>=0.5,<2'", "pip", True),
        ("RUN python -m pip install --no-cache-dir \\\n  numpy \\\n# a comment\n  tabulate==1.0", "pip", True),
        ('RUN ["/opt/conda/bin/pip3.12", "install", "tabulate[widechars]"]', "pip", True),
        ("RUN --mount=type=cache,target=/x cd /tmp && uv pip install tabulate; true", "pip", True),
        ("RUN <<END\npip install tabulate\nEND", "pip", True),
        # Of another version, in another stage, or no command.
        ("RUN pip install tabulate==0.9", "pip", False),
        ("RUN pip install tabulate && pip install tabulate==0.9", "pip", False),
        ("RUN pip install tabulate\nFROM ${BASE}", "pip", False),
        ("RUN pip download tabulate", "pip", False),
        ("# RUN pip install tabulate", "pip", False),
        ("RUN echo 'it is\nRUN pip install tabulated", "pip", False),
        ("RUN apt-get update && apt-get install -y graphviz=1.0-1", "apt", True),
        ("RUN apt install --yes curl graphviz", "apt", True),
        ("RUN apt-get install -y graphviz=0.9-1", "apt", False),
        ("RUN apt-get install -y graphviz-doc", "apt", False),
        ("RUN pip install graphviz", "apt", False),
    ],
)
def test_what_the_dockerfile_has_is_not_added_again(run: str, kind: str, there: bool) -> None:
    plan = planned(FRESH + run + "\n", **{kind: [pip("tabulate") if kind == "pip" else apt("graphviz")]})
    assert bool(plan.added) is not there
    assert (plan.text == FRESH + run + "\n") is there


def test_what_slipway_yml_names_is_said_only_where_it_is_another_version() -> None:
    named = {"pip": ["tabulate>=0.5", "requests==2.0"], "apt": ["graphviz"]}
    plan = planned(FRESH, pip=[pip("Tabulate"), pip("requests", "2.1")], apt=[apt("graphviz")], named=named)
    assert not plan.added
    assert [(each["name"], each["why"]) for each in plan.left] == [
        ("requests", "slipway.yml asks for requests==2.0: write requests==2.1 there instead"),
    ]


@pytest.mark.parametrize(
    ("last", "apt_end", "pip_begin"),
    [("", "USER ${NB_UID}", "RUN"), ("USER 1000\n", "USER 1000", "RUN"), ("USER root\n", "USER root", "USER ${NB_UID}\nRUN")],
)
def test_the_images_user_stays(last: str, apt_end: str, pip_begin: str) -> None:
    plan = planned(FRESH + last, pip=[pip("tabulate")], apt=[apt("graphviz")])
    assert f"lists/*\n{apt_end}\n\n# 2026-03-01, adopted from the container: Python packages\n{pip_begin} pip install" in plan.text
    assert [line for line in plan.text.splitlines() if line.startswith("USER")][-1:] in ([apt_end], ["USER root"])


def test_a_dockerfiles_own_escape_character_continues_the_lines() -> None:
    own = "# escape=`\n" + FRESH + "RUN pip install `\n  tabulate\n"
    plan = planned(own, pip=[pip("tabulate"), pip("rich")])
    assert plan.text.endswith("RUN pip install --no-cache-dir `\n      rich==1.0\n")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("pip", "x==1; rm -rf /"),
        ("pip", "x==$(id)"),
        ("pip", "x==1\nUSER root"),
        ("pip", "--index-url=https://example.invalid"),
        ("pip", "x @ https://example.invalid/`id`"),
        ("apt", "graphviz\nUSER"),
        ("apt", "graphviz && id"),
        ("apt", "-o=x"),
        ("apt", "graphviz-"),
    ],
)
def test_a_name_that_is_no_packages_stays_out_of_the_dockerfile(kind: str, line: str) -> None:
    plan = planned(FRESH, **{kind: [pip("x", line=line) if kind == "pip" else apt("x", line=line)]})
    assert plan.text == FRESH
    assert plan.left[0]["why"] == "its name or version is none that may stand in a Dockerfile"
    assert "\x1b" not in adopt.text({"pip": [pip("\x1b[2J")], "apt": []})


def test_words_that_a_shell_would_read_are_quoted() -> None:
    plan = planned(
        FRESH, pip=[pip("x", line="x @ git+https://example.invalid/x@abc#subdirectory=a&b=c"), pip("y", "1!2.0")], apt=[apt("g++")]
    )
    assert "'x @ git+https://example.invalid/x@abc#subdirectory=a&b=c' \\\n      'y==1!2.0'\n" in plan.text
    assert " g++ \\" in plan.text


@pytest.mark.parametrize(
    ("own", "why"),
    [("RUN true\n", "has no FROM"), (FRESH + "RUN true \\\n", "ends within a line"), (FRESH + "RUN a \\ \n# end\n\n", "ends within")],
)
def test_a_dockerfile_to_which_nothing_can_be_added_is_refused(own: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / adopt.DOCKERFILE
    file.parent.mkdir(parents=True)
    file.write_text(own)
    with pytest.raises(RefusalError, match=why):
        adopt.adopt(tmp_path, {}, {"pip": [pip("tabulate")], "apt": []})
    assert file.read_text() == own


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    found = {"pip": [pip("tabulate")], "apt": [apt("gone", None, was="1")]}
    settings = {"packages": {"pip": [], "apt": []}}
    document = adopt.adopt(tmp_path, settings, found)
    file = tmp_path / adopt.DOCKERFILE
    assert file.read_text().startswith(FRESH)
    assert [path.name for path in file.parent.iterdir()] == ["Dockerfile"]
    said = adopt.told({**document, "packages": found, "kept": None}, "orchestrate.py deploy x")
    assert said.splitlines() == [
        "Added     pip  tabulate==1.0",
        "Left      apt  gone: it was removed; the next deploy brings it back, unless slipway.yml or the Dockerfile says otherwise",
        "Changed   docker/jupyter/Dockerfile",
        "Next: orchestrate.py deploy x",
    ]
    file.chmod(0o640)
    adopt.adopt(tmp_path, settings, {"pip": [pip("rich")], "apt": []})
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    before = file.stat().st_ino
    assert adopt.adopt(tmp_path, settings, {"pip": [pip("rich")], "apt": []})["added"] == []
    assert file.stat().st_ino == before


def test_a_link_out_of_the_project_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text(FRESH)
    file = tmp_path / "project" / adopt.DOCKERFILE
    file.parent.mkdir(parents=True)
    file.symlink_to(outside)
    with pytest.raises(RefusalError, match="leads out"):
        adopt.adopt(tmp_path / "project", {}, {"pip": [pip("tabulate")], "apt": []})
    assert outside.read_text() == FRESH


def test_diff_lists_each_difference_with_both_versions() -> None:
    assert adopt.text({"pip": [], "apt": []}) == "Nothing was changed by hand."
    packages = {
        "pip": [
            pip("requests", "2.1", was="2.0"),
            pip("local", why="it was not installed by https", line=None),
            pip("wheel", None, was="1"),
        ],
        "apt": [apt("libgvc6", asked=False, line=None)],
    }
    packages["pip"][1]["line"] = None
    assert adopt.text(packages).splitlines() == [
        "     package   in the image  in the container",
        "apt  libgvc6   -             1.0-1             came along",
        "pip  requests  2.0           2.1",
        "pip  local     -             1.0               not to be adopted: it was not installed by https",
        "pip  wheel     1             -                 removed",
    ]


def test_adopt_names_the_image_that_it_made_or_says_that_there_is_nothing() -> None:
    kept = adopt.told({"packages": {}, "kept": {"image": "slipway/adult:noon", "mib": 12.4}}, "")
    assert "slipway/adult:noon, 12 MiB" in kept
    assert "temporary" in kept
    assert "destroy" in kept
    nothing = {"packages": {"pip": [], "apt": []}, "added": [], "left": [], "kept": None}
    assert adopt.told(nothing, "") == "Nothing was changed by hand: there is nothing to adopt."


def facts(version: str = "1.0", **more: Any) -> dict[str, Any]:
    return {"name": "x", "version": version, "asked": True, "installer": "pip", "origin": {}, "editable": False} | more


@pytest.mark.parametrize(
    ("now", "line", "why"),
    [
        (facts(), "x==1.0", None),
        (facts("1.0rc1"), "x==1.0rc1", None),
        (facts("2.1.0+cu118"), None, "index"),
        (facts("1.0 evil"), None, "version"),
        (facts(installer="conda", origin={"url": "file:///home/conda/feedstock_root", "dir_info": {}}), None, "mamba"),
        (
            facts(origin={"url": "https://example.invalid/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}, "subdirectory": "a"}),
            "x @ git+https://example.invalid/x@abc#subdirectory=a",
            None,
        ),
        (
            facts(origin={"url": "https://example.invalid/x.whl", "archive_info": {"hash": "sha256=00"}}),
            "x @ https://example.invalid/x.whl#sha256=00",
            None,
        ),
        (facts(origin={"url": "file:///tmp/x.whl", "archive_info": {}}), None, "folder or a file"),
        (facts(origin={"url": "https://me:secret@example.invalid/x.whl"}), None, "secret"),
        (facts(origin={"url": "https://example.invalid/x.whl?token=secret"}), None, "secret"),
        (facts(origin={"url": "ssh://git@example.invalid/x", "vcs_info": {"vcs": "git", "commit_id": "abc"}}), None, "https"),
        (facts(origin={"url": "https://example.invalid/$(id).whl"}), None, "characters"),
        (
            facts(editable=True, origin={"url": "file:///home/jovyan/src/x", "dir_info": {"editable": True}}),
            "x @ git+https://example.invalid/x@abc",
            None,
        ),
        (
            facts(editable=True, name="y", origin={"url": "file:///home/jovyan/work", "dir_info": {"editable": True}}),
            None,
            "folder or a file",
        ),
    ],
)
def test_each_python_package_has_the_line_that_brings_it_or_why_there_is_none(
    now: dict[str, Any], line: str | None, why: str | None
) -> None:
    clones = rules.clones(
        "numpy==2.0\n-e git+https://example.invalid/x@abc#egg=X\n# Editable install with no version control (y==1)\n-e /home/jovyan/work\n"
    )
    [found] = rules.differences({"pip": {}, "apt": {}}, {"pip": {"x": now}, "apt": {}}, clones)["pip"]
    assert found["line"] == line
    assert (found["why"] is None) == (why is None)
    assert (why or "") in (found["why"] or "")
    assert "secret@" not in str(found)
    assert "token" not in str(found)


@pytest.mark.parametrize(("tag", "fits"), [("noon", True), ("_1.2-x", True), ("x" * 128, True), ("x" * 129, False), ("", False)])
@pytest.mark.parametrize("bad", ["", "-x", ".x", "a b", "a/b", "a:b", "a\nb", "b\n", "ä", "$(id)"])
def test_a_tag_is_taken_only_if_an_image_may_have_it(tag: str, fits: bool, bad: str) -> None:
    assert bool(rules.TAG.fullmatch(tag)) is fits
    assert not rules.TAG.fullmatch(bad)


def test_what_differs_is_told_with_what_was_asked_for_first() -> None:
    image = {"pip": {"a": facts(), "b": facts()}, "apt": {"dpkg": facts(), "gone": facts(name="gone")}}
    container = {
        "pip": {"a": facts(name="a", asked=False, version="2.0"), "b": facts(), "z": facts(name="Z")},
        "apt": {"dpkg": facts(), "new": facts(name="new"), "lib": facts(name="lib", asked=False)},
    }
    found = rules.differences(image, container, {})
    assert [(each["name"], each["was"], each["now"], each["line"]) for each in found["pip"]] == [
        ("Z", None, "1.0", "Z==1.0"),
        ("a", "1.0", "2.0", "a==2.0"),
    ]
    assert [(each["name"], each["was"], each["now"], each["line"]) for each in found["apt"]] == [
        ("gone", "1.0", None, None),
        ("new", None, "1.0", "new"),
        ("lib", None, "1.0", None),
    ]
