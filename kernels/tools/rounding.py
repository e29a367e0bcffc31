"""First-order analysis of rounding errors.

A `Number` holds values for many arguments at once, and what each error made so far adds to them. Operations are written
as the kernels write theirs; an error that comes in by two ways cancels or adds up as it does there.
"""

import numpy as np


def half_ulp(value, bits):
    """The greatest rounding error of a result of `bits` bits."""
    return np.exp2(np.floor(np.log2(np.maximum(np.abs(value), 1e-300))) - bits)


class Number:
    def __init__(self, value, bits, errors=None):
        self.value, self.bits, self.errors = np.asarray(value, dtype=float), bits, dict(errors or {})

    def rounded(self):
        """With one more rounding error, of a name of its own."""
        return Number(self.value, self.bits, self.errors | {object(): half_ulp(self.value, self.bits)})

    def combined(self, value, *inputs):
        """Of this value and this derivative by each input, exact."""
        errors = {}
        for derivative, number in inputs:
            for name, error in number.errors.items():
                errors[name] = errors.get(name, 0) + derivative * error
        return Number(value, self.bits, errors)

    def exact_fma(self, b, c):
        return self.combined(self.value * b.value + c.value, (b.value, self), (self.value, b), (1, c))

    def fma(self, b, c):
        return self.exact_fma(b, c).rounded()

    def add(self, b):
        return self.combined(self.value + b.value, (1, self), (1, b)).rounded()

    def sub(self, b):
        return self.combined(self.value - b.value, (1, self), (-1, b)).rounded()

    def div(self, b):
        y = self.value / b.value
        return self.combined(y, (1 / b.value, self), (-y / b.value, b)).rounded()

    def ulps(self):
        """In units in the last place: the sum of all rounding errors at their greatest, and each error that has a
        string for its name."""
        ulp = 2 * half_ulp(self.value, self.bits)
        named = {name: error / ulp for name, error in self.errors.items() if isinstance(name, str)}
        return sum(np.abs(error) for name, error in self.errors.items() if name not in named) / ulp, named
