"""Write ONNX models whose recurrent nodes get their weights the ways that exporters write them.

    python generate_onnx_more.py OUT_DIR

`plain` is a GRU of three initializers; every model named in SAME gives it the same W, R and B by other means. Needs:
numpy, onnx.
"""
import os, sys
import ml_dtypes, numpy as np, onnx
from onnx import TensorProto, helper, numpy_helper

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
rng = np.random.default_rng(5)
I, H, G = 3, 2, 3
# Multiples of 1/64, so that halves hold them too.
W, R, B = (rng.integers(-64, 64, shape).astype("float32") / 64 for shape in ((1, G * H, I), (1, G * H, H), (1, 2 * G * H)))
X = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["T", 1, I])
Y = helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)


def gru(name="gru", inputs=("X", "W", "R", "B"), outputs=("Y",), op="GRU", **attributes):
    return helper.make_node(op, list(inputs), list(outputs), name=name, **{"hidden_size": H, **attributes})


def save(name, nodes, initializers=(), opset=14, inputs=(X,), outputs=(Y,), functions=(), domains=(), **options):
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1) for domain in domains]
    tensors = [t if isinstance(t, TensorProto) else numpy_helper.from_array(t[1], t[0]) for t in initializers]
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), tensors)
    model = helper.make_model(graph, opset_imports=opsets, functions=list(functions), producer_name="gatefold tests")
    model.ir_version = 8
    onnx.save(model, os.path.join(out, name + ".onnx"), **options)


def constant(name, array):
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(array), name))


def ints(name, *values):
    return name, np.asarray(values, "int64")


ALL = [("W", W), ("R", R), ("B", B)]
save("plain", [gru()], ALL)
save("constants", [constant("W", W), constant("R", R), constant("B", B), gru()])
save("identity", [helper.make_node("Identity", ["w"], ["v"]), helper.make_node("Identity", ["v"], ["W"]), gru()], [("w", W), ("R", R), ("B", B)])
save("cast_f16", [helper.make_node("Cast", [n.lower()], [n], to=TensorProto.FLOAT) for n in "WRB"] + [gru()], [(n.lower(), a.astype("float16")) for n, a in ALL])
save("cast_f64", [helper.make_node("Cast", [n.lower()], [n], to=TensorProto.FLOAT) for n in "WRB"] + [gru()], [(n.lower(), a.astype("float64")) for n, a in ALL])
# As torch.onnx wrote them: two-dimensional weights, sliced into gates, joined in another order, and given an axis.
r, z, n = np.split(W[0], 3)
steps = [helper.make_node("Transpose", ["wt"], ["w"], perm=[1, 0])]
for k, gate in enumerate("zrn"):
    steps.append(helper.make_node("Slice", ["w", f"s{k}", f"e{k}", "zero"], [f"w{k}"]))
steps += [helper.make_node("Concat", ["w1", "w0", "w2"], ["joined"], axis=0), helper.make_node("Unsqueeze", ["joined", "zero"], ["W"])]
steps += [helper.make_node("Squeeze", ["r", "zero"], ["r2"]), helper.make_node("Unsqueeze", ["r2", "zero"], ["R"])]
steps += [helper.make_node("Concat", ["b_w", "b_r"], ["b"], axis=-1), helper.make_node("Reshape", ["b", "open"], ["B"]), gru()]
bounds = [ints(f"{c}{k}", (k + d) * H if k + d < 3 else 2 ** 63 - 1) for k in range(3) for c, d in (("s", 0), ("e", 1))]
save("exported", steps, [("wt", np.concatenate([z, r, n]).T.copy()), ("r", R), ("b_w", B[0, :G * H]), ("b_r", B[0, G * H:]), ints("zero", 0), ints("open", 1, -1)] + bounds, opset=13)
steps = [helper.make_node("Slice", ["w"], ["flipped"], axes=[-1], starts=[0], ends=[I]), helper.make_node("Unsqueeze", ["flipped"], ["W"], axes=[0]),
         helper.make_node("Squeeze", ["r"], ["r2"], axes=[0, 1]), helper.make_node("Unsqueeze", ["r2"], ["R"], axes=[0]), gru()]
save("opset_9", steps, [("w", np.concatenate([W[0], W[0]], 1)), ("r", R[None]), ("B", B)], opset=9)
backwards = helper.make_node("Slice", ["w", "last", "before", "axis", "back"], ["W"])
save("slice_backwards", [backwards, gru()], [("w", W[:, ::-1].copy()), ("R", R), ("B", B), ints("last", -1), ints("before", -2 ** 63), ints("axis", 1), ints("back", -1)])
save("typed_fields", [gru()], [helper.make_tensor(n, TensorProto.FLOAT, a.shape, a.ravel()) for n, a in ALL])
save("typed_f16", [helper.make_node("Cast", [n.lower()], [n], to=TensorProto.FLOAT) for n in "WRB"] + [gru()],
     [helper.make_tensor(n.lower(), TensorProto.FLOAT16, a.shape, a.ravel().astype("float16")) for n, a in ALL])
