"""Reference outputs for tests/vision.rs, from PyTorch and independent of the Rust code.

    python3 vision.py tiny                     # weights and outputs of tiny networks
    python3 vision.py real SQUEEZENET.pkl EFFICIENTNET_LITE0.pth    # outputs of the pretrained ones
    python3 vision.py accuracy SQUEEZENET.pkl EFFICIENTNET_LITE0.pth FOLDER   # prints, writes nothing

The pretrained weights are read from the downloads that convert.py names, by numpy and PyTorch
themselves. All is computed in double precision, BatchNorm as BatchNorm. FOLDER holds images named
`imagenet_NUMBER_CLASS.jpg`, as PyPI's `foolbox==3.3.4` does in `foolbox/data` (needs pillow).
Made with torch 2.15.0 and numpy 2.4.6.
"""

import json
import pickle
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

DATA = Path(__file__).parent.parent / "tests" / "data"
CLASSES = 5  # of the tiny networks


def tiny():
    torch.manual_seed(0)
    models = {"squeezenet": tiny_squeezenet(), "efficientnet_lite0": tiny_efficientnet_lite0()}
    for name, weights in models.items():
        write_safetensors(DATA / f"vision_{name}.safetensors", weights)
    # 40 pixels give SqueezeNet's last pooling a window that only `ceil` has, and EfficientNet odd
    # sizes at stride 2.
    cases = [{"images": [2, 18, 26], "size": 40}, {"images": [1, 64, 64], "size": 40}]
    write_expected("vision_tiny.json", models, cases, digits=None)


def real(squeezenet, efficientnet):
    models = pretrained(squeezenet, efficientnet)
    cases = [{"images": [3, 12, 16], "size": 64}, {"images": [2, 20, 14], "size": 97}]
    write_expected("vision_real.json", models, cases, digits=16)


def accuracy(squeezenet, efficientnet, folder):
    from PIL import Image

    models = pretrained(squeezenet, efficientnet)
    files = sorted(Path(folder).glob("imagenet_*.jpg"))
    images = [np.asarray(Image.open(f).convert("RGB")).transpose(2, 0, 1) for f in files]
    images = [torch.tensor(i[None].copy(), dtype=torch.float64) for i in images]
    labels = torch.tensor([int(f.stem.split("_")[-1]) for f in files])
    for name, weights in models.items():
        logits = torch.cat([outputs(name, weights, image, 224)[1] for image in images])
        ranked = logits.argsort(1, descending=True)
        hits = ranked == labels[:, None]
        print(f"{name}: {len(files)} images, top-1 {hits[:, 0].sum()}, top-5 {hits[:, :5].sum()}")
        print(f"  first choices: {ranked[:, 0].tolist()}")


def pretrained(squeezenet, efficientnet):
    layers = pickle.loads(Path(squeezenet).read_bytes())
    first = {}
    for layer, (kernel, bias) in layers.items():
        name = layer.replace("/", ".")
        first[f"{name}.weight"] = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
        first[f"{name}.bias"] = torch.tensor(bias)
    second = torch.load(efficientnet, map_location="cpu", weights_only=True)
    return {"squeezenet": double(first), "efficientnet_lite0": double(second)}


def double(weights):
    return {name: tensor.double() for name, tensor in weights.items()}


# The networks. Each takes RGB values from 0 to 255 and returns averaged features and logits.


def outputs(name, weights, rgb, size):
    rgb = F.interpolate(rgb, size=(size, size), mode="bilinear", align_corners=False)
    return {"squeezenet": squeezenet, "efficientnet_lite0": efficientnet_lite0}[name](weights, rgb)


def squeezenet(weights, rgb):
    def conv(x, name, **options):
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    bgr = rgb[:, [2, 1, 0]] - torch.tensor([103.939, 116.779, 123.68]).double()[:, None, None]
    x = F.relu(conv(bgr, "conv1", stride=2))
    for fire in range(2, 10):
        if fire in (2, 4, 6):
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        squeezed = F.relu(conv(x, f"fire{fire}.squeeze1x1"))
        wide = conv(squeezed, f"fire{fire}.expand3x3", padding=1)
        x = F.relu(torch.cat([conv(squeezed, f"fire{fire}.expand1x1"), wide], 1))
    return x.mean((2, 3)), conv(x, "conv10").mean((2, 3))


#         channels, kernel, stride, expansion, repeats
STAGES = [(16, 3, 1, 1, 1), (24, 3, 2, 6, 2), (40, 5, 2, 6, 2), (80, 3, 2, 6, 3),
          (112, 5, 1, 6, 3), (192, 5, 2, 6, 4), (320, 3, 1, 6, 1)]  # fmt: skip


