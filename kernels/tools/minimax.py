#!/usr/bin/env python3
"""Prints the constants of kernels/src/math.rs. Needs mpmath (PyPI).

Everything rests on one even function: with r the reduced argument, |r| <= ln(2)/2, and v = r^2,

    Q(v) = r coth(r/2) = 2 + v/6 - v^2/360 + ...,     exp(r) = (Q + r) / (Q - r).

Q is fitted by a polynomial whose constant term stays 2, so that the functions are exact at 0, and whose greatest
relative error is least (Remez' exchange algorithm).
"""

from mpmath import cos, coth, exp, floor, ldexp, linspace, ln, log, lu_solve, matrix, mp, mpf, nint, nstr, pi, sqrt

mp.dps = 60


def rounded(x, bits):
    """x rounded to `bits` significant bits."""
    shift = bits - 1 - int(floor(log(abs(x), 2)))
    return ldexp(nint(ldexp(x, shift)), -shift)


def shortest(x, bits):
    """The shortest decimal that reads back as the `bits`-bit number x."""
    digits = 1
    while rounded(mpf(nstr(x, digits)), bits) != x:
        digits += 1
    return nstr(x, digits)


def q(v):
    r = sqrt(v)
    return r * coth(r / 2)


def relative_error(coefficients, v):
    """Of 2 + c1 v + c2 v^2 + ... against Q."""
    return (2 + sum(c * v**k for k, c in enumerate(coefficients, 1))) / q(v) - 1


def extrema(error, top):
    """The places in (0, top] where |error| is locally greatest: a grid, refined by golden sections."""
    grid = linspace(top / 400, top, 400)
    size = [mpf(0)] + [abs(error(v)) for v in grid] + [mpf(0)]
    for i, v in enumerate(grid, 1):
        if size[i - 1] <= size[i] >= size[i + 1]:
            low, high = v - top / 400, min(v + top / 400, top)
            for _ in range(60):
                a, b = low + (high - low) * mpf("0.382"), low + (high - low) * mpf("0.618")
                low, high = (low, b) if abs(error(a)) >= abs(error(b)) else (a, high)
            yield (low + high) / 2


def remez(degree, top):
    """c1..c_degree for which the greatest |relative_error| over (0, top] is least."""
    points = [top * (1 - cos(pi * (2 * i + 1) / (2 * degree + 2))) / 2 for i in range(degree + 1)]
    while True:
        # Unknown: c1..c_degree and the level e, where the error at the i-th point is to be (-1)^i e.
        rows = [[v**k / q(v) for k in range(1, degree + 1)] + [(-1) ** i] for i, v in enumerate(points)]
        *coefficients, level = lu_solve(matrix(rows), matrix([1 - 2 / q(v) for v in points]))
        points = list(extrema(lambda v: relative_error(coefficients, v), top))
        assert len(points) == degree + 1
        if max(abs(relative_error(coefficients, v)) for v in points) <= abs(level) * (1 + mpf(10) ** -9):
            return coefficients


def least_argument(value, bits):
    """The least number of `bits` bits whose exponential is at least `value`."""
    x = rounded(ln(value), bits)
    step = ldexp(mpf(1), int(floor(log(abs(x), 2))) - bits + 1)
    while exp(x) >= value:
        x -= step
    while exp(x) < value:
        x += step
    return x


def show(name, bits, greatest_exponent, degree):
    """Prints the constants of a type with `bits` bits of significand and this exponent of the greatest number."""

    def line(label, x):
        print(f"  {label:13} {shortest(rounded(x, bits), bits)}")

    print(name)
    # |n| <= 2^(greatest_exponent.bit_length()), so that n LN2_HI is exact.
    high = rounded(ln(2), bits - greatest_exponent.bit_length() - 1)
    line("LN2_HI", high)
    line("LN2_LO", ln(2) - high)
    line("EXP_NORMAL", least_argument(ldexp(mpf(1), 1 - greatest_exponent), bits))
    # Half a unit in the last place above the greatest number.
    halfway = ldexp(2 - ldexp(mpf(1), -bits), greatest_exponent)
    line("EXP_INFINITE", least_argument(halfway, bits))

    # The rounding errors of x / ln 2 may push r past ln(2)/2.
    top = (ln(2) / 2 * (1 + ldexp(mpf(1), -16))) ** 2
    coefficients = [rounded(c, bits) for c in remez(degree, top)]
    for k, c in enumerate([mpf(2)] + coefficients):
        line(f"COTH[{k}]", c)
    worst = max(abs(relative_error(coefficients, v)) for v in linspace(top / 2000, top, 2000))
    print(f"  relative error of Q with these: {nstr(worst, 2)}")


show("f32", 24, 127, 2)
show("f64", 53, 1023, 5)