save("typed_ints", [helper.make_node("Cast", ["n"], ["w"], to=TensorProto.FLOAT), helper.make_node("Cast", ["R64"], ["R"], to=TensorProto.FLOAT), gru(inputs=("X", "w", "R"))],
     [helper.make_tensor("n", TensorProto.INT8, W.shape, (W * 64).astype("int8").ravel()), helper.make_tensor("R64", TensorProto.DOUBLE, R.shape, R.ravel())])
save("external", [gru()], ALL, save_as_external_data=True, location="external.bin", size_threshold=0)

# Inside of other nodes; the outer graph's values are seen from there, and an inner input hides none of these.
def branch(name):
    return helper.make_graph([gru(name=name, outputs=("y_" + name,))], name, [], [helper.make_tensor_value_info("y_" + name, TensorProto.FLOAT, None)])


choice = helper.make_tensor_value_info("choice", TensorProto.BOOL, [])
save("branches", [helper.make_node("If", ["choice"], ["Y"], name="if", then_branch=branch("then"), else_branch=branch(""))], ALL, inputs=(X, choice))
body = helper.make_graph([helper.make_node("Identity", ["go"], ["more"]), gru(name="deep", inputs=("X", "W", "R", "state"), outputs=("made",))], "body",
                         [helper.make_tensor_value_info("k", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
                          helper.make_tensor_value_info("state", TensorProto.FLOAT, None)],
                         [helper.make_tensor_value_info("more", TensorProto.BOOL, []), helper.make_tensor_value_info("made", TensorProto.FLOAT, None)])
save("loop_state", [helper.make_node("Loop", ["", "choice", "B"], ["Y"], name="loop", body=body)], ALL, inputs=(X, choice))
function = helper.make_function("local", "Recurrent", ["X", "W", "R"], ["Y"], [gru(inputs=("X", "W", "R"))], [helper.make_opsetid("", 14)])
save("function", [helper.make_node("Recurrent", ["X", "W", "R"], ["Y"], domain="local")], ALL[:2], functions=[function], domains=["local"])

# Optional inputs: a constant state, computed lengths.
lens = helper.make_tensor_value_info("lens", TensorProto.INT32, [1])
save("wired", [gru(inputs=("X", "W", "R", "", "lens", "h0"))], ALL[:2] + [("h0", np.zeros((1, 1, H), "float32"))], inputs=(X, lens))

# ONNX Runtime's quantised LSTM: the plain one holds the numbers that the integers stand for.
q_w, q_r = rng.integers(0, 256, (1, I, 4 * H)).astype("uint8"), rng.integers(-128, 128, (1, H, 4 * H)).astype("int8")
s_w, s_r = np.asarray([0.03125], "float32"), np.asarray([[0.5 ** (k + 3) for k in range(4 * H)]], "float32")
z_w, z_r = np.asarray([128], "uint8"), np.zeros((1, 4 * H), "int8")
names = ["X", "Wq", "Rq", "", "", "", "", "", "sw", "zw", "sr", "zr"]
save("quantised", [gru(op="DynamicQuantizeLSTM", domain="com.microsoft", inputs=names, direction="forward")],
     [("Wq", q_w), ("Rq", q_r), ("sw", s_w), ("zw", z_w), ("sr", s_r), ("zr", z_r)], domains=["com.microsoft"])
dequantised = lambda q, s, z: np.ascontiguousarray(((q.astype("float32") - z.astype("float32")) * s).transpose(0, 2, 1))
save("quantised_plain", [gru(op="LSTM", inputs=("X", "W", "R"))], [("W", dequantised(q_w, s_w, z_w)), ("R", dequantised(q_r, s_r, z_r))])

# What must be refused.
save("refused_attribute", [gru(zoneout=0.1)], ALL)
save("refused_other_cell", [gru(input_forget=1)], ALL)
save("refused_direction", [gru(direction="sideways")], ALL)
save("refused_layout", [gru(layout=2)], ALL)
save("refused_activations", [gru(activations=["Sigmoid"])], ALL)
save("refused_shape", [gru()], [("W", W), ("R", R), ("B", B[:, :-1])])
save("refused_hidden_size", [gru(hidden_size=3)], ALL)
save("refused_integers", [gru()], [("W", W.astype("int32")), ("R", R), ("B", B)])
save("refused_computed", [helper.make_node("Relu", ["w"], ["W"]), gru()], [("w", W), ("R", R), ("B", B)])
save("refused_missing", [gru()], ALL[:2])
save("refused_clip", [gru(clip=-1.0)], ALL)
save("refused_float8", [helper.make_node("Cast", ["w"], ["W"], to=TensorProto.FLOAT8E4M3FN), gru()], [("w", W), ("R", R), ("B", B)])


def external(name, **entries):
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=W.shape, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    graph = helper.make_graph([gru()], name, [X], [Y], [tensor] + [numpy_helper.from_array(a, n) for n, a in ALL[1:]])
    with open(os.path.join(out, name + ".onnx"), "wb") as file:
        file.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)]).SerializeToString())


external("refused_parent", location="../README.md", length=W.nbytes)
external("refused_absolute", location="/etc/hostname", length=W.nbytes)
external("refused_beyond", location="external.bin", offset=10 ** 9)
external("refused_length", location="external.bin", length=4)
external("refused_absent", location="nowhere.bin")
