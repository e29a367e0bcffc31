#!/usr/bin/env python3
"""Prints the constants of exp, sigmoid and tanh in kernels/src/math/constants.rs and the greatest errors there can be.
Needs mpmath and SciPy (PyPI).

Everything rests on Q(v) = z coth(a z / 2), where v = z^2, for which exp(a z) = (Q + z) / (Q - z). It is fitted by a
polynomial in v by Remez' exchange algorithm; its constant term is given.
"""

import numpy as np
from mpmath import cos, coth, exp, floor, ldexp, linspace, ln, log, lu_solve, matrix, mp, mpf, nint, nstr, pi, sqrt
from rounding import Number
from scipy.optimize import linprog

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


class Fit:
    """c0 + c1 v + ... for Q over 0 < v <= top, such that the greatest |weight(v) (fit / Q - 1)| is least."""

    def __init__(self, q, c0, degree, top, weight):
        self.q, self.c0, self.degree, self.top, self.weight = q, c0, degree, top, weight
        points = [top * (1 - cos(pi * (2 * i + 1) / (2 * degree + 2))) / 2 for i in range(degree + 1)]
        while True:
            # Unknown: c1, c2, ... and the level e, where the error at the i-th point is to be (-1)^i e.
            rows = [self.row(v) + [(-1) ** i] for i, v in enumerate(points)]
            *self.rest, level = lu_solve(matrix(rows), matrix([weight(v) * (1 - c0 / self.q(v)) for v in points]))
            points = list(self.extrema())
            assert len(points) == degree + 1
            self.worst = max(abs(self.error(v)) for v in points)
            if self.worst <= abs(level) * (1 + mpf(10) ** -9):
                break

    def row(self, v):
        return [self.weight(v) * v**k / self.q(v) for k in range(1, self.degree + 1)]

    def error(self, v):
        return self.weight(v) * ((self.c0 + sum(c * v**k for k, c in enumerate(self.rest, 1))) / self.q(v) - 1)

    def extrema(self):
        """The places where |error| is locally greatest: a grid, refined by golden sections."""
        step = self.top / 400
        grid = linspace(step, self.top, 400)
        size = [mpf(0)] + [abs(self.error(v)) for v in grid] + [mpf(0)]
        for i, v in enumerate(grid, 1):
            if size[i - 1] <= size[i] >= size[i + 1]:
                low, high = v - step, min(v + step, self.top)
                for _ in range(60):
                    a, b = low + (high - low) * mpf("0.382"), low + (high - low) * mpf("0.618")
                    low, high = (low, b) if abs(self.error(a)) >= abs(self.error(b)) else (a, high)
                yield (low + high) / 2

    def number(self, z, v):
        """The polynomial at the Number v = z^2, as the kernels compute it. Its coefficients are errors by name."""
        c = [float(c) for c in [self.c0] + self.rest]
        named = [Number(c[k], v.bits, {f"c{k}": 1.0} if k else {}) for k in range(self.degree + 1)]
        total = named[-1]
        for k in reversed(range(self.degree)):
            total = total.fma(v, named[k])
        unit = np.where(self.weight(v.value) == 1, 1, 1 / np.maximum(np.abs(z), 1e-9))
        total.errors[object()] = float(self.worst) * unit * total.value
        return total


def coth_of(a):
    """Q as a function of v."""
    return lambda v: sqrt(v) * coth(a * sqrt(v) / 2)


def least_argument(value, bits):
    """The least number of `bits` bits whose exponential is at least `value`."""
    x = rounded(ln(value), bits)
    step = ldexp(mpf(1), int(floor(log(abs(x), 2))) - bits + 1)
    while exp(x) >= value:
        x -= step
    while exp(x) < value:
        x += step
    return x


def reduced(bits):
    """z of base 2: the two steps of its reduction round once each."""
    z = Number(np.linspace(-0.5, 0.5, 20001), bits).rounded().rounded()
    zero = Number(0.0, bits)
    return z, z.fma(z, zero)


def exp_error(fit, bits):
    """The greatest error of exp in units in the last place."""
    z, v = reduced(bits)
    y = Number(2.0, bits).fma(z.div(fit.number(z.value, v).sub(z)), Number(1.0, bits))
    return y.ulps()[0].max()


