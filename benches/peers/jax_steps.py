"""One workload of benches/peers/steps.py in jax, alone or with jax_privacy: times whole steps, prints a line of JSON.

The models are those of examples/finetune/benches/workloads/models.rs, as plain functions of a tree of weights.
A step is one compiled function, noise is `jax.random.normal`, and clipping is either

- microbatch: jax_privacy's `clipped_grad`, one example at a time in a compiled loop; its default, all at once,
  compiles to code that is ten to thirty times slower on a CPU;
- vmap: the same idea by hand, `vmap` of `grad`, without jax_privacy's checks.
"""

import argparse
import json
import time

import jax
import jax.numpy as jnp

import process

WARM_UP = 2
LEARNING_RATE = 1e-4


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--workload", required=True, choices=WORKLOADS)
    flags.add_argument("--mode", required=True, choices=["ordinary", "microbatch", "vmap"])
    flags.add_argument("--train", default="full", choices=["full", "bias", "lora", "head"])
    flags.add_argument("--batch", type=int)
    flags.add_argument("--length", type=int)
    flags.add_argument("--width", type=int, default=384)
    flags.add_argument("--steps", type=int, default=5)
    flags = flags.parse_args()
    weights, forward, inputs, labels = WORKLOADS[flags.workload](flags)
    if flags.train == "lora":
        weights = with_adapters(weights)
    trained, frozen = split(weights, flags.train)

    def loss(trained, batch):
        *inputs, labels = batch
        logits = forward({**frozen, **trained}, *inputs)
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1))

    def ordinary(trained, key, batch):
        return jax.grad(loss)(trained, batch), key

    def microbatch(trained, batch):
        from jax_privacy import clipping

        return clipping.clipped_grad(loss, l2_clip_norm=1.0, microbatch_size=1)(trained, batch)

    def vmap(trained, batch):
        one = lambda trained, example: loss(trained, jax.tree.map(lambda x: x[None], example))
        each = jax.vmap(jax.grad(one), (None, 0))(trained, batch)
        norms = jnp.sqrt(sum(jnp.sum(g.reshape(len(g), -1) ** 2, 1) for g in each.values()))
        weights = jnp.minimum(1.0, 1.0 / norms)
        return {n: jnp.tensordot(weights, g, 1) for n, g in each.items()}

    def private(clipped):
        def gradient(trained, key, batch):
            total = clipped(trained, batch)
            key, *keys = jax.random.split(key, 1 + len(total))
            noisy = {n: g + jax.random.normal(k, g.shape) for (n, g), k in zip(total.items(), keys)}
            return {n: g / len(batch[-1]) for n, g in noisy.items()}, key

        return gradient

    gradient = {"ordinary": ordinary, "microbatch": private(microbatch), "vmap": private(vmap)}[flags.mode]

    @jax.jit
    def step(trained, key, batch):
        update, key = gradient(trained, key, batch)
        return {n: w - LEARNING_RATE * update[n] for n, w in trained.items()}, key

    key, batch = jax.random.key(0), (*inputs, labels)
    start = process.resident()
    times = []
    for _ in range(WARM_UP + flags.steps):
        begin = time.perf_counter()
        trained, key = jax.block_until_ready(step(trained, key, batch))
        times.append(1e3 * (time.perf_counter() - begin))
    print(json.dumps(process.report(times, WARM_UP, start)))


def split(weights, train):
    """Trained and frozen weights, by name."""
    rules = {
        "full": lambda name: True,
        "bias": lambda name: name.endswith("bias") or name.startswith("head."),
        "head": lambda name: name.startswith("head."),
        "lora": lambda name: ".lora_" in name or name.startswith("head."),
    }
    trains = rules[train]
    return (
        {name: w for name, w in weights.items() if trains(name)},
        {name: w for name, w in weights.items() if not trains(name)},
    )


