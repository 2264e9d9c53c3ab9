"""Signed requests to REST, read: what an order's members mean to the private endpoint.

Digits stay as they were written.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

INVALID = "EGeneral:Invalid arguments"
NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?", re.ASCII)
NESTED = re.compile(r"([a-z_]+)\[(\d{1,2})\](?:\[([a-z_0-9]+)\])?", re.ASCII)
"""A member of a list in a form: ``orders[0][type]``."""
FIELDS_MAX = 1000
SECONDS_DIGITS = 16

Facts = dict[str, Any]


class Refused(Exception):
    """A request is refused with this text."""


def fields(kind: str, body: bytes) -> Facts:
    """Return the members of a body, a form or JSON; a list of a form has keys as ``orders[0][type]``.

    ``Refused`` if it is neither.
    """
    try:
        if kind.partition(";")[0].strip().lower() != "application/json":
            return _form(body.decode())
        found = json.loads(body, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        raise Refused(INVALID) from None
    if not isinstance(found, dict):
        raise Refused(INVALID)
    return found


def _form(text: str) -> Facts:
    facts: Facts = {}
    lists: dict[str, dict[int, Any]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX):
        nested = NESTED.fullmatch(name)
        if nested is None:
            facts[name] = value
            continue
        rows, at = lists.setdefault(nested[1], {}), int(nested[2])
        if nested[3] is None:
            rows[at] = value
            continue
        row = rows.setdefault(at, {})
        if not isinstance(row, dict):
            raise Refused(INVALID)
        row[nested[3]] = value
    return facts | {name: [row for _, row in sorted(rows.items())] for name, rows in lists.items()}


def number(facts: Facts, name: str) -> str:
    """Return the digits of a member as a JSON number; ``Refused`` if it is none."""
    text = str(facts.get(name, ""))
    if not NUMBER.fullmatch(text):
        raise Refused(f"{INVALID}:{name}")
    # JSON has no plus, and no zeros before a number.
    return ("-" if text.startswith("-") else "") + re.sub(r"^0+(?=[0-9])", "", text.lstrip("+-"))


def texts(facts: Facts, name: str) -> list[str]:
    """Return the texts of a member: a list, or with commas."""
    value = facts.get(name, "")
    found = value if isinstance(value, list) else str(value).split(",")
    return [str(text) for text in found if text]


def is_true(facts: Facts, name: str) -> bool:
    """Whether a member is true."""
    return str(facts.get(name, "")).lower() == "true"


def as_json(params: dict[str, str]) -> str:
    """Return an object whose members are JSON already."""
    return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in params.items()) + "}"


def options(facts: Facts) -> dict[str, str]:
    """Return deadline and validation of a request."""
    found = {"deadline": json.dumps(str(facts["deadline"]))} if facts.get("deadline") else {}
    return found | ({"validate": "true"} if is_true(facts, "validate") else {})


def terms(facts: Facts, now: int) -> dict[str, str]:
    """Return the members of an order for the private endpoint, without its pair; ``now`` in ns.

    ``Refused`` if a number is none.
    """
    flags = set(texts(facts, "oflags"))
    params = {"side": json.dumps(facts.get("type")), "order_type": json.dumps(facts.get("ordertype"))}
    params["cash_order_qty" if "viqc" in flags else "order_qty"] = number(facts, "volume")
    params |= _prices(facts)
    params |= {name: "true" for name, flag in (("post_only", "post"), ("no_mpp", "nompp")) if flag in flags}
    if flags & {"fcib", "fciq"}:
        params["fee_preference"] = '"base"' if "fcib" in flags else '"quote"'
    for name, of in (("timeinforce", "time_in_force"), ("cl_ord_id", "cl_ord_id")):
        if facts.get(name):
            params[of] = json.dumps(str(facts[name]))
    if facts.get("stptype"):
        params["stp_type"] = json.dumps(str(facts["stptype"]).replace("-", "_"))
    if facts.get("userref"):
        params["order_userref"] = number(facts, "userref")
    params |= _times(facts, now)
    if is_true(facts, "reduce_only"):
        params["reduce_only"] = "true"
    if str(facts.get("leverage") or "none") not in {"none", "1"}:
        params["margin"] = "true"
    if any(name == "close" or name.startswith("close[") for name in facts):
        params["conditional"] = "{}"
    return params


def _prices(facts: Facts) -> dict[str, str]:
    """``price`` is that of the trigger, if the order has one; ``price2`` is its limit then."""
    kind = str(facts.get("ordertype"))
    params = {"display_qty": number(facts, "displayvol")} if facts.get("displayvol") else {}
    if kind.startswith(("stop-loss", "take-profit")):
        reference = json.dumps(facts.get("trigger") or "last")
        params["triggers"] = f'{{"price":{number(facts, "price")},"reference":{reference}}}'
        if kind.endswith("-limit"):
            params["limit_price"] = number(facts, "price2")
    elif kind != "market":
        params["limit_price"] = number(facts, "price")
    return params


def _times(facts: Facts, now: int) -> dict[str, str]:
    """When an order begins and expires; 0 is no time."""
    names = (("starttm", "effective_time"), ("expiretm", "expire_time"))
    given = ((of, str(facts.get(name) or "0")) for name, of in names)
    return {of: json.dumps(_stamp(_moment(text, now))) for of, text in given if text != "0"}


def _moment(text: str, now: int) -> int:
    """Return a time, ns: unix seconds, or seconds from now after a plus."""
    if not NUMBER.fullmatch(text) or len(text) > SECONDS_DIGITS:
        raise Refused(INVALID)
    return (now if text.startswith("+") else 0) + round(float(text) * 1e9)


def _stamp(ns: int) -> str:
    try:
        whole = datetime.fromtimestamp(ns // 10**9, UTC)
    except (OverflowError, OSError, ValueError):
        raise Refused(INVALID) from None
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"
