#!/usr/bin/env python3
"""Rewrites an ONNX file so that no shape is computed with tensors.

    pip install onnx==1.23.2
    python3 examples/onnx/reference/plain_expand.py encoder.onnx plain.onnx

torch's older exporter writes `x.expand(shape)` as `Expand(x, Where(shape == -1, 1, shape))`. burn-onnx 0.22 turns
that into tensors that it reads back, which a trace cannot follow. No size of a tensor is -1, so that `shape`
is what `Where` gives; a shape with a -1 written into it is left alone.
"""

import argparse

import numpy
import onnx
from onnx import numpy_helper


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("output")
    arguments = parser.parse_args()
    model = onnx.load(arguments.file)
    made_by = {output: node for node in model.graph.node for output in node.output}
    changed = 0
    for node in model.graph.node:
        choice = made_by.get(node.input[1]) if node.op_type == "Expand" else None
        if choice is not None and choice.op_type == "Where" and only_sizes(choice.input[2], made_by):
            node.input[1] = choice.input[2]
            changed += 1
    onnx.checker.check_model(model)
    onnx.save(model, arguments.output)
    print(f"{changed} shapes rewritten")


def only_sizes(name, made_by):
    """Whether a shape consists of sizes of tensors and of numbers that are not negative."""
    node = made_by.get(name)
    if node is None:
        return False
    if node.op_type == "Shape":
        return True
    if node.op_type == "Constant":
        [value] = [a.t for a in node.attribute if a.name == "value"] or [None]
        return value is not None and bool(numpy.all(numpy_helper.to_array(value) >= 0))
    if node.op_type == "Concat":
        return all(only_sizes(part, made_by) for part in node.input)
    # These take parts of their first input; the others say where.
    if node.op_type in ("Gather", "Unsqueeze", "Reshape", "Slice", "Identity"):
        return only_sizes(node.input[0], made_by)
    return False


if __name__ == "__main__":
    main()
