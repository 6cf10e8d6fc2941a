"""Write breast_cancer.csv beside this file: samples in the shape of the Wisconsin breast-cancer data, none of them real.

Source of the shape (699 rows: a number, nine features from 1 to 10, the class 2 for benign 458 times and 4 for malignant
241 times, `?` for 16 missing values of bare nuclei, some numbers more than once, no header):
https://archive.ics.uci.edu/dataset/15/breast+cancer+wisconsin+original. Every run writes the same rows.
"""

import random
from pathlib import Path

BENIGN, MALIGNANT = 458, 241
MISSING = 16
BARE_NUCLEI = 6  # its column
# Mean of each feature in benign and in malignant samples, from clump thickness to mitoses.
MEANS = [(3.0, 7.2), (1.3, 6.6), (1.4, 6.6), (1.4, 5.6), (2.1, 5.3), (1.3, 7.6), (2.1, 6.0), (1.3, 5.9), (1.1, 2.6)]


def feature(rng: random.Random, mean: float, severity: float) -> int:
    """Return a value from 1 to 10. Around a low mean most values are 1, as in the original."""
    spread = 2.4 if mean > 4 else 1.1
    return min(10, max(1, round(rng.gauss(mean + 1.6 * severity * (mean > 4), spread))))


def rows() -> list[list[str]]:
    """Return all rows in random order."""
    rng = random.Random(699)  # noqa: S311 - the same rows every time are what is wanted
    result: list[list[str]] = []
    for malignant in [False] * BENIGN + [True] * MALIGNANT:
        severity = rng.gauss(0, 1)
        features = [feature(rng, means[malignant], severity) for means in MEANS]
        # One sample in thirteen is a second look at a patient who is in the table already.
        number = rng.choice(result)[0] if result and rng.random() < 1 / 13 else str(rng.randrange(61_634, 1_399_999))
        result.append([number, *map(str, features), "4" if malignant else "2"])
    rng.shuffle(result)
    for row in rng.sample(range(len(result)), MISSING):
        result[row][BARE_NUCLEI] = "?"
    return result


def main() -> None:
    """Write the file."""
    text = "".join(",".join(row) + "\n" for row in rows())
    Path(__file__).with_name("breast_cancer.csv").write_text(text)


if __name__ == "__main__":
    main()
