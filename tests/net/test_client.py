"""What links are made of; their life over cuts, slow disks and refusals is told in test_recorder and test_level3."""

from __future__ import annotations

import json
import time

from krakpot.net.client import add_counts, uuid7


def test_names_of_sessions_sort_by_time() -> None:
    """UUIDv7: version and variant as RFC 9562 wants them, the time in front."""
    before = time.time_ns() // 1_000_000
    names = []
    for _ in range(5):
        names.append(uuid7())
        time.sleep(0.002)
    assert names == sorted(names)
    assert len(set(names)) == 5
    for name in names:
        assert (name[14], name[19] in "89ab") == ("7", True)
        assert before <= int(name.replace("-", "")[:12], 16) <= time.time_ns() // 1_000_000


def test_counters_add_up() -> None:
    """Counters add over sessions; states are the later session's."""
    one = {
        "frames": 2, "unchecked": 1, "errors": 0, "gaps": 1, "unknown_entries": 0, "replaced": 0, "unknown_fields": 3,
        "in_sync": 5,
        "messages": {"book": 2}, "rows": {"book": 7, "ledger": 0}, "checksums": {"book": {"ok": 2, "bad": 0}},
    }  # fmt: skip
    two = one | {"in_sync": 1, "messages": {"trade": 1}, "checksums": {"book": {"ok": 0, "bad": 3}}}
    total = add_counts(add_counts({}, one), two)
    assert (total["frames"], total["unknown_fields"], total["in_sync"]) == (4, 6, 1)
    assert total["messages"] == {"book": 2, "trade": 1}
    assert total["rows"]["book"] == 14
    assert total["checksums"] == {"book": {"ok": 2, "bad": 3}}
    three = one | {"checksums": {"level3": {"ok": 7, "bad": 1}, "book": {"ok": 1, "bad": 0}}}
    assert add_counts(total, three)["checksums"] == {"book": {"ok": 3, "bad": 3}, "level3": {"ok": 7, "bad": 1}}
    assert total["checksums"] == {"book": {"ok": 2, "bad": 3}}, "what was added to stays as it was"
    assert json.loads(json.dumps(total)) == total
