#!/usr/bin/env python3
"""Makes the fixtures of tests/gpt2.rs and tests/gpt2_language.rs.

    pip install torch==2.15.0 transformers==5.24.0 tokenizers==0.23.3 safetensors==0.8.0
    python3 examples/finetune/reference/gpt2.py [--only random|pretrained]

`tests/data/gpt2_tiny` is a GPT-2 of two layers with random weights, and what transformers answers for some
texts in double precision: token ids, logits, and the greedy continuation. `tests/data/gpt2_tiny_guide` is a
GPT-2 that is trained here on the guide (docs/guide) until its loss on a tenth of the guide stops falling,
kept in half precision. Beside it stand the repository's other documents, a sentence a line, to fine-tune it
on (train.txt) and to measure on (held_out.txt). Nothing here comes from the Rust code.

The texts are the repository's own as of the commit that made the fixtures. `gpt2_tiny` comes out bit for bit
again. The kept `gpt2_tiny_guide` does not: its training shuffled without a seed, which it has had only since.
Another run gives other weights, and then the perplexities in docs/guide/fine-tuning.md have to be measured again.
"""

import argparse
import json
import math
import pathlib
import random
import re

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel

ROOT = pathlib.Path(__file__).resolve().parents[3]
DATA = pathlib.Path(__file__).resolve().parents[1] / "tests" / "data"

END = "<|endoftext|>"
PUBLIC = ["docs/guide/*.md"]
PRIVATE = ["*.md", "docs/*.md"]

TEXTS = [
    "Noise is added once per logical step.",
    "privacy",
    "Caf\u00e9 \u4e2d",
    "The sampling rate, the clipping norm and the noise multiplier make a plan, which an accountant reads.",
]
# Shorter than the longest text, so that truncation is checked as well.
LENGTH = 20
PROMPT = "The clipping norm"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["random", "pretrained"])
    only = parser.parse_args().only
    torch.set_num_threads(1)
    if only != "pretrained":
        random_model(DATA / "gpt2_tiny")
    if only != "random":
        pretrained_model(DATA / "gpt2_tiny_guide")


# A model with random weights, and what it answers.


def random_model(folder):
    torch.manual_seed(2)
    tokenizer = byte_level_bpe(sentences(PRIVATE + PUBLIC), 300)
    model = GPT2LMHeadModel(config(tokenizer, width=32, positions=32))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Far from GPT-2's own small start, so that attention is sharp and no bias is zero.
            # Positions weigh more than words, so that a greedy continuation does not repeat one token.
            center = 1.0 if re.search(r"ln_\w+\.weight", name) else 0.0
            spread = 0.8 if "wpe" in name else 0.3
            parameter.copy_(center + spread * torch.randn(parameter.shape))
    save(model, tokenizer, folder)
    answer = {"texts": TEXTS, "length": LENGTH, "prompt": PROMPT}
    model = model.eval().double()
    answer["records"] = [marked(tokenizer, text)[:LENGTH] for text in TEXTS]
    answer |= {"gelu_new": answers(model, answer["records"])}
    prompt = marked(tokenizer, PROMPT)[:-1]
    answer["greedy"] = continuation(model, prompt, 16)
    answer["windowed"] = windowed_continuation(model, prompt, 40)
    # The same weights with the exact GELU.
    other = GPT2LMHeadModel(GPT2Config(**{**model.config.to_dict(), "activation_function": "gelu"}))
    other.load_state_dict(model.state_dict())
    answer["gelu"] = answers(other.eval().double(), answer["records"])
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in answer.items())
    (folder / "expected.json").write_text("{\n" + lines + "\n}\n")


def answers(model, records):
    """For each record the first logits of every token, and the log of all their exponentials' sum."""
    found = []
    for ids in records:
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
        total = torch.logsumexp(logits, 1)
        found.append({"logits": rounded(logits[:, :8]), "total": rounded(total), "loss": loss.item()})
    return found


def continuation(model, ids, count):
    settings = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0}
    mask = torch.ones(1, len(ids))
    return model.generate(torch.tensor([ids]), attention_mask=mask, **settings)[0, len(ids):].tolist()


