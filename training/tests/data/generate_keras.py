"""Writes keras.json: what Keras' optimisers give in float64. Needs keras; written with 3.15.1 on JAX, JAX_ENABLE_X64=1."""

import json
import pathlib

import keras
import numpy as np

keras.config.set_floatx("float64")


def trained(optimiser, steps=4):
    """A variable of five values after each step along fixed gradients."""
    variable = keras.Variable(np.array([1.0, -2.0, 0.5, 0.0, 3.0]))
    optimiser.build([variable])
    after = []
    for step in range(steps):
        gradient = np.array([0.3, -1e-3, 2.0, 0.0, -7.0]) * (1.0 - 0.6 * step)
        optimiser.apply([keras.ops.convert_to_tensor(gradient)])
        after.append(np.asarray(variable).tolist())
    return after


orthogonal = np.asarray(keras.initializers.Orthogonal(seed=1)((2, 6)))
assert np.allclose(orthogonal @ orthogonal.T, np.eye(2), atol=1e-6), "orthonormal as a whole"
contents = {
    "sgd_momentum": trained(keras.optimizers.SGD(learning_rate=0.1, momentum=0.9)),
    "adam": trained(keras.optimizers.Adam()),
    "adam_other": trained(keras.optimizers.Adam(learning_rate=0.05, beta_1=0.5, beta_2=0.8, epsilon=1e-2)),
}
path = pathlib.Path(__file__).with_name("keras.json")
path.write_text(json.dumps(contents, indent=1) + "\n")