class Maker:
    """Random weights, by name."""

    def __init__(self):
        self.key = jax.random.key(1)
        self.weights = {}

    def normal(self, name, shape, fan_in):
        self.key, key = jax.random.split(self.key)
        self.weights[name] = jax.random.normal(key, shape) / fan_in**0.5

    def linear(self, name, a, b):
        self.normal(f"{name}.weight", (a, b), a)
        self.weights[f"{name}.bias"] = jnp.zeros(b)

    def conv(self, name, a, b, size):
        self.normal(f"{name}.weight", (b, a, size, size), a * size * size)
        self.weights[f"{name}.bias"] = jnp.zeros(b)

    def norm(self, name, width):
        self.weights[f"{name}.weight"] = jnp.ones(width)
        self.weights[f"{name}.bias"] = jnp.zeros(width)

    def layer(self, name, width):
        for part in ["query", "key", "value", "output"]:
            self.linear(f"{name}.{part}", width, width)
        self.linear(f"{name}.up", width, 4 * width)
        self.linear(f"{name}.down", 4 * width, width)
        self.norm(f"{name}.norm1", width)
        self.norm(f"{name}.norm2", width)


def linear(w, name, x):
    y = x @ w[f"{name}.weight"] + w[f"{name}.bias"]
    if f"{name}.lora_a" in w:
        y = y + 2.0 * (x @ w[f"{name}.lora_a"]) @ w[f"{name}.lora_b"]
    return y


def with_adapters(weights):
    """Adapters of rank 8 beside every linear layer of the blocks."""
    names = [n.removesuffix(".weight") for n, w in weights.items() if n.startswith("layers.") and w.ndim == 2]
    for name in names:
        a, b = weights[f"{name}.weight"].shape
        weights[f"{name}.lora_a"] = jnp.full((a, 8), 0.01)
        weights[f"{name}.lora_b"] = jnp.zeros((8, b))
    return weights


def conv(w, name, x, padding="SAME", stride=1):
    y = jax.lax.conv_general_dilated(x, w[f"{name}.weight"], (stride, stride), padding)
    return y + w[f"{name}.bias"][:, None, None]


def norm(w, name, x):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def layer(w, name, x, bias=0.0):
    batch, length, width = x.shape
    heads = width // 32
    cut = lambda y: y.reshape(batch, length, heads, 32).swapaxes(1, 2)
    query, key, value = (cut(linear(w, f"{name}.{part}", x)) for part in ["query", "key", "value"])
    scores = query @ key.swapaxes(2, 3) / 32**0.5 + bias
    mixed = (jax.nn.softmax(scores) @ value).swapaxes(1, 2).reshape(batch, length, width)
    x = norm(w, f"{name}.norm1", linear(w, f"{name}.output", mixed) + x)
    inner = jax.nn.gelu(linear(w, f"{name}.up", x), approximate=False)
    return norm(w, f"{name}.norm2", linear(w, f"{name}.down", inner) + x)


