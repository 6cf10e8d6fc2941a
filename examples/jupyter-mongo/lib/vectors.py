"""Texts as vectors, and vectors as binary values of MongoDB."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from bson.binary import Binary

Vector = npt.NDArray[np.float32]
#: Little-endian, so that the bytes mean the same on every machine.
DTYPE = np.dtype("<f4")


def vectors_of(texts: Sequence[str]) -> Vector:
    """Return a row of length 1 for each text: a place for each word, weighted by TF-IDF as in scikit-learn's TfidfVectorizer."""
    counts = [Counter(re.findall(r"\w{2,}", text.lower())) for text in texts]
    places = {word: place for place, word in enumerate(sorted({word for count in counts for word in count}))}
    matrix = np.zeros((len(texts), len(places)), dtype=DTYPE)
    for row, count in enumerate(counts):
        for word, times in count.items():
            matrix[row, places[word]] = times
    matrix *= np.log((1 + len(texts)) / (1 + (matrix > 0).sum(axis=0))) + 1
    # A text without a word stays a row of zeros, which resembles nothing.
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    return np.divide(matrix, lengths, out=matrix, where=lengths > 0)


def to_binary(vector: Vector) -> Binary:
    """Return a vector of 32-bit floats as a BSON value."""
    return Binary(vector.astype(DTYPE).tobytes())


def from_binary(value: bytes) -> Vector:
    """Return the vector that `to_binary` stored."""
    return np.frombuffer(value, dtype=DTYPE)
