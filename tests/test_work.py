"""The progress of work."""

from __future__ import annotations

from krakpot.work import Work


def test_work_is_counted_up_to_its_total() -> None:
    """Each report has what is done, the total and the unit; an estimate that was too low is not exceeded."""
    told: list[tuple[int, int, str]] = []
    work = Work(10, "rows", lambda *one: told.append(one))
    work.add(2.5)
    work.add(3.5)
    work.reach(8)
    work.add(7)
    assert told == [(2, 10, "rows"), (6, 10, "rows"), (8, 10, "rows"), (10, 10, "rows")]
