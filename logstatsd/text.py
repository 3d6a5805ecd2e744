"""Write text for a person: foreign text made fit for a terminal, moments as ISO 8601."""

from __future__ import annotations

from datetime import UTC, datetime


def clean(text: str, length: int = 160) -> str:
    """Text fit for a terminal: control characters, bytes that were no UTF-8 and the like as `\\x1b`."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown if len(shown) <= length else shown[: length - 1] + "…"


def clean_bytes(line: bytes, length: int = 160) -> str:
    """The same for bytes of a log."""
    return clean(line[: 4 * length].decode("utf-8", "backslashreplace"), length)


def iso_utc(moment_s: float | None) -> str | None:
    """Write Unix seconds as ISO 8601, in UTC; None for none, and for a year that it cannot write."""
    try:
        return (
            None if moment_s is None else datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds")
        )
    except (ValueError, OverflowError):
        return None


def one_line(said: object, length: int = 300) -> str:
    """What an object says of itself, such as an error, without line breaks; nothing where it cannot."""
    try:
        return " ".join(str(said).split())[:length]
    except Exception:
        return ""
