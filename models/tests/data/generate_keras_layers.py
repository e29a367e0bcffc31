"""Write small Keras models for the layers and the masks that `keras_models` do not cover.

    python generate_keras_layers.py OUT_DIR

Each model: NAME.keras of random weights, NAME.x.npy, and NAME.y.npy as the model predicts. Rows start with a step that
counts, since Keras' backends differ in what they output before one. Needs: keras, jax.
"""
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
import keras, numpy as np
from keras import layers

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(5)
N, T, C = 3, 7, 4


def save(name, x, *stack):
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=str(x.dtype)), *stack])
    for layer in model.layers:
        values = [(rng.standard_normal(w.shape) * 0.5).astype("float32") for w in layer.get_weights()]
        if isinstance(layer, layers.BatchNormalization):
            values[-1] = np.abs(values[-1]) + 0.1
        layer.set_weights(values)
    y = np.asarray(model.predict(x, verbose=0))
    base = os.path.join(out, name)
    model.save(base + ".keras")
    np.save(base + ".x.npy", x)
    np.save(base + ".y.npy", y.astype("float32"))


x = rng.standard_normal((N, T, C)).astype("float32")
mask = rng.random((N, T)) < 0.6
mask[:, 0] = True
masked = np.where(mask[:, :, None], x, 0.0).astype("float32")
ids = np.where(mask, rng.integers(1, 9, (N, T)), 0).astype("int32")

for padding in ("valid", "same", "causal"):
    save(f"conv_{padding}", x, layers.Conv1D(5, 3, padding=padding, activation="relu"))
    save(f"conv_{padding}_strides", x, layers.Conv1D(5, 4, strides=2, padding=padding))
    save(f"conv_{padding}_dilation", x, layers.Conv1D(2, 3, dilation_rate=2, padding=padding, use_bias=False))
save("layer_norm", x, layers.LayerNormalization())
save("layer_norm_parts", x, layers.LayerNormalization(center=False, epsilon=0.1), layers.LayerNormalization(scale=False))
save("batch_norm", x, layers.BatchNormalization())
save("batch_norm_parts", x, layers.BatchNormalization(center=False), layers.BatchNormalization(scale=False, epsilon=0.1),
     layers.BatchNormalization(center=False, scale=False))
save("pooling_average", x, layers.GlobalAveragePooling1D())
save("pooling_max_keepdims", x, layers.GlobalMaxPooling1D(keepdims=True))
save("reshapes", x, layers.Flatten(), layers.Reshape((2, -1)), layers.Reshape((T * C,)), layers.RepeatVector(3), layers.Dense(2))
save("activations", x, layers.Dense(4, activation="hard_sigmoid"), layers.Activation("softmax"), layers.LeakyReLU(0.1), layers.ELU(0.7),
     layers.ReLU(negative_slope=0.3), layers.Activation("gelu"), layers.Dense(3, activation="leaky_relu"), layers.Dense(3, activation="hard_silu"))
save("identities", x, layers.Dropout(0.5), layers.SpatialDropout1D(0.5), layers.GaussianDropout(0.5), layers.GaussianNoise(0.5),
     layers.AlphaDropout(0.5), layers.ActivityRegularization(0.1), layers.Identity(), layers.TimeDistributed(layers.Dense(2, activation="softmax")))

embedding = lambda: layers.Embedding(9, 3, mask_zero=True)
save("mask_average", ids, embedding(), layers.GlobalAveragePooling1D())
save("mask_max", ids, embedding(), layers.GlobalMaxPooling1D())
save("mask_conv_average", ids, embedding(), layers.Conv1D(4, 2, padding="same"), layers.GlobalAveragePooling1D())
save("mask_passes_on", ids, embedding(), layers.Dropout(0.3), layers.Dense(3), layers.LayerNormalization(), layers.BatchNormalization(),
     layers.Activation("tanh"), layers.TimeDistributed(layers.Dense(3)), layers.GRU(5, return_sequences=True), layers.LSTM(4, return_sequences=True),
     layers.GlobalAveragePooling1D())
save("mask_flatten", ids, embedding(), layers.GRU(4, return_sequences=True), layers.Flatten(), layers.Dense(2))
save("mask_zero_output", masked, layers.Masking(), layers.GRU(4, return_sequences=True, zero_output_for_mask=True), layers.LSTM(3, return_sequences=True))
save("masking_twice", masked, layers.Masking(), layers.Dense(3, use_bias=False), layers.Masking(mask_value=0.0), layers.SimpleRNN(4, return_sequences=True))
save("mask_backwards", masked, layers.Masking(), layers.LSTM(4, go_backwards=True))
for merge in ("concat", "sum", "mul", "ave"):
    save(f"mask_bidirectional_{merge}", masked, layers.Masking(), layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode=merge),
         layers.Bidirectional(layers.SimpleRNN(3), merge_mode=merge))
save("embedding_plain", ids, layers.Embedding(9, 3), layers.LSTM(4))

save("backwards", x, layers.GRU(4, go_backwards=True, return_sequences=True), layers.LSTM(3, go_backwards=True))
cells = lambda: [layers.LSTMCell(4), layers.GRUCell(3, reset_after=False), layers.SimpleRNNCell(5, use_bias=False, activation="relu")]
save("stacked_backwards", x, layers.RNN(cells(), go_backwards=True, return_sequences=True))
save("stacked_backwards_last", x, layers.RNN(cells(), go_backwards=True))
save("stacked_mask", masked, layers.Masking(), layers.RNN(cells(), return_sequences=True))
save("stacked_mask_zero_output", masked, layers.Masking(), layers.RNN(cells(), return_sequences=True, zero_output_for_mask=True))
save("two_layers_in_both", x, layers.Bidirectional(layers.LSTM(4, return_sequences=True), backward_layer=layers.LSTM(
    4, activation="relu", use_bias=False, return_sequences=True, go_backwards=True)), layers.Dense(2))
save("cell_in_both", x, layers.Bidirectional(layers.RNN(layers.GRUCell(3), return_sequences=True), merge_mode="sum"))
save("gates", x, layers.LSTM(4, activation="softsign", recurrent_activation="hard_sigmoid", return_sequences=True),
     layers.GRU(4, activation="elu", recurrent_activation="sigmoid", use_bias=False, return_sequences=True),
     layers.SimpleRNN(4, activation="silu", use_bias=False))
