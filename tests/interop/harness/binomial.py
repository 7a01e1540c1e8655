"""Bounds of a binomial count, exact."""

from fractions import Fraction
from math import comb

FALSE_ALARM = Fraction(1, 10**9)


def bounds(count, share, questions=1):
    """The least and the most successes among `count` draws that chance explains, with at most one false alarm in
    10^9 for so many questions together."""
    share = Fraction(share)
    rest = FALSE_ALARM / questions / 2 * share.denominator**count
    hit, miss = share.numerator, share.denominator - share.numerator

    def outermost(successes):
        below = 0
        for k in successes:
            below += comb(count, k) * hit**k * miss ** (count - k)
            if below > rest:
                return k

    return outermost(range(count + 1)), outermost(range(count, -1, -1))
