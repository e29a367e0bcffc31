"""Write `.npz` files of every kind of array that is read, and of some that are refused.

    python generate_numpy.py OUT_DIR

Needs: numpy.
"""
import os, sys
import numpy as np

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
arrays = dict(bool=np.asarray([True, False]), scalar=np.asarray(1.5), empty=np.zeros((0, 3), "float32"))
for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
    counted = np.arange(6).reshape(2, 3)
    arrays[kind + "_little"], arrays[kind + "_big"] = counted.astype("<" + kind), counted.astype(">" + kind)
    arrays[kind + "_fortran"] = np.asfortranarray(counted.astype("<" + kind))
np.savez(os.path.join(out, "arrays.npz"), **arrays)
np.savez_compressed(os.path.join(out, "deflated.npz"), **arrays)
np.savez(os.path.join(out, "objects.npz"), objects=np.asarray([None]))
np.savez(os.path.join(out, "records.npz"), records=np.zeros(2, [("a", "f4"), ("b", "i4", (2,))]))
np.savez(os.path.join(out, "complex.npz"), complex=np.zeros(2, "complex64"))
np.savez(os.path.join(out, "text.npz"), text=np.asarray(["a"]))
np.savez_compressed(os.path.join(out, "bomb.npz"), bomb=np.zeros(1 << 28, "uint8"))
