#!/usr/bin/env python3
"""Makes the fixtures that tests/text.rs compares the text encoder and its tokenizer with.

    pip install torch==2.15.0 transformers==5.23.0 tokenizers==0.23.3 safetensors==0.8.0
    python3 examples/finetune/reference/text.py [--minilm FOLDER]

`tests/data/text_tiny` is a BERT of two layers with random weights and a tokenizer of 74 tokens, laid out as
a downloaded encoder is. With `--minilm`, `tests/data/text_minilm.json` holds what the real
all-MiniLM-L6-v2 in FOLDER answers. The answers are those of transformers in double precision; nothing here
comes from the Rust code.
"""

import argparse
import json
import pathlib
import string

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

DATA = pathlib.Path(__file__).resolve().parents[1] / "tests" / "data"

WORDS = "the a film is not good bad and it was".split()
TINY_TEXTS = [
    "The film is good.",
    "a BAD film, and it was not good!",
    "it was",
    "Caf\u00e9 \u4e2d \u20ac wasp",
    "",
    "the the the the the the the the the the the the the the the the",
]
REAL_TEXTS = [
    "A quietly moving film that earns every one of its tears.",
    "Unfunny, overlong and charmless: I wanted my two hours back!",
    "Ok\u00e9.",
]
# Shorter than the longest text, so that truncation is checked as well.
TINY_LENGTH = 12
REAL_LENGTH = 24


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minilm", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    tiny(DATA / "text_tiny")
    if arguments.minilm:
        real(arguments.minilm, DATA / "text_minilm.json")


def tiny(folder):
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = tiny_vocabulary()
    (folder / "tokenizer.json").write_text(json.dumps(tiny_tokenizer(vocabulary), indent=1) + "\n")
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        pad_token_id=0,
    )
    config.save_pretrained(folder)
    model = BertModel(config)
    torch.manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Far from BERT's own small start, so that attention is sharp and no bias is zero.
            center = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(center + 0.3 * torch.randn(parameter.shape))
    # Older checkpoints, all-MiniLM-L6-v2 among them, hold this buffer too.
    tensors = dict(model.state_dict(), **{"embeddings.position_ids": torch.arange(32)[None]})
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    answer = answers(model, tokenizer, TINY_TEXTS, TINY_LENGTH)
    answer["hidden"] = rounded(answer["hidden"])
    write(folder / "expected.json", answer)


def real(folder, target):
    config = BertConfig.from_pretrained(folder)
    model = BertModel(config)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("embeddings.position_ids")
    model.load_state_dict(tensors)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    answer = answers(model, tokenizer, REAL_TEXTS, REAL_LENGTH)
    # The first numbers of every token; the pooled features depend on all of them.
    answer["hidden"] = rounded(answer["hidden"][:, :, :4])
    write(target, answer)


def answers(model, tokenizer, texts, length):
    tokenizer.enable_truncation(max_length=length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token="[PAD]")
    encoded = tokenizer.encode_batch(texts)
    ids = torch.tensor([e.ids for e in encoded])
    mask = torch.tensor([e.attention_mask for e in encoded])
    with torch.no_grad():
        hidden = model.eval().double()(input_ids=ids, attention_mask=mask).last_hidden_state
    # The mean over a text's own tokens, as sentence-transformers pools this model.
    weights = mask[:, :, None].double()
    pooled = (hidden * weights).sum(1) / weights.sum(1)
    return {
        "texts": texts,
        "length": length,
        "ids": ids.tolist(),
        "mask": mask.tolist(),
        "hidden": hidden,
        "pooled": rounded(pooled),
    }


def rounded(tensor):
    return [round(x, 8) for x in tensor.flatten().tolist()]


def write(path, answer):
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in answer.items())
    path.write_text("{\n" + lines + "\n}\n")


def tiny_vocabulary():
    letters = string.ascii_lowercase
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    tokens += [*".,!?'-", *(w for w in WORDS if w not in tokens), "##ing", "##ed"]
    return {token: id for id, token in enumerate(tokens)}


def tiny_tokenizer(vocabulary):
    """In the form of all-MiniLM-L6-v2's file, its padding and truncation at 128 tokens included."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    cls, sep = ({"SpecialToken": {"id": t, "type_id": 0}} for t in ("[CLS]", "[SEP]"))
    first, second = ({"Sequence": {"id": t, "type_id": i}} for i, t in enumerate("AB"))
    return {
        "version": "1.0",
        "truncation": {"max_length": 128, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 128},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [
            {"id": vocabulary[t], "special": True, "content": t, **flags} for t in special
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, first, sep],
            "pair": [cls, first, sep, second, sep],
            "special_tokens": {
                t: {"id": t, "ids": [vocabulary[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }


if __name__ == "__main__":
    main()