def efficientnet_lite0(weights, rgb):
    def conv_norm(x, conv, norm, stride=1, groups=1):
        kernel = weights[f"{conv}.weight"]
        # TensorFlow's SAME: as many outputs as strides fit, the odd pixel of padding at the end.
        pads = []
        for length in (x.shape[3], x.shape[2]):
            needed = (-(-length // stride) - 1) * stride + kernel.shape[2] - length
            pads += [max(needed, 0) // 2, max(needed, 0) - max(needed, 0) // 2]
        x = F.conv2d(F.pad(x, pads), kernel, stride=stride, groups=groups)
        mean, var = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        return F.batch_norm(x, mean, var, weights[f"{norm}.weight"], weights[f"{norm}.bias"], eps=1e-3)

    x = F.relu6(conv_norm((rgb - 127) / 128, "_conv_stem", "_bn0", stride=2))
    block = 0
    for _, _, stride, expansion, repeats in STAGES:
        for repeat in range(repeats):
            name, skipped = f"_blocks.{block}", x
            if expansion > 1:
                x = F.relu6(conv_norm(x, f"{name}._expand_conv", f"{name}._bn0"))
            step = stride if repeat == 0 else 1
            x = F.relu6(conv_norm(x, f"{name}._depthwise_conv", f"{name}._bn1", step, x.shape[1]))
            x = conv_norm(x, f"{name}._project_conv", f"{name}._bn2")
            if step == 1 and x.shape == skipped.shape:
                x = x + skipped
            block += 1
    features = F.relu6(conv_norm(x, "_conv_head", "_bn1")).mean((2, 3))
    return features, F.linear(features, weights["_fc.weight"], weights["_fc.bias"])


# Tiny networks with random weights: the same layers, fewer channels.


def tiny_squeezenet(width=2):
    weights = {}

    def conv(name, channels_in, channels_out, kernel):
        # Large enough that the signal neither dies nor explodes over nine blocks.
        scale = (2 / (channels_in * kernel * kernel)) ** 0.5
        weights[f"{name}.weight"] = scale * torch.randn(channels_out, channels_in, kernel, kernel)
        weights[f"{name}.bias"] = 0.3 * torch.randn(channels_out)

    conv("conv1", 3, 4 * width, 3)
    channels = 4 * width
    for fire, multiple in enumerate([1, 1, 2, 2, 3, 3, 4, 4], start=2):
        squeezed = multiple * width
        conv(f"fire{fire}.squeeze1x1", channels, squeezed, 1)
        conv(f"fire{fire}.expand1x1", squeezed, 4 * squeezed, 1)
        conv(f"fire{fire}.expand3x3", squeezed, 4 * squeezed, 3)
        channels = 8 * squeezed
    conv("conv10", channels, CLASSES, 1)
    weights["conv1.weight"] /= 60  # pixels, not activations
    return weights


def tiny_efficientnet_lite0(stem=4, stages=(2, 3, 3, 4, 4, 6, 6), last=16):
    weights = {}

    def conv_norm(conv, norm, channels_in, channels_out, kernel):
        scale = (2 / (channels_in * kernel * kernel)) ** 0.5
        weights[f"{conv}.weight"] = scale * torch.randn(channels_out, channels_in, kernel, kernel)
        # Some so small that leaving the epsilon out would show; scaled by about 1 in all, lest rounding
        # errors grow from layer to layer.
        variance = 10 ** (-2 * torch.rand(channels_out))
        weights[f"{norm}.running_var"] = variance
        weights[f"{norm}.running_mean"] = 0.3 * variance.sqrt() * torch.randn(channels_out)
        weights[f"{norm}.weight"] = variance.sqrt() * (0.8 + 0.7 * torch.rand(channels_out))
        weights[f"{norm}.bias"] = 0.3 * torch.randn(channels_out)

    conv_norm("_conv_stem", "_bn0", 3, stem, 3)
    block, channels = 0, stem
    for out, (_, kernel, _, expansion, repeats) in zip(stages, STAGES):
        for _ in range(repeats):
            name, wide = f"_blocks.{block}", channels * expansion
            if expansion > 1:
                conv_norm(f"{name}._expand_conv", f"{name}._bn0", channels, wide, 1)
            conv_norm(f"{name}._depthwise_conv", f"{name}._bn1", 1, wide, kernel)
            conv_norm(f"{name}._project_conv", f"{name}._bn2", wide, out, 1)
            block, channels = block + 1, out
    conv_norm("_conv_head", "_bn1", channels, last, 1)
    weights["_fc.weight"] = torch.randn(CLASSES, last) / last**0.5
    weights["_fc.bias"] = torch.randn(CLASSES)
    return weights


# Inputs and files.


def pixels(count, height, width):
    """The high bytes of a linear congruential generator, which tests/vision.rs repeats."""
    state, values = 1, []
    for _ in range(count * 3 * height * width):
        state = (state * 1664525 + 1013904223) % 2**32
        values.append(state >> 24)
    return torch.tensor(values, dtype=torch.float64).reshape(count, 3, height, width)


def write_expected(file, models, cases, digits):
    """Of every case the first `digits` values of each row, and the row's L2 norm."""
    expected = []
    for name, weights in models.items():
        weights = double(weights)
        for case in cases:
            features, logits = outputs(name, weights, pixels(*case["images"]), case["size"])
            entry = {"backbone": name, **case}
            for key, rows in (("features", features), ("logits", logits)):
                entry[key] = [[float(f"{v:.9g}") for v in row[:digits].tolist()] for row in rows]
                entry[f"{key}_norm"] = [float(f"{v:.9g}") for v in rows.norm(dim=1).tolist()]
            expected.append(entry)
    text = ",\n".join(json.dumps(entry) for entry in expected)
    (DATA / file).write_text(f"[{text}]\n")


def write_safetensors(path, weights):
    header, contents, end = {}, b"", 0
    for name, tensor in sorted(weights.items()):
        data = tensor.numpy().astype("<f4").tobytes()
        offsets = [end, end + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        contents, end = contents + data, end + len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(len(head).to_bytes(8, "little") + head + contents)


if __name__ == "__main__":
    {"tiny": tiny, "real": real, "accuracy": accuracy}[sys.argv[1]](*sys.argv[2:])
