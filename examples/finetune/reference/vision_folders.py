"""Tiny folders as Hugging Face saves them, for tests/vision_folders.

    python3 vision_folders.py

Each folder has random weights that transformers or timm saved, the preprocessing that they saved, and
`expected.safetensors`: for two images the pixels after preprocessing, by Pillow, and the features in double
precision. Normalizations, position tables and layer scales are random too, so that leaving one out would show.
Prints how far the other image processor of transformers, which uses torchvision, is from the one by Pillow.

Made with torch 2.15.0, torchvision 0.29.2, transformers 5.24.0, timm 1.0.31, pillow 12.3.0, safetensors 0.8.0.
Pillow 13.0.0 resizes columns before rows where an image becomes wider and less high. Older ones, which the published
networks saw, and torchvision never do.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import timm
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config
from timm.models import save_for_hf

DATA = Path(__file__).parent.parent / "tests" / "data"
# One that shrinks and one that grows, neither square.
IMAGES = [(40, 50), (20, 28)]
SMALL = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
             image_size=32, patch_size=8)  # fmt: skip
SMALLER = dict(SMALL, hidden_size=16, num_hidden_layers=1, intermediate_size=32)
CLASSES = dict(num_labels=5)


def main():
    vit()
    deit()
    beit()
    resnet()
    resnet_timm()


def vit():
    model = hf.ViTForImageClassification(hf.ViTConfig(**SMALL, **CLASSES))
    processor = hf.ViTImageProcessor(size=32, resample=2), hf.ViTImageProcessorPil(size=32, resample=2)
    transformers_folder("vit", model, processor, lambda m, x: m.vit(x).last_hidden_state[:, 0])

    # Without the prefix and with a pooler; more columns than rows; no biases in attention; another GELU; an
    # epsilon that shows.
    sizes = dict(SMALLER, image_size=[16, 32], qkv_bias=False, hidden_act="gelu_pytorch_tanh", layer_norm_eps=0.1)
    model = hf.ViTModel(hf.ViTConfig(**sizes))
    options = dict(size={"height": 16, "width": 32}, resample=3, do_normalize=False)
    processor = hf.ViTImageProcessor(**options), hf.ViTImageProcessorPil(**options)
    transformers_folder("vit_wide", model, processor, lambda m, x: m(x).last_hidden_state[:, 0])


def deit():
    """In shards."""
    model = hf.DeiTForImageClassificationWithTeacher(hf.DeiTConfig(**SMALL, **CLASSES))
    options = dict(size=37, crop_size=32)
    processor = hf.DeiTImageProcessor(**options), hf.DeiTImageProcessorPil(**options)
    features = lambda m, x: m.deit(x).last_hidden_state[:, 0]
    transformers_folder("deit", model, processor, features, max_shard_size="40KB")


def beit():
    options = dict(size={"height": 32, "width": 32}, do_center_crop=False)
    processor = hf.BeitImageProcessor(**options), hf.BeitImageProcessorPil(**options)
    config = hf.BeitConfig(**SMALL, **CLASSES, use_relative_position_bias=True)
    model = hf.BeitForImageClassification(config)
    transformers_folder("beit", model, processor, lambda m, x: m.beit(x).pooler_output)

    # Of masked training: the norm is that before the head, of each token.
    config = hf.BeitConfig(**SMALL, use_shared_relative_position_bias=True, use_mask_token=True, vocab_size=8)
    model = hf.BeitForMaskedImageModeling(config)
    features = lambda m, x: m.layernorm(m.beit(x).last_hidden_state[:, 1:].mean(1))
    transformers_folder("beit_shared", model, processor, features, dtype=torch.float16)

    # The class token, all three kinds of positions, no layer scale; names as transformers 5 has them itself.
    config = hf.BeitConfig(
        **SMALLER, use_relative_position_bias=True, use_shared_relative_position_bias=True,
        use_absolute_position_embeddings=True, use_mean_pooling=False, layer_scale_init_value=0.0,
    )  # fmt: skip
    model = hf.BeitModel(config)
    features = lambda m, x: m(x).last_hidden_state[:, 0]
    saving = dict(dtype=torch.bfloat16, save_original_format=False)
    transformers_folder("beit_class", model, processor, features, **saving)


def resnet():
    options = dict(size={"shortest_edge": 32}, crop_pct=0.875, resample=3)
    processor = hf.ConvNextImageProcessor(**options), hf.ConvNextImageProcessorPil(**options)
    features = lambda m, x: m.resnet(x).pooler_output.flatten(1)
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 2], layer_type="basic",
                             downsample_in_first_stage=True, **CLASSES)  # fmt: skip
    model = hf.ResNetForImageClassification(config)
    transformers_folder("resnet_basic", model, processor, features)

    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[32, 64], depths=[2, 1], downsample_in_bottleneck=True)
    features = lambda m, x: m(x).pooler_output.flatten(1)
    transformers_folder("resnet_bottleneck", hf.ResNetModel(config), processor, features)


def resnet_timm():
    # One stage, lest 32 groups make the file large; timm's own forward pass needs four.
    sizes = dict(layers=(2,), channels=(32,), num_classes=5)
    stage = lambda m, x: m.layer1(m.maxpool(m.act1(m.bn1(m.conv1(x)))))
    model = timm.create_model("resnet50_gn", **sizes)
    timm_folder("resnet_gn", model, torch.float16, lambda m, x: m.global_pool(stage(m, x)))

    sizes = dict(layers=(1, 2, 1, 1), channels=(8, 8, 16, 16), num_classes=5)
    features = lambda m, x: m.forward_head(m.forward_features(x), pre_logits=True)
    timm_folder("resnet_timm", timm.create_model("resnet18", **sizes), torch.float32, features)


def transformers_folder(name, model, processors, features, dtype=torch.float32, **saving):
    folder = emptied(name)
    model = randomized(name, model).to(dtype)
    model.save_pretrained(folder, **saving)
    torchvision, pillow = processors
    torchvision.save_pretrained(folder)
    pixels = [pillow(Image.fromarray(i), return_tensors="pt").pixel_values for i in images()]
    others = [torchvision(Image.fromarray(i), return_tensors="pt").pixel_values for i in images()]
    report(name, pixels, others, 1 / (255 * min(pillow.image_std) if pillow.do_normalize else 255))
    expected(folder, model, pixels, features)


def timm_folder(name, model, dtype, features):
    folder = emptied(name)
    model = randomized(name, model).to(dtype)
    save_for_hf(model, folder, safe_serialization=True, data_config=dict(input_size=(3, 32, 32)))
    config = resolve_data_config(json.loads((folder / "config.json").read_text())["pretrained_cfg"])
    transform = create_transform(**config)
    pixels = [transform(Image.fromarray(image))[None] for image in images()]
    expected(folder, model, pixels, features)


def emptied(name):
    folder = DATA / f"vision_{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def randomized(name, model):
    """Sizes at which signals neither die nor explode, and which no mistake leaves as they are."""
    generator = torch.Generator().manual_seed(sum(name.encode()))
    normal = lambda x: torch.randn(x.shape, generator=generator)
    uniform = lambda x: torch.rand(x.shape, generator=generator)
    with torch.no_grad():
        for key, x in {**dict(model.named_parameters()), **dict(model.named_buffers())}.items():
            if not x.is_floating_point():
                continue
            if key.endswith("running_var"):
                # Some so small that leaving the epsilon out would show.
                x.copy_(10 ** (-3 * uniform(x)))
            elif key.endswith(("bias", "running_mean")):
                x.copy_(0.3 * normal(x))
            elif "lambda" in key or x.dim() == 1:  # layer scales and weights of normalizations
                x.copy_(0.5 + uniform(x))
            elif "token" in key or "position" in key:
                x.copy_(normal(x))
            else:
                x.copy_(normal(x) * (1.5 / x[0].numel()) ** 0.5)
        for module in model.modules():
            # Scaled by about 1 in all, lest rounding errors grow from layer to layer.
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.mul_(module.running_var.sqrt())
                module.running_mean.mul_(module.running_var.sqrt())
    return model.eval()


def images():
    """As `pixels` in tests/vision.rs makes them: the high bytes of a linear congruential generator."""
    for height, width in IMAGES:
        state, values = 1, []
        for _ in range(3 * height * width):
            state = (state * 1664525 + 1013904223) % 2**32
            values.append(state >> 24)
        yield np.array(values, dtype=np.uint8).reshape(3, height, width).transpose(1, 2, 0).copy()


def expected(folder, model, pixels, features):
    with torch.no_grad():
        rows = features(model.double(), torch.cat(pixels).double())
    save_file({"pixels": torch.cat(pixels).contiguous(), "features": rows.float()}, folder / "expected.safetensors")
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{folder.name}: {size} bytes, features {list(rows.shape)} of size {rows.abs().max():.2f}")


def report(name, pixels, others, level):
    difference = (torch.cat(pixels) - torch.cat(others)).abs() / level
    share = (difference > 0.5).double().mean()
    print(f"{name}: torchvision differs by {difference.max():.2f} levels at most, in {share:.2%} of pixels")


if __name__ == "__main__":
    hf.utils.logging.set_verbosity_error()
    main()
