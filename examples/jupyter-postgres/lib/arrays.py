"""numpy arrays as values of the type BYTEA."""

import io

import numpy as np
import numpy.typing as npt


def to_bytes(array: npt.NDArray[np.generic]) -> bytes:
    """Return the array in numpy's own file format, which names its type and shape. An array of Python objects raises ValueError."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def from_bytes(content: bytes | memoryview) -> npt.NDArray[np.generic]:
    """Return the array of what psycopg2 read from a BYTEA. Content that would have to be unpickled raises ValueError."""
    array: npt.NDArray[np.generic] = np.load(io.BytesIO(content), allow_pickle=False)
    return array
