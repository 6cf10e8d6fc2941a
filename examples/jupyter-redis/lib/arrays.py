"""numpy arrays as the fields of a Redis hash."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def dump_array(array: npt.NDArray[np.generic]) -> dict[str, bytes]:
    """Return the array's type, shape and bytes, for `HSET`. An array of Python objects raises TypeError: it has no bytes of its own."""
    if array.dtype.hasobject:
        raise TypeError(f"An array of type {array.dtype} cannot be stored as bytes; use numbers, booleans or strings of a fixed length.")
    shape = ",".join(map(str, array.shape))
    return {"dtype": array.dtype.str.encode(), "shape": shape.encode(), "data": array.tobytes()}


def load_array(fields: Mapping[bytes, bytes]) -> npt.NDArray[np.generic]:
    """Return the array that `HGETALL` brought back. A key that is not there comes back without fields, and raises KeyError."""
    shape = [int(length) for length in fields[b"shape"].split(b",") if length]
    return np.frombuffer(fields[b"data"], dtype=fields[b"dtype"].decode()).reshape(shape).copy()  # a copy can be written to
