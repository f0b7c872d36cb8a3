"""One workload of benches/peers/steps.py in torch, alone or with Opacus: times whole steps, prints a line of JSON.

The models are those of examples/finetune/benches/workloads/models.rs.
"""

import argparse
import json
import time

import torch
from torch import nn
from torch.nn import functional as F

import process

WARM_UP = 2
LEARNING_RATE = 1e-4


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--workload", required=True, choices=WORKLOADS)
    flags.add_argument("--mode", required=True, choices=["ordinary", "ghost", "hooks"])
    flags.add_argument("--train", default="full", choices=["full", "bias", "lora", "head"])
    flags.add_argument("--batch", type=int)
    flags.add_argument("--length", type=int)
    flags.add_argument("--width", type=int, default=384)
    flags.add_argument("--steps", type=int, default=5)
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--dtype", default="f32", choices=["f32", "tf32", "bf16"])
    flags = flags.parse_args()
    torch.set_num_threads(process.THREADS)
    torch.set_default_device(flags.device)
    torch.set_default_dtype(torch.bfloat16 if flags.dtype == "bf16" else torch.float32)
    torch.set_float32_matmul_precision("high" if flags.dtype == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = flags.dtype == "tf32"
    torch.manual_seed(0)
    model, inputs, labels = WORKLOADS[flags.workload](flags)
    select(model, flags.train)
    model.train()
    step = {"ordinary": ordinary, "ghost": ghost, "hooks": hooks}[flags.mode](model, inputs, labels)
    start = process.resident()
    times = []
    for _ in range(WARM_UP + flags.steps):
        begin = time.perf_counter()
        step()
        if flags.device == "cuda":
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    print(json.dumps(process.report(times, WARM_UP, start)))


def ordinary(model, inputs, labels):
    optimizer = torch.optim.SGD(trained(model), lr=LEARNING_RATE)
    criterion = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        criterion(model(*inputs), labels).backward()
        optimizer.step()

    return step


def hooks(model, inputs, labels):
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    model = GradSampleModule(model)
    optimizer = DPOptimizer(
        torch.optim.SGD(trained(model), lr=LEARNING_RATE),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(labels),
    )
    criterion = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        criterion(model(*inputs), labels).backward()
        optimizer.step()

    return step


def ghost(model, inputs, labels):
    from opacus.grad_sample import GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    model = GradSampleModuleFastGradientClipping(model, max_grad_norm=1.0, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(trained(model), lr=LEARNING_RATE),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        expected_batch_size=len(labels),
    )
    criterion = DPLossFastGradientClipping(model, optimizer, nn.CrossEntropyLoss())

    def step():
        optimizer.zero_grad()
        criterion(model(*inputs), labels).backward()
        optimizer.step()

    return step


def trained(model):
    return [p for p in model.parameters() if p.requires_grad]


def select(model, train):
    for name, parameter in model.named_parameters():
        parameter.requires_grad = (
            train == "full"
            or name.startswith("head.")
            or (train == "bias" and name.endswith("bias"))
        )
    if train == "lora":
        for layer in model.layers:
            for name, linear in list(layer.named_children()):
                if isinstance(linear, nn.Linear):
                    setattr(layer, name, LowRank(linear))


class LowRank(nn.Module):
    """Rank 8, beside a frozen linear layer."""

    def __init__(self, frozen, rank=8):
        super().__init__()
        self.frozen = frozen
        self.a = nn.Linear(frozen.in_features, rank, bias=False)
        self.b = nn.Linear(rank, frozen.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.frozen(x) + 2.0 * self.b(self.a(x))


class Cnn(nn.Module):
    def __init__(self, pixels):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in [(3, 32), (32, 64), (64, 128)])
        self.hidden = nn.Linear(128 * (pixels // 8) ** 2, 128)
        self.head = nn.Linear(128, 10)

    def forward(self, x):
        for conv in self.convs:
            x = F.max_pool2d(F.relu(conv(x)), 2)
        return self.head(F.relu(self.hidden(x.flatten(1))))


class Layer(nn.Module):
    """A post-norm transformer block. Attention is torch's fused kernel."""

    def __init__(self, width):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads = width // 32

    def forward(self, x, mask=None):
        split = lambda y: y.unflatten(2, (self.heads, -1)).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = self.norm1(self.output(mixed.transpose(1, 2).flatten(2)) + x)
        return self.norm2(self.down(F.gelu(self.up(x))) + x)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.block = Layer(width)
        self.head = nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.position, self.token_type = (nn.Embedding(n, 384) for n in [30522, 512, 2])
        self.norm = nn.LayerNorm(384)
        self.layers = nn.ModuleList(Layer(384) for _ in range(6))
        self.head = nn.Linear(384, 2)

    def forward(self, tokens, mask):
        # Opacus counts examples on the first axis of every layer's input, and wants it contiguous.
        position = torch.arange(tokens.shape[1]).repeat(len(tokens), 1)
        x = self.word(tokens) + self.position(position) + self.token_type(torch.zeros_like(tokens))
        x = self.norm(x)
        bias = ((1 - mask) * -1e4)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, bias)
        mask = mask.unsqueeze(2)
        return self.head((x * mask).sum(1) / mask.sum(1))


class Fire(nn.Module):
    def __init__(self, channels, squeeze):
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, 4 * squeeze, 1)
        self.expand3 = nn.Conv2d(squeeze, 4 * squeeze, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2)
        widths = [16, 16, 32, 32, 48, 48, 64, 64]
        self.fires = nn.ModuleList(Fire(c, w) for c, w in zip([64, *(8 * w for w in widths)], widths))
        self.head = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        for index, fire in enumerate(self.fires):
            if index in (0, 2, 4):
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
            x = fire(x)
        return self.head(x.mean((2, 3)))


class Recurrent(nn.Module):
    """With Opacus its own LSTM: torch's keeps no activations that it could use."""

    def __init__(self, private):
        super().__init__()
        if private:
            from opacus.layers import DPLSTM

            self.lstm = DPLSTM(256, 256, batch_first=True)
        else:
            self.lstm = nn.LSTM(256, 256, batch_first=True)
        self.head = nn.Linear(256, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class WordClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(32_000, 128)
        self.hidden = nn.Linear(128, 128)
        self.head = nn.Linear(128, 2)

    def forward(self, tokens):
        return self.head(F.relu(self.hidden(self.words(tokens).mean(1))))


def tokens(batch, length, vocabulary):
    return (torch.arange(batch * length) * 7919 % vocabulary).reshape(batch, length)


def cnn(flags):
    batch, pixels = flags.batch or 64, flags.length or 32
    return Cnn(pixels), [torch.randn(batch, 3, pixels, pixels)], torch.arange(batch) % 10


def block(flags):
    batch, length = flags.batch or 16, flags.length or 128
    return Block(flags.width), [torch.randn(batch, length, flags.width)], torch.arange(batch) % 2


def encoder(flags):
    batch, length = flags.batch or 32, flags.length or 128
    return Encoder(), [tokens(batch, length, 30_522), torch.ones(batch, length)], torch.arange(batch) % 2


def squeezenet(flags):
    batch, pixels = flags.batch or 32, flags.length or 96
    return SqueezeNet(), [torch.randn(batch, 3, pixels, pixels)], torch.arange(batch) % 10


def lstm(flags):
    batch, length = flags.batch or 32, flags.length or 64
    model = Recurrent(flags.mode != "ordinary")
    return model, [torch.randn(batch, length, 256)], torch.arange(batch) % 2


def words(flags):
    batch, length = flags.batch or 64, flags.length or 128
    return WordClassifier(), [tokens(batch, length, 32_000)], torch.arange(batch) % 2


WORKLOADS = {
    "cnn": cnn,
    "block": block,
    "encoder": encoder,
    "squeezenet": squeezenet,
    "lstm": lstm,
    "words": words,
}

if __name__ == "__main__":
    main()
