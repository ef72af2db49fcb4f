LIMIT = 3


def half(x, by=2):
    if by == 0:
        raise ValueError("by")
    return x // by
import math
from lib.tools import half, LIMIT
import lib.tools as t


def test_half():
    assert half(6) == LIMIT


def test_wrong():
    assert t.half(5) == math.gcd(3, 6), half(5)


def test_raises():
    half(1, by=0)
