#!/usr/bin/env python3
"""Prints the constants of softplus and gelu in kernels/src/math/constants.rs. Needs mpmath and SciPy (PyPI).

softplus: 2 atanh(s) / s as a polynomial in v = s^2 for s <= 1/3, whose constant term is 2.
gelu: Phi(-a) exp(a^2/2), where Phi is the normal distribution function, as a quotient of two polynomials in a.
"""

from minimax import Fit, least_argument, one, rounded, shortest
from mpmath import atanh, cos, erfc, exp, ldexp, lu_solve, matrix, mp, mpf, nstr, pi, polyval, sqrt

mp.dps = 60


def tail(a):
    return erfc(a / sqrt(mpf(2))) * exp(a * a / 2) / 2


class Quotient:
    """P / Q for the tail over 0 <= a <= top with Q(0) = 1, such that the greatest relative error is least.

    Remez' exchange algorithm. It starts from the quotient that interpolates the tail at the Chebyshev points of
    u = a / (a + 2), and solves for each set of extrema by Newton's method.
    """

    def __init__(self, degrees, top):
        self.m, self.n = degrees
        free = self.m + self.n + 1
        u_top = top / (top + 2)
        grid = [u_top * (1 - cos(pi * i / (40 * free))) / 2 for i in range(40 * free + 1)]
        self.grid = [(2 * u / (1 - u), tail(2 * u / (1 - u))) for u in grid]
        # The Chebyshev points are every 40th of the grid from the 20th on.
        nodes = self.grid[20::40]
        found = lu_solve(matrix([self.row(a, w) for a, w in nodes]), matrix([w for _, w in nodes]))
        self.p, self.q, level = list(found[: self.m + 1]), [mpf(1), *found[self.m + 1 :]], mpf(0)
        while True:
            extrema = self.extrema()
            assert len(extrema) == free + 1
            self.worst = max(abs(error) for _, _, error in extrema)
            level = min(abs(error) for _, _, error in extrema)
            if self.worst <= level * (1 + mpf(10) ** -3):
                break
            self.solve(extrema)

    def row(self, a, w):
        """The derivatives of P - w Q by the coefficients, but for that of Q(0)."""
        return [a**j for j in range(self.m + 1)] + [-w * a**j for j in range(1, self.n + 1)]

    def values(self, a):
        return polyval(self.p[::-1], a), polyval(self.q[::-1], a)

    def extrema(self):
        """For each run of errors of one sign its greatest: the place, the tail, the error."""
        runs = []
        for a, w in self.grid:
            p, q = self.values(a)
            error = p / q / w - 1
            if not runs or (error > 0) != (runs[-1][2] > 0):
                runs.append((a, w, error))
            elif abs(error) > abs(runs[-1][2]):
                runs[-1] = (a, w, error)
        return runs

    def solve(self, extrema):
        """Makes all errors at these places one level, with the signs they have."""
        level, change = sum(abs(error) for _, _, error in extrema) / len(extrema), mpf(1)
        while abs(change) > level * mpf(10) ** -8:
            rows, rest = [], []
            for a, w, error in extrema:
                sign = 1 if error > 0 else -1
                p, q = self.values(a)
                target = w * (1 + sign * level)
                rows.append(self.row(a, target) + [-sign * w * q])
                rest.append(target * q - p)
            *steps, change = lu_solve(matrix(rows), matrix(rest))
            self.p = [c + step for c, step in zip(self.p, steps)]
            self.q[1:] = [c + step for c, step in zip(self.q[1:], steps[self.m + 1 :])]
            level += change


def show(name, bits, greatest_exponent, log_degree, degrees):
    """Prints the constants of a type with `bits` bits of significand and this exponent of the greatest number."""

    def lines(label, coefficients):
        for k, c in enumerate(coefficients):
            print(f"  {label}[{k}] {shortest(rounded(c, bits), bits)}")

    print(name)
    fit = Fit(lambda v: 2 * atanh(sqrt(v)) / sqrt(v), mpf(2), log_degree, mpf(1) / 9, one)
    lines("ATANH", [fit.c0] + fit.rest)
    # The greatest a whose exp(-a^2/2) is a normal number, rounded down.
    least = -least_argument(ldexp(mpf(1), 1 - greatest_exponent), bits)
    top = sqrt(2 * least)
    below = rounded(top, bits)
    while below * below / 2 > least:
        below *= 1 - ldexp(mpf(1), -bits)
    print(f"  TAIL_END {shortest(rounded(below, bits), bits)}")
    quotient = Quotient(degrees, top)
    lines("TAIL_NUMERATOR", quotient.p)
    lines("TAIL_DENOMINATOR", quotient.q)
    print(f"  relative errors: atanh {nstr(fit.worst, 2)}, tail {nstr(quotient.worst, 2)}")


if __name__ == "__main__":
    show("f32", 24, 127, 4, (4, 5))
    show("f64", 53, 1023, 10, (9, 10))