def sigmoid_error(fit, bits):
    z, v = reduced(bits)
    q = fit.number(z.value, v)
    d, worst = q.add(z), 0
    for n in range(-bits - 4, bits + 5):
        y = d.div(Number(2.0**n, bits).fma(q.sub(z), d))
        worst = max(worst, y.ulps()[0].max())
    return worst


def tanh_errors(fit, bits):
    """For every n, and every r in steps: the greatest sum of rounding errors, and the derivatives by the coefficients
    and by the error of HALF_LN2, in units in the last place."""
    for n in range(bits + 4):
        half = float(ln(2)) / 4
        r = np.linspace(-half if n else 1e-4, half, 4001)
        # All of x and n HALF_LN2 are multiples of one power of two, of which r is too few to need rounding.
        r = Number(r, bits, {"ln2": np.full_like(r, n)})
        q = fit.number(r.value, r.fma(r, Number(0.0, bits)))
        m, numerator = Number((2.0**n - 1) / 2, bits), q.add(r)
        y = m.fma(numerator, r).div(m.fma(numerator, q)) if n else r.div(q)
        rounding, named = y.ulps()
        yield rounding, np.array([named[f"c{k}"] for k in range(1, fit.degree + 1)]), named["ln2"]


def balance(fit, bits):
    """Moves the coefficients such that their errors cancel that of HALF_LN2 where roundings leave least room: a linear
    program for the least greatest error. Returns the coefficients, rounded, and that error."""
    off = float(ln(2) / 2 - rounded(ln(2) / 2, bits))
    rounding, by_c, by_ln2 = (np.concatenate(parts, axis=-1) for parts in zip(*tanh_errors(fit, bits)))
    unit = 2.0**-bits
    fixed = by_ln2 * off
    rows = np.concatenate([by_c, -by_c]).reshape(2, fit.degree, -1).transpose(0, 2, 1).reshape(-1, fit.degree) * unit
    limits = np.concatenate([-rounding - fixed, -rounding + fixed])
    free = [(None, None)] * (fit.degree + 1)
    found = linprog([0] * fit.degree + [1], np.column_stack([rows, -np.ones(len(rows))]), limits, bounds=free)
    moved = [rounded(c + mpf(d * unit), bits) for c, d in zip(fit.rest, found.x)]
    change = np.array([float(m - c) for m, c in zip(moved, fit.rest)])
    return moved, (rounding + np.abs(fixed + change @ by_c)).max(), (rounding + np.abs(fixed)).max()


def show(name, bits, greatest_exponent, degree):
    """Prints the constants of a type with `bits` bits of significand and this exponent of the greatest number."""

    def line(label, x):
        print(f"  {label:13} {shortest(rounded(x, bits), bits)}")

    print(name)
    high = rounded(1 / ln(2), bits)
    line("LOG2E_LO", 1 / ln(2) - high)
    line("EXP_NORMAL", least_argument(ldexp(mpf(1), 1 - greatest_exponent), bits))
    # Half a unit in the last place above the greatest number.
    halfway = ldexp(2 - ldexp(mpf(1), -bits), greatest_exponent)
    line("EXP_INFINITE", least_argument(halfway, bits))

    # Rounding errors may push the reduced argument past the middle of two integers.
    top = (1 + ldexp(mpf(1), -16)) ** 2
    fit = Fit(coth_of(ln(2)), rounded(2 / ln(2), bits), degree, top / 4, sqrt_of)
    for k, c in enumerate([fit.c0] + fit.rest):
        line(f"COTH[{k}]", c)
    half = Fit(coth_of(mpf(2)), mpf(1), degree, top * (ln(2) / 4) ** 2, one)
    balanced, error, unbalanced = balance(half, bits)
    for k, c in enumerate([half.c0] + balanced):
        line(f"HALF_COTH[{k}]", c)
    print(f"  errors of Q {nstr(fit.worst, 2)} (of exp), {nstr(half.worst, 2)} (of tanh, before balance)")
    print(f"  ulp: exp {exp_error(fit, bits):.3f}, sigmoid {sigmoid_error(fit, bits):.3f}, tanh {error:.3f} ({unbalanced:.3f})")


def sqrt_of(v):
    return np.sqrt(v) if isinstance(v, np.ndarray) else sqrt(v)


def one(v):
    return np.ones_like(v) if isinstance(v, np.ndarray) else mpf(1)


if __name__ == "__main__":
    show("f32", 24, 127, 2)
    show("f64", 53, 1023, 5)
