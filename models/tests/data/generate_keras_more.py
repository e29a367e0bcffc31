"""Write Keras models that the whole models of `keras_models` do not cover.

    python generate_keras_more.py OUT_DIR

Each model: NAME.keras, NAME.h5 and NAME.weights.h5, all of the same random weights, and NAME.safetensors with each
weight under LAYER/INDEX, in the order of `layer.weights` without random states. Needs: keras, jax, h5py, safetensors.
"""
import os, sys
os.environ.update(KERAS_BACKEND="jax", JAX_ENABLE_X64="1")
import h5py, keras, numpy as np
from keras import layers
from safetensors.numpy import save_file

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(11)


def weights(layer):
    return [w for w in layer.weights if "seed" not in w.path]


def save(name, model):
    arrays = {}
    for layer in model.layers:
        for k, w in enumerate(weights(layer)):
            w.assign((rng.standard_normal(w.shape) * 0.4).astype("float32"))
            arrays[f"{layer.name}/{k}"] = np.asarray(w).astype("float32")
    base = os.path.join(out, name)
    save_file(arrays, base + ".safetensors")
    model.save(base + ".keras")
    model.save(base + ".h5")
    model.save_weights(base + ".weights.h5")


x = keras.Input((6,), dtype="int32", name="tokens")
h = layers.Embedding(7, 3, name="words")(x)
h = layers.GRU(4, return_sequences=True, name="first")(h)
h = layers.GRU(2, name="second")(h)
save("functional_chain", keras.Model(x, layers.Dense(2, name="head")(h)))

save("many_kinds", keras.Sequential([
    keras.Input((8, 3)), layers.Conv1D(4, 3, padding="causal", name="conv"), layers.BatchNormalization(name="norm"),
    layers.Bidirectional(layers.LSTM(3, return_sequences=True, dropout=0.1, recurrent_dropout=0.1), name="both"),
    layers.SpatialDropout1D(0.2), layers.LayerNormalization(name="layer_norm"),
    layers.RNN([layers.LSTMCell(4), layers.LSTMCell(3), layers.GRUCell(2), layers.LSTMCell(2)], return_sequences=True, name="stack"),
    layers.RNN(layers.SimpleRNNCell(3), return_sequences=True, name="one_cell"),
    layers.TimeDistributed(layers.Dense(2), name="each_step"), layers.GlobalMaxPooling1D(), layers.Dense(1, name="head")]))

for dtype in ("float16", "bfloat16", "float64"):
    save(dtype, keras.Sequential([keras.Input((5, 3)), layers.GRU(2, name="cell", dtype=dtype, recurrent_initializer="zeros")]))

x = keras.Input((5, 3), name="x")
a, b = layers.GRU(2, name="left")(x), layers.GRU(2, name="right")(x)
save("branches", keras.Model(x, layers.Add(name="sum")([a, b])))

# Keras computes the mask by layers of its own, beside the chain.
x = keras.Input((6,), dtype="int32", name="tokens")
save("masked", keras.Model(x, layers.GRU(2, name="cell")(layers.Embedding(7, 3, mask_zero=True, name="words")(x))))

inner = keras.Sequential([keras.Input((5, 3)), layers.GRU(2, name="inside")], name="inner")
save("nested", keras.Sequential([keras.Input((5, 3)), inner, layers.Dense(1, name="head")]))


def compressed(source, target):
    """Every dataset in deflated chunks, behind newer metadata."""
    with h5py.File(source) as a, h5py.File(target, "w", libver="v110") as b:
        def copy(name, item):
            if isinstance(item, h5py.Dataset):
                made = b.create_dataset(name, data=item[()], chunks=tuple(max(1, n // 2) for n in item.shape), compression="gzip", shuffle=True)
            else:
                made = b.require_group(name)
            for key, value in item.attrs.items():
                made.attrs[key] = value
        a.visititems(copy)
        for key, value in a.attrs.items():
            b.attrs[key] = value


compressed(os.path.join(out, "functional_chain.h5"), os.path.join(out, "compressed.h5"))
