"""Write state_dicts that those of `torch_models` do not cover, laid out as `torch.save` does, without PyTorch.

    python generate_torch_more.py OUT_DIR

The pickles are made by Python's own pickler: small stand-ins carry the names of PyTorch's functions and classes, so
that the opcodes are those that PyTorch writes. Needs: numpy, ml_dtypes.
"""
import collections, io, os, pickle, sys, types, zipfile
import ml_dtypes, numpy as np

out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def module(name, **members):
    made = sys.modules.setdefault(name, types.ModuleType(name))
    for key, member in members.items():
        member.__module__, member.__qualname__, member.__name__ = name, key, key
        setattr(made, key, member)
    return made


def function():
    return lambda *arguments: None


kinds = dict(float32="FloatStorage", float64="DoubleStorage", float16="HalfStorage", bfloat16="BFloat16Storage",
             int64="LongStorage", int32="IntStorage", int16="ShortStorage", int8="CharStorage", uint8="ByteStorage", bool="BoolStorage")
torch = module("torch", **{name: type(name, (), {}) for name in kinds.values()})
utils = module("torch._utils", _rebuild_tensor_v2=function(), _rebuild_parameter=function(), _rebuild_qtensor=function())


class Storage:
    def __init__(self, array):
        self.array = np.ascontiguousarray(array).reshape(-1)


class Tensor:
    """A view of a storage; its reduction is that of torch.Tensor."""
    def __init__(self, storage, shape=None, strides=None, offset=0, rebuild="_rebuild_tensor_v2", metadata=None):
        self.storage = storage if isinstance(storage, Storage) else Storage(storage)
        shape = np.shape(storage) if shape is None else shape
        self.shape, self.offset, self.rebuild, self.metadata = tuple(shape), offset, rebuild, metadata
        self.strides = tuple(int(np.prod(shape[k + 1:])) for k in range(len(shape))) if strides is None else strides

    def __reduce_ex__(self, protocol):
        arguments = (self.storage, self.offset, self.shape, self.strides, False, collections.OrderedDict())
        return getattr(utils, self.rebuild), arguments + (() if self.metadata is None else (self.metadata,))


class Parameter:
    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        return utils._rebuild_parameter, (self.data, True, collections.OrderedDict())


def save(name, value, byte_order="little", protocol=2, extra=()):
    storages = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                key, _ = storages.setdefault(id(item), (str(len(storages)), item))
                return "storage", getattr(torch, kinds[item.array.dtype.name]), key, "cpu", item.array.size
            return None

    data = io.BytesIO()
    Pickler(data, protocol).dump(value)
    with zipfile.ZipFile(os.path.join(out, name + ".pt"), "w") as archive:
        archive.writestr(name + "/data.pkl", data.getvalue())
        archive.writestr(name + "/byteorder", byte_order)
        for key, storage in storages.values():
            array = storage.array
            if byte_order == "big" and array.dtype.itemsize > 1:
                array = array.view(f"u{array.dtype.itemsize}").byteswap()
            archive.writestr(f"{name}/data/{key}", array.tobytes())
        archive.writestr(name + "/version", "3\n")
        for member in extra:
            archive.writestr(f"{name}/{member}", b"")


def state_dict(**tensors):
    made = collections.OrderedDict(tensors)
    made._metadata = collections.OrderedDict({"": {"version": 1}})
    return made


numbers = np.arange(12).reshape(3, 4)
save("types", state_dict(**{name: Tensor((numbers % 2).astype(bool) if name == "bool" else numbers.astype(name if name != "bfloat16" else ml_dtypes.bfloat16))
                            for name in kinds}))
shared = Storage(np.arange(12, dtype="float32"))
save("views", state_dict(whole=Tensor(shared, (3, 4)), transposed=Tensor(shared, (4, 3), (1, 4)), row=Tensor(shared, (4,), (1,), 4),
                         column=Tensor(shared, (3,), (4,), 1), scalar=Tensor(shared, (), (), 7), empty=Tensor(shared, (0, 4), (4, 1))))
save("big_endian", state_dict(w=Tensor(np.arange(6, dtype="float32").reshape(2, 3)), n=Tensor(np.arange(3))), byte_order="big")
save("checkpoint", {"epoch": 7, "loss": 0.5, "done": True, "note": None, "history": [1, 2.5, "x"], "sizes": (1, 2),
                    "model": state_dict(**{"gru.weight_ih_l0": Parameter(Tensor(np.ones((3, 2), "float32")))}),
                    "optimizer": {"state": {0: {"step": 1, "exp_avg": Tensor(np.zeros((3, 2), "float32"))}}, "param_groups": [{"lr": 1e-3}]}})
save("protocol_4", state_dict(w=Tensor(np.arange(6, dtype="float32").reshape(2, 3))), protocol=4)

# What must be refused.
save("refused_broadcast", state_dict(w=Tensor(np.ones(1, "float32"), (1000, 1000), (0, 0))))
save("refused_outside", state_dict(w=Tensor(np.ones(4, "float32"), (2,), (1,), 3)))
save("refused_quantised", state_dict(w=Tensor(np.ones(4, "uint8"), rebuild="_rebuild_qtensor")))
save("refused_metadata", state_dict(w=Tensor(np.ones(4, "float32"), metadata={"conj": True})))
save("refused_torchscript", state_dict(w=Tensor(np.ones(4, "float32"))), extra=["constants.pkl"])
save("refused_list", [Tensor(np.ones(4, "float32"))])


class Net:
    pass


module("__main__", Net=Net)
save("refused_module", Net())


class Shell:
    def __reduce__(self):
        return os.system, ("true",)


save("refused_code", {"w": Shell()})
short = Storage(np.ones(4, "float32"))
save("refused_short", state_dict(w=Tensor(short, (4,), (1,))))
with zipfile.ZipFile(os.path.join(out, "refused_short.pt")) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
with zipfile.ZipFile(os.path.join(out, "refused_short.pt"), "w") as archive:
    for name, content in members.items():
        archive.writestr(name, content[:12] if name.endswith("data/0") else content)
with open(os.path.join(out, "refused_before_1_6.pt"), "wb") as file:
    for value in (0x1950a86a20f9469cfc6c, 1001, {"protocol_version": 1001}):
        pickle.dump(value, file, 2)