def windowed_continuation(model, ids, count):
    """Beyond the positions that the model has, it reads the last ones: transformers refuses that, so it is spelled out."""
    ids, known = list(ids), len(ids)
    for _ in range(count):
        with torch.no_grad():
            logits = model(torch.tensor([ids[-model.config.n_positions :]])).logits[0, -1]
        ids.append(int(logits.argmax()))
        if ids[-1] == model.config.eos_token_id:
            break
    return ids[known:]


# A model that is pretrained on one part of the documents.


def pretrained_model(folder):
    torch.manual_seed(5)
    public, private = sentences(PUBLIC), sentences(PRIVATE)
    random.Random(3).shuffle(public)
    random.Random(4).shuffle(private)
    known = set(public)
    private = [text for text in dict.fromkeys(private) if text not in known]
    # The tokenizer is public too, so it sees the public part only.
    tokenizer = byte_level_bpe(public, 512)
    model = GPT2LMHeadModel(config(tokenizer, width=64, positions=64))
    held_out = len(public) // 10
    pretrain(model, [marked(tokenizer, t) for t in public[held_out:]], [marked(tokenizer, t) for t in public[:held_out]])
    model.half()
    save(model, tokenizer, folder)
    fifth = len(private) // 5
    for name, texts in [("held_out.txt", private[:fifth]), ("train.txt", private[fifth:])]:
        (folder / name).write_text("".join(f"{text}\n" for text in texts))
    model.float()
    print(f"{len(private) - fifth} records to train on, {fifth} held out")
    print(f"perplexity on those: {perplexity(model, [marked(tokenizer, t) for t in private[:fifth]]):.2f}")


def pretrain(model, train, held_out, epochs=40, batch=32):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, epochs * math.ceil(len(train) / batch), pct_start=0.1
    )
    best, weights, order = math.inf, None, random.Random(6)
    for epoch in range(epochs):
        model.train()
        order.shuffle(train)
        for start in range(0, len(train), batch):
            ids, labels = padded([ids[: model.config.n_positions] for ids in train[start : start + batch]])
            loss = model(ids, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        now = perplexity(model, held_out)
        if now < best:
            best, weights = now, {k: v.clone() for k, v in model.state_dict().items()}
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: perplexity {now:.2f}, best {best:.2f}", flush=True)
    model.load_state_dict(weights)


def perplexity(model, texts):
    model.eval()
    total, count = 0.0, 0
    for ids in texts:
        ids = torch.tensor([ids[: model.config.n_positions]])
        with torch.no_grad():
            total += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    return math.exp(total / count)


def padded(texts):
    length = max(map(len, texts))
    ids = torch.tensor([ids + [0] * (length - len(ids)) for ids in texts])
    labels = torch.tensor([ids + [-100] * (length - len(ids)) for ids in texts])
    return ids, labels


# What both share.


def config(tokenizer, width, positions):
    end = tokenizer.token_to_id(END)
    return GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=positions,
        n_embd=width,
        n_layer=2,
        n_head=2,
        bos_token_id=end,
        eos_token_id=end,
    )


def save(model, tokenizer, folder):
    """As Hugging Face saves it, without the settings of its own generation."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))


def byte_level_bpe(texts, size):
    """A tokenizer of GPT-2's kind."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def marked(tokenizer, text):
    """A text between two end tokens, so that its first token and its end are predicted as well."""
    end = tokenizer.token_to_id(END)
    return [end, *tokenizer.encode(text).ids, end]


def sentences(patterns):
    files = [file for pattern in patterns for file in sorted(ROOT.glob(pattern))]
    return [sentence for file in files for sentence in split(file.read_text())]


def split(markdown):
    """Sentences, table rows and list items; no code."""
    markdown = re.sub(r"```.*?```", "", markdown, flags=re.S)
    blocks = re.split(r"\n\s*\n|\n(?=[#|*-] ?)", markdown)
    blocks = [" ".join(block.split()) for block in blocks]
    parts = [part for block in blocks for part in re.split(r"(?<=[.:;?!]) +(?=[A-Z`])", block)]
    return [part for part in parts if len(part) >= 12]


def rounded(tensor):
    return [round(x, 7) for x in tensor.flatten().tolist()]


if __name__ == "__main__":
    main()
