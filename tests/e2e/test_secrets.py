"""Secrets of the user's own, in an Ansible Vault file: what reaches the stores unchanged, what is refused, and that none is shown."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import Checkout

#: What shells, YAML, URLs, Redis's configuration and SQL each have a meaning for.
AWKWARD = "canary-${HOME} $$ #\"'`\\ é雪 {}%&+"
SECRETS = {service: f"{AWKWARD} {service}" for service in ("jupyter", "redis", "mongo", "postgres")}
#: Prints the passwords of its environment, after each store has taken its own.
CLIENT = """
import json, os
import psycopg2, pymongo, redis

env = os.environ
assert redis.Redis(host=env["REDIS_HOST"], password=env["REDIS_PASSWORD"]).ping()
mongo = pymongo.MongoClient(env["MONGO_HOST"], username=env["MONGO_USER"], password=env["MONGO_PASSWORD"])
assert mongo.demo.notes.insert_one({}).acknowledged
psycopg2.connect(host=env["POSTGRES_HOST"], user=env["POSTGRES_USER"], dbname=env["POSTGRES_DB"], password=env["POSTGRES_PASSWORD"])
print(json.dumps({name: env[name.upper() + "_PASSWORD"] for name in ("redis", "mongo", "postgres")}))
"""
UP = ("up", "--name", "vaulted")


@contextmanager
def mine(checkout: Checkout, secrets: object, vault: dict[str, str] | None = None) -> Iterator[None]:
    """A variables file of the user's own; encrypted where there is a password for it."""
    with checkout.given({"stack_secrets": secrets}) as path:
        if vault:
            done = checkout.run("ansible-vault", "encrypt", str(path), **vault)
            assert done.returncode == 0, done.stderr
        yield


@pytest.fixture(scope="module")
def vault(lab: Checkout) -> dict[str, str]:
    """The environment that opens the file."""
    path = lab.path / "vault-password"
    path.write_text("open sesame\n")
    return {"ANSIBLE_VAULT_PASSWORD_FILE": str(path)}


@pytest.fixture(scope="module")
def vaulted(lab: Checkout, vault: dict[str, str]) -> Iterator[Checkout]:
    """A machine whose secrets come from the encrypted file."""
    with mine(lab, SECRETS, vault):
        done = lab.orchestrate(*UP, **vault)
        assert done.returncode == 0, done.stderr
        yield lab
    done = lab.orchestrate("destroy", "vaulted")
    assert done.returncode == 0, done.stderr


def records(checkout: Checkout) -> list[Path]:
    """The records of runs that show a secret."""
    return [path for path in (checkout.path / ".slipway" / "runs").rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


@pytest.mark.parametrize(
    ("secrets", "said"),
    [
        ({"redis": ""}, ["stack_secrets.redis", "16 to 128"]),
        ({"redis": "canary-short"}, ["stack_secrets.redis", "16 to 128"]),
        ({"mongo": "canary-of-two\nlines-of-text"}, ["stack_secrets.mongo", "one line"]),
        ({"mongo": ["canary-in-a-list"]}, ["stack_secrets.mongo", "in quotes"]),
        ({"redsi": "canary-canary-canary"}, ["stack_secrets", '"redsi"', "jupyter, redis, mongo, postgres"]),
        (["canary-canary-canary"], ["stack_secrets", "dict"]),
    ],
    ids=["empty", "short", "newline", "list", "no service", "no dict"],
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_shown(lab: Checkout, secrets: object, said: list[str]) -> None:
    with mine(lab, secrets):
        done = lab.orchestrate(*UP)
    assert done.returncode == 2, done.stderr
    assert [part for part in said if part not in done.stderr] == [], done.stderr
    assert "canary" not in done.stderr
    assert records(lab) == []


def test_a_vault_without_its_password_is_named(lab: Checkout, vault: dict[str, str]) -> None:
    with mine(lab, SECRETS, vault):
        done = lab.orchestrate(*UP)
        wrong = lab.path / "wrong-password"
        wrong.write_text("close sesame\n")
        unfit = lab.orchestrate(*UP, ANSIBLE_VAULT_PASSWORD_FILE=str(wrong))
    for refused in (done, unfit):
        assert refused.returncode == 2, refused.stderr
        assert "inventory/lab/group_vars/all/mine.yml" in refused.stderr
        assert "ANSIBLE_VAULT_PASSWORD_FILE" in refused.stderr
    assert "does not fit" in unfit.stderr


@pytest.mark.long
def test_awkward_secrets_reach_every_store_and_notebook_unchanged(vaulted: Checkout, vault: dict[str, str]) -> None:
    found = vaulted.on_host("docker exec --interactive slipway-jupyter-1 python -", stdin=CLIENT, machine="vaulted")
    assert json.loads(found) == {name: text for name, text in SECRETS.items() if name != "jupyter"}
    again = vaulted.orchestrate(*UP, "--json", **vault)
    assert again.returncode == 0, again.stderr
    answer = json.loads(again.stdout)
    assert answer["changed"] == 0
    with urllib.request.urlopen(answer["url"], timeout=30) as page:
        assert "JupyterLab" in page.read().decode()


@pytest.mark.long
def test_no_secret_of_the_file_is_shown(vaulted: Checkout, vault: dict[str, str]) -> None:
    done = vaulted.run("ansible-playbook", "site.yml", "--check", "--diff", "-vvv", "-e", "slipway_name=vaulted", **vault)
    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert records(vaulted) == []


@pytest.mark.long
def test_another_secret_over_a_volume_is_refused_and_not_shown(vaulted: Checkout, vault: dict[str, str]) -> None:
    with vaulted.given({"stack_secrets": SECRETS | {"postgres": "another canary-canary"}}, "mine_too.yml"):
        done = vaulted.orchestrate(*UP, **vault)
    assert done.returncode == 3, done.stderr
    assert "stack_secrets.postgres is another secret" in done.stderr
    assert "slipway_postgres_data" in done.stderr
    assert "canary" not in done.stderr
    assert records(vaulted) == []