def pool(x, size, stride):
    # The windows that begin inside, as torch's ceil_mode has them.
    extra = [max(0, (-(-(n - size) // stride)) * stride + size - n) for n in x.shape[2:]]
    padding = ((0, 0), (0, 0), (0, extra[0]), (0, extra[1]))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, size, size), (1, 1, stride, stride), padding)


def tokens(batch, length, vocabulary):
    return (jnp.arange(batch * length) * 7919 % vocabulary).reshape(batch, length)


def normal(*shape):
    return jax.random.normal(jax.random.key(2), shape)


def cnn(flags):
    batch, pixels = flags.batch or 64, flags.length or 32
    m = Maker()
    for index, (a, b) in enumerate([(3, 32), (32, 64), (64, 128)]):
        m.conv(f"convs.{index}", a, b, 3)
    m.linear("hidden", 128 * (pixels // 8) ** 2, 128)
    m.linear("head", 128, 10)

    def forward(w, x):
        for index in range(3):
            x = pool(jax.nn.relu(conv(w, f"convs.{index}", x)), 2, 2)
        return linear(w, "head", jax.nn.relu(linear(w, "hidden", x.reshape(len(x), -1))))

    return m.weights, forward, [normal(batch, 3, pixels, pixels)], jnp.arange(batch) % 10


def block(flags):
    batch, length = flags.batch or 16, flags.length or 128
    m = Maker()
    m.layer("block", flags.width)
    m.linear("head", flags.width, 2)
    forward = lambda w, x: linear(w, "head", layer(w, "block", x).mean(1))
    return m.weights, forward, [normal(batch, length, flags.width)], jnp.arange(batch) % 2


def encoder(flags):
    batch, length = flags.batch or 32, flags.length or 128
    m = Maker()
    for name, count in [("word", 30_522), ("position", 512), ("token_type", 2)]:
        m.normal(name, (count, 384), 384)
    m.norm("norm", 384)
    for index in range(6):
        m.layer(f"layers.{index}", 384)
    m.linear("head", 384, 2)

    def forward(w, ids, mask):
        x = w["word"][ids] + w["position"][: ids.shape[1]] + w["token_type"][0]
        x = norm(w, "norm", x)
        bias = ((1 - mask) * -1e4)[:, None, None, :]
        for index in range(6):
            x = layer(w, f"layers.{index}", x, bias)
        mask = mask[:, :, None]
        return linear(w, "head", (x * mask).sum(1) / mask.sum(1))

    return m.weights, forward, [tokens(batch, length, 30_522), jnp.ones((batch, length))], jnp.arange(batch) % 2


def squeezenet(flags):
    batch, pixels = flags.batch or 32, flags.length or 96
    m = Maker()
    m.conv("conv1", 3, 64, 3)
    widths = [16, 16, 32, 32, 48, 48, 64, 64]
    for index, (channels, width) in enumerate(zip([64, *(8 * w for w in widths)], widths)):
        m.conv(f"fires.{index}.squeeze", channels, width, 1)
        m.conv(f"fires.{index}.expand1", width, 4 * width, 1)
        m.conv(f"fires.{index}.expand3", width, 4 * width, 3)
    m.linear("head", 512, 10)

    def forward(w, x):
        x = jax.nn.relu(conv(w, "conv1", x, "VALID", 2))
        for index in range(8):
            if index in (0, 2, 4):
                x = pool(x, 3, 2)
            name = f"fires.{index}"
            x = jax.nn.relu(conv(w, f"{name}.squeeze", x))
            x = [jax.nn.relu(conv(w, f"{name}.{part}", x)) for part in ["expand1", "expand3"]]
            x = jnp.concatenate(x, 1)
        return linear(w, "head", x.mean((2, 3)))

    return m.weights, forward, [normal(batch, 3, pixels, pixels)], jnp.arange(batch) % 10


def lstm(flags):
    batch, length = flags.batch or 32, flags.length or 64
    m = Maker()
    m.linear("input", 256, 4 * 256)
    m.linear("state", 256, 4 * 256)
    m.linear("head", 256, 2)

    def forward(w, x):
        def cell(carry, x):
            h, c = carry
            gates = linear(w, "input", x) + linear(w, "state", h)
            i, f, g, o = jnp.split(gates, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), None

        zero = jnp.zeros((len(x), 256))
        (h, _), _ = jax.lax.scan(cell, (zero, zero), x.swapaxes(0, 1))
        return linear(w, "head", h)

    return m.weights, forward, [normal(batch, length, 256)], jnp.arange(batch) % 2


def words(flags):
    batch, length = flags.batch or 64, flags.length or 128
    m = Maker()
    m.normal("words", (32_000, 128), 128)
    m.linear("hidden", 128, 128)
    m.linear("head", 128, 2)
    forward = lambda w, ids: linear(w, "head", jax.nn.relu(linear(w, "hidden", w["words"][ids].mean(1))))
    return m.weights, forward, [tokens(batch, length, 32_000)], jnp.arange(batch) % 2


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
