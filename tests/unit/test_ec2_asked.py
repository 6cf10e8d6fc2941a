"""What a command asks for against what EC2 has: an instance's id, a type, a region; and a clock that is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.modules import load

ec2_asked = load("ec2_asked")

TYPES = ["m7g.large", "t2.micro", "t2.nano", "t2.small", "t3.micro"]
REGIONS = ["eu-central-1", "eu-north-1", "us-east-1", "us-west-2"]
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("wanted", ["", "i-0a1b2c3d", "i-0a1b2c3d4e5f60718"])
def test_an_instances_id_of_either_length_can_be_asked_for(wanted: str) -> None:
    assert ec2_asked.id_trouble(wanted) == ""


@pytest.mark.parametrize("wanted", ["slipway", "i-", "i-0a1b2c3d4", "i-0A1B2C3D", "i-0a1b2c3d\n", "ami-0a1b2c3d"])
def test_what_is_no_instances_id_is_refused_with_an_example(wanted: str) -> None:
    said = f"ec2_instance_destroy_instance: {wanted!r} is no instance's id. Allowed: i-0a1b2c3d4e5f60718, for one."
    assert ec2_asked.id_trouble(wanted) == said


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("t2.mikro", "Did you mean t2.micro"),
        ("T2.Micro", "Did you mean t2.micro?"),
        (" t2.nano ", "Did you mean t2.nano?"),
        ("enormous", "Allowed: the 5 types of this region, t2.micro for one."),
    ],
)
def test_an_unknown_type_is_answered_with_those_that_look_like_it(wanted: str, said: str) -> None:
    assert ec2_asked.nearest_types(wanted, TYPES).startswith(said)


@pytest.mark.parametrize(
    ("least_mib", "expected"),
    [(0, "t2.nano"), (512, "t2.nano"), (513, "t2.micro"), (1510, "t2.small"), (2049, None)],
)
def test_the_smallest_type_with_enough_memory_is_taken(least_mib: int, expected: str | None) -> None:
    assert ec2_asked.fitting([(2048, "t2.small"), (512, "t2.nano"), (1024, "t2.micro")], least_mib) == expected


def test_without_a_type_nothing_fits() -> None:
    assert ec2_asked.fitting([], 1) is None


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("eu-central-1", True),
        ("us-gov-west-1", True),
        ("eu-mars-1", True),
        ("mars-1", False),
        ("", False),
        (None, False),
        ("eu central", False),
    ],
)
def test_only_a_region_of_the_usual_form_is_given_to_the_sdk(region: str | None, expected: bool) -> None:
    assert ec2_asked.region_has_form(region) is expected


@pytest.mark.parametrize(
    ("region", "given", "said"),
    [
        ("eu-north-1", "eu-north-1", ""),
        # Given by the environment, not by a variable.
        ("eu-north-1", "", ""),
        ("us-eats-1", "us-eats-1", "slipway_region: 'us-eats-1' is not a region of EC2. Did you mean us-east-1"),
        ("mars", "mars", "slipway_region: 'mars' is not a region of EC2. Did you mean eu-central-1 or us-east-1?"),
        (None, "", "slipway_region: '' is not a region of EC2. Did you mean eu-central-1 or us-east-1?"),
    ],
)
def test_a_region_that_ec2_does_not_have_is_refused_with_those_that_look_like_it(region: str | None, given: str, said: str) -> None:
    found = ec2_asked.region_trouble(region, given, REGIONS)
    assert found.startswith(said)
    assert bool(found) is bool(said)


@pytest.mark.parametrize(
    ("code", "ahead", "said"),
    [
        ("RequestExpired", 3600, ": this computer's clock is 3600 s ahead of EC2's; set it right first"),
        ("AuthFailure", -900, ": this computer's clock is 900 s behind EC2's; set it right first"),
        ("SignatureDoesNotMatch", 300, ": this computer's clock is 300 s ahead of EC2's; set it right first"),
        # A key that is wrong is refused by the same code.
        ("SignatureDoesNotMatch", 299, ""),
        ("AuthFailure", 0, ""),
        ("UnauthorizedOperation", 3600, ""),
    ],
)
def test_a_clock_is_blamed_only_if_ec2_refuses_the_signature_and_it_is_wrong(code: str, ahead: int, said: str) -> None:
    assert ec2_asked.skew(code, "Mon, 01 Jun 2026 12:00:00 GMT", NOW + timedelta(seconds=ahead)) == said


def test_a_failure_without_an_answer_says_nothing_of_the_clock() -> None:
    assert ec2_asked.skew("", "", NOW) == ""
