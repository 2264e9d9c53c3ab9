"""Columns as NumPy arrays, without a copy where there need be none.

A float column of Polars without nulls is an array already: ``arrays`` gives it as it lies in memory. A matrix needs its
columns side by side, so ``matrix`` copies them once, into the order that Fortran, BLAS and scikit-learn read.
``numpy.from_dlpack`` takes both as they are, and ``torch.from_dlpack`` a matrix: PyTorch has no read-only tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

from krakpot.errors import ConfigError
from krakpot.features.frames import need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FLOATS = (pl.Float32, pl.Float64)


def arrays(frame: pl.DataFrame, columns: str | Iterable[str] | None = None) -> dict[str, NDArray[np.floating]]:
    """Columns as arrays that share their memory with the frame.

    Parameters
    ----------
    frame
        A frame; a column in several chunks is refused: ``frame.rechunk()`` first.
    columns
        Names of float columns without nulls; None: all float columns.

    Returns
    -------
    dict
        A one-dimensional array for each column: read-only, because the frame has the same memory.

    Raises
    ------
    ConfigError
        For a column that is not there, is no float, has nulls, or lies in several chunks.

    """
    names = _chosen(frame, columns)
    pieces = [name for name in names if frame[name].n_chunks() > 1]
    if pieces:
        raise ConfigError(f"in several chunks: {_named(pieces)}; frame.rechunk() joins them, which is a copy")
    return {name: frame[name].to_numpy(allow_copy=False) for name in names}


def matrix(frame: pl.DataFrame, columns: str | Iterable[str] | None = None) -> NDArray[np.floating]:
    """Columns side by side: an array of rows and columns, contiguous by column (Fortran order), Float32 or Float64.

    Parameters
    ----------
    frame
        A frame.
    columns
        Names of float columns without nulls; None: all float columns.

    Returns
    -------
    ndarray
        Of shape (rows, columns), copied once, so that it can be written to.

    Raises
    ------
    ConfigError
        For a column that is not there, is no float, or has nulls.

    """
    names = _chosen(frame, columns)
    return frame.select(names).to_numpy(order="fortran", writable=True)


def _chosen(frame: pl.DataFrame, columns: str | Iterable[str] | None) -> list[str]:
    need(frame, ())
    columns = (columns,) if isinstance(columns, str) else columns
    names = [name for name, kind in frame.schema.items() if kind in FLOATS] if columns is None else list(columns)
    need(frame, names)
    if not names:
        raise ConfigError("no columns are chosen; give the names of float columns")
    others = [name for name in names if frame.schema[name] not in FLOATS]
    if others:
        raise ConfigError(f"not of floats: {_named(others)}; cast to pl.Float64, or read with numbers='float'")
    holes = [name for name in names if frame[name].null_count()]
    if holes:
        raise ConfigError(f"there are nulls in {_named(holes)}; drop_nulls() leaves these rows out")
    return names


def _named(names: list[str]) -> str:
    return ", ".join(map(repr, names))
