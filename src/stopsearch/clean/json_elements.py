"""
Split a JSON array into its elements without reading them, so that one that can't be read stands alone.
"""

from __future__ import annotations

import json
import re

# A whole text, or one mark of structure. What stands between them (numbers, `true`, white space) needs no look.
_PART = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
_SPACE = b" \t\r\n"


def split_elements(body: bytes) -> list[bytes] | None:
    """
    Give each element of a JSON array as its bytes, or None where the body is no whole array.

    Only the marks of structure are read, without recursion: an element may be no JSON at all.
    """
    body = body.strip(_SPACE)
    if not body.startswith(b"["):
        return None
    elements: list[bytes] = []
    depth, begin = 0, 1
    for part in _PART.finditer(body):
        mark = part[0]
        if mark in (b"[", b"{"):
            depth += 1
        elif mark in (b"]", b"}"):
            depth -= 1
            if not depth:
                elements.append(body[begin : part.start()].strip(_SPACE))
                return elements if mark == b"]" and part.end() == len(body) else None
        elif mark == b"," and depth == 1:
            elements.append(body[begin : part.start()].strip(_SPACE))
            begin = part.end()
    return None


def has_json_syntax(element: bytes) -> bool:
    """
    Tell whether an element is written as JSON, whatever its values: a byte that is no UTF-8, half a surrogate pair,
    a number out of any range and any depth are let pass. So it is one bad record, and no sign of a broken body.
    """
    try:
        json.loads(element.decode("utf-8", "replace"), strict=False, parse_int=str, parse_float=str)
    except RecursionError:
        return True  # its marks of structure are balanced, else it would have been no element
    except ValueError:
        return False
    return True
