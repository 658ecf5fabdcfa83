"""What of a request no schema can describe, so that what is sent is what is meant.

Requests that are meant to be refused stay as they are.
"""

import itertools
import re

import schemathesis

KEY = re.compile(r"[!#-~][!-~]*")
attempts = itertools.count()


@schemathesis.hook
def filter_headers(context, headers):
    """HTTP carries no control characters: such a request ends in the parser, before there is anybody to answer."""
    return not any(
        ord(character) < 32 or ord(character) == 127
        for value in (headers or {}).values()
        for character in str(value)
    )


@schemathesis.hook
def before_call(context, case, kwargs):
    # Two requests that are not repeats have two keys: one that is used again for another request is refused.
    for name in list(case.headers or {}):
        if name.lower() == "idempotency-key" and KEY.fullmatch(str(case.headers[name])):
            case.headers[name] = f"attempt-{next(attempts)}"
    # A page begins behind a place or ends before one, and not both.
    if case.query and "after" in case.query and "before" in case.query:
        del case.query["before"]
    # A whole number is written without a fraction: JSON Schema takes 42.0 for one, readers of integers do not.
    case.body = whole(case.body)


def whole(value):
    if isinstance(value, dict):
        return {name: whole(member) for name, member in value.items()}
    if isinstance(value, list):
        return [whole(member) for member in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
