"""Recently used values, within a limit."""

from __future__ import annotations

from diantu.datasets.recent import Recent


def test_those_used_last_stay() -> None:
    recent: Recent[str, bytes] = Recent(10, len)
    for key in "abc":
        recent.put(key, bytes(3))
    assert recent.get("a") == bytes(3)
    recent.put("d", bytes(3))
    assert [key for key in "abcd" if recent.get(key) is not None] == ["a", "c", "d"]


def test_a_value_takes_the_place_of_the_one_before() -> None:
    recent: Recent[str, bytes] = Recent(10, len)
    for _ in range(5):
        recent.put("a", bytes(6))
    recent.put("b", bytes(4))
    assert (recent.get("a"), recent.get("b")) == (bytes(6), bytes(4))
    recent.put("a", bytes(7))
    assert (recent.get("a"), recent.get("b")) == (bytes(7), None)


def test_the_last_one_stays_even_if_it_is_too_large() -> None:
    recent: Recent[str, bytes] = Recent(10, len)
    recent.put("a", bytes(3))
    recent.put("b", bytes(11))
    assert (recent.get("a"), recent.get("b")) == (None, bytes(11))
    recent.put("c", b"")
    assert (recent.get("b"), recent.get("c")) == (None, b"")
