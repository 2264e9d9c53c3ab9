"""Arrays share the memory of their frame; matrices are copied once."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from krakpot import ConfigError
from krakpot.features.matrix import arrays, matrix

FRAME = pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": pl.Series([4.0, 5.0, 6.0], dtype=pl.Float32), "n": [1, 2, 3]})


def address(series: pl.Series) -> int:
    """Where the values of a column begin."""
    values = series.to_arrow().buffers()[1]
    return int(values.address)


def test_arrays_are_the_columns_themselves() -> None:
    """The same address, read-only, and the same values to whoever takes them by DLPack."""
    found = arrays(FRAME)
    assert list(found) == ["a", "b"]
    for name, array in found.items():
        assert array.__array_interface__["data"] == (address(FRAME[name]), True), "the same memory, read-only"
        taken = np.from_dlpack(array)
        assert np.shares_memory(taken, array)
        assert taken.tolist() == FRAME[name].to_list()


def test_a_matrix_is_contiguous_by_column() -> None:
    """It can be written to, as PyTorch wants it, also one of a single column."""
    wide = matrix(FRAME.with_columns(c=pl.col("a") * 2), ["a", "c"])
    assert wide.shape == (3, 2)
    assert wide.dtype == np.float64
    assert wide.flags.f_contiguous
    assert wide.flags.writeable
    assert wide.tolist() == [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]
    assert np.shares_memory(np.from_dlpack(wide), wide)
    one = matrix(FRAME, "a")
    one[0, 0] = 7
    assert one.shape == (3, 1)
    assert FRAME["a"][0] == 1, "the frame is not written to"


def test_pytorch_takes_a_matrix_without_a_copy() -> None:
    """If it is installed; krakpot does not need it."""
    torch = pytest.importorskip("torch")
    wide = matrix(FRAME, ["a", "b"])
    assert torch.from_dlpack(wide).data_ptr() == wide.__array_interface__["data"][0]


@pytest.mark.parametrize("function", [arrays, matrix])
def test_what_would_be_a_copy_or_a_guess_is_refused(function: object) -> None:
    """Nulls, other types, no columns."""
    assert callable(function)
    for frame, columns, sentence in (
        (FRAME, ["n"], "not of floats: 'n'; cast to pl.Float64, or read with numbers='float'"),
        (FRAME, ["a", "x"], "the frame has no column 'x'; it has a, b, n"),
        (FRAME, [], "no columns are chosen"),
        (FRAME.lazy(), None, "frame: a polars.LazyFrame is not allowed; collect() it first"),
        (FRAME["a"], None, "frame: a polars.Series is not allowed; give a polars.DataFrame"),
        (
            FRAME.with_columns(a=pl.lit(None, pl.Float64)),
            None,
            "there are nulls in 'a'; drop_nulls() leaves these rows out",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            function(frame, columns)
        assert str(caught.value).startswith(sentence)
    pieces = pl.concat([FRAME, FRAME], rechunk=False)
    with pytest.raises(ConfigError, match="in several chunks: 'a', 'b'; frame.rechunk"):
        arrays(pieces)
    assert matrix(pieces).shape == (6, 2)
