"""Write adult.data.gz beside this file: people and incomes in the shape of the Adult data set, none of them real.

Source of the shape (32,561 rows of 15 columns, `?` where a value is missing, 24,720 rows `<=50K` and 7,841 `>50K`,
an empty line at the end): https://archive.ics.uci.edu/dataset/2/adult. Every run writes the same rows.
"""

import gzip
import math
import random
from collections.abc import Mapping
from pathlib import Path

ROWS = 32_561
RICH = 7_841
NO_WORK = 1_836  # rows without workclass and occupation
NO_COUNTRY = 583

# value: share among all rows, in per mille
WORKCLASS = {
    "Private": 739, "Self-emp-not-inc": 83, "Local-gov": 68, "State-gov": 42, "Self-emp-inc": 36, "Federal-gov": 31, "Without-pay": 1,
}  # fmt: skip
EDUCATION = {
    "Preschool": 2, "1st-4th": 5, "5th-6th": 10, "7th-8th": 20, "9th": 16, "10th": 29, "11th": 36, "12th": 13, "HS-grad": 323,
    "Some-college": 224, "Assoc-voc": 42, "Assoc-acdm": 33, "Bachelors": 164, "Masters": 53, "Prof-school": 18, "Doctorate": 12,
}  # fmt: skip
OCCUPATION = {
    "Prof-specialty": 135, "Craft-repair": 133, "Exec-managerial": 132, "Adm-clerical": 123, "Sales": 119, "Other-service": 107,
    "Machine-op-inspct": 65, "Transport-moving": 52, "Handlers-cleaners": 45, "Farming-fishing": 32, "Tech-support": 30,
    "Protective-serv": 21, "Priv-house-serv": 5, "Armed-Forces": 1,
}  # fmt: skip
RACE = {"White": 854, "Black": 96, "Asian-Pac-Islander": 32, "Amer-Indian-Eskimo": 10, "Other": 8}
COUNTRY = {
    "United-States": 912, "Mexico": 20, "Philippines": 6, "Germany": 4, "Canada": 4, "Puerto-Rico": 4, "El-Salvador": 3, "India": 3,
    "Cuba": 3, "England": 3, "Jamaica": 3, "South": 3, "China": 2, "Italy": 2, "Dominican-Republic": 2, "Vietnam": 2, "Guatemala": 2,
    "Japan": 2, "Poland": 2, "Columbia": 2,
}  # fmt: skip
# What a value adds to the log-odds of an income above 50K.
OCCUPATION_EFFECT = {
    "Exec-managerial": 1.0, "Prof-specialty": 0.7, "Tech-support": 0.6, "Protective-serv": 0.4, "Sales": 0.3, "Other-service": -0.9,
    "Handlers-cleaners": -0.8, "Farming-fishing": -0.9, "Machine-op-inspct": -0.4, "Priv-house-serv": -1.5,
}  # fmt: skip
WORKCLASS_EFFECT = {"Self-emp-inc": 0.5, "Federal-gov": 0.5, "Self-emp-not-inc": -0.4, "Without-pay": -2.0}


def draw(rng: random.Random, shares: Mapping[str, int]) -> str:
    """Return one of the keys, drawn by their shares."""
    return rng.choices(list(shares), weights=list(shares.values()))[0]


def family(rng: random.Random, age: int, sex: str) -> tuple[str, str]:
    """Return a marital status and the relationship that goes with it."""
    if rng.random() < min(0.62, max(0.03, (age - 19) / 30)):
        return "Married-civ-spouse", "Husband" if sex == "Male" else "Wife"
    never = max(0.1, 1 - (age - 17) / 32)
    left = {"Divorced": 500, "Separated": 110, "Widowed": 30 + 8 * max(0, age - 40)}
    status = "Never-married" if rng.random() < never else draw(rng, left)
    if status == "Never-married" and age < 27 and rng.random() < 0.65:
        return status, "Own-child"
    return status, draw(rng, {"Not-in-family": 620, "Unmarried": 290, "Other-relative": 90})


def person(rng: random.Random) -> tuple[list[str], float]:
    """Return a row without its target, and the log-odds of an income above 50K plus the noise of a single life."""
    age = min(90, 17 + int(rng.gammavariate(2.6, 8.4)))
    sex = "Male" if rng.random() < 0.669 else "Female"
    education = draw(rng, EDUCATION)
    number = list(EDUCATION).index(education) + 1
    marital, relationship = family(rng, age, sex)
    workclass, occupation = draw(rng, WORKCLASS), draw(rng, OCCUPATION)
    hours = 40 if rng.random() < 0.47 else min(99, max(1, round(rng.gauss(41 if age > 22 else 28, 15))))
    odds = (
        0.34 * (number - 10)
        + 2.3 * (marital == "Married-civ-spouse")
        + 0.05 * min(age - 38, 14)
        + 0.03 * (hours - 40)
        + 0.2 * (sex == "Male")
        + OCCUPATION_EFFECT.get(occupation, 0.0)
        + WORKCLASS_EFFECT.get(workclass, 0.0)
    )
    gain = loss = 0
    if rng.random() < 0.03 + 0.11 / (1 + math.exp(2.5 - odds)):
        gain = round(min(99_999, rng.lognormvariate(8.6, 0.7)))
        odds += 2.5 if gain > 6_000 else 0.0
    elif rng.random() < 0.047:
        loss = round(max(155, rng.gauss(1_870, 370)))
        odds += 0.8 if loss > 1_800 else 0.0
    # A logistic draw: with it, the order by `odds` is that of a logistic model's outcomes.
    chance = rng.random()
    noise = 0.75 * math.log(chance / (1 - chance))
    weight = round(min(1_484_705, max(12_285, rng.lognormvariate(12.0, 0.55))))
    values = [age, workclass, weight, education, number, marital, occupation, relationship, draw(rng, RACE), sex, gain, loss, hours]
    return [*map(str, values), draw(rng, COUNTRY)], odds + noise


def rows() -> list[list[str]]:
    """Return all rows, with as many missing values and high incomes as the original has."""
    rng = random.Random(1994)  # noqa: S311 - the same rows every time are what is wanted
    people = [person(rng) for _ in range(ROWS)]
    rich = set(sorted(range(ROWS), key=lambda row: people[row][1])[-RICH:])
    result = [[*values, ">50K" if row in rich else "<=50K"] for row, (values, _) in enumerate(people)]
    for row in rng.sample(range(ROWS), NO_WORK):
        result[row][1] = result[row][6] = "?"
    for row in rng.sample(range(ROWS), NO_COUNTRY):
        result[row][13] = "?"
    return result


def main() -> None:
    """Write the file. Its header has no time and no name, so that it is the same bytes each time."""
    text = "".join(", ".join(row) + "\n" for row in rows()) + "\n"
    Path(__file__).with_name("adult.data.gz").write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
