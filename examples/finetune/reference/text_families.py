#!/usr/bin/env python3
"""Makes the fixtures that tests/text_families.rs compares the BERT family with.

    pip install torch==2.15.0 transformers==5.24.0 tokenizers==0.23.3 safetensors==0.8.0
    python3 examples/finetune/reference/text_families.py

Each `tests/data/text_FAMILY` is a folder as save_pretrained of transformers leaves it, with two layers of random
weights and a tokenizer made from the sentences below, and `expected.json`: what transformers answers in double
precision for single texts and for pairs. Nothing in it comes from the Rust code. The same versions always make the
same files.
"""

import collections
import json
import math
import os
import pathlib
import re
import shutil

# One thread gives trained tokenizers one order.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaModel,
)

DATA = pathlib.Path(__file__).resolve().parents[1] / "tests" / "data"

CORPUS = [
    "The patient came in with a cough and a mild fever.",
    "No acute disease is seen in the chest.",
    "She was given water, rest and two tablets a day.",
    "The heart is of normal size and the lungs are clear.",
    "Pain in the left knee after a fall; no fracture.",
    "He reports that the headache began three days ago.",
    "Blood pressure was normal at rest and high after the walk.",
    "The wound heals well, and the stitches come out on Monday.",
    "A small shadow in the right lung should be seen again.",
    "Does the patient smoke? Not since the year 2009.",
]
# The trainers for word pieces and unigrams give another vocabulary each time. These are made of characters, and of
# words that occur twice.
WORDS = collections.Counter(re.findall(r"\w+|[^\w\s]", " ".join(CORPUS)))

SINGLES = [
    "The heart is clear.",
    "NO acute Fever, and no pain since the walk on Monday!",
    "",
    "Caf\u00e9 \u4e2d \u20ac 37.5\u00b0",
    # RoBERTa's own padding inside a text.
    "A <pad> day.",
]
# The second text is the longer one, the first is, both are too long, and one is empty.
PAIRS = [
    ("Does it hurt?", "The pain in the left knee began three days ago, after a fall on the walk."),
    ("He was given two tablets a day, and water, and rest, and no more than that.", "Why?"),
    (CORPUS[1] + " " + CORPUS[3], CORPUS[4] + " " + CORPUS[5]),
    ("The lungs are clear.", ""),
]
# Shorter than the longest, so that truncation is checked as well.
SINGLE_LENGTH, PAIR_LENGTH = 16, 23
# Numbers of every token's hidden state that are kept; pooled vectors depend on all of them.
SHOWN = 6

SIZES = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=40,
)


def main():
    bert()
    roberta()
    xlm_roberta()
    distilbert()
    sharded()


def bert():
    """Pretrained with both of its heads, so that names begin with `bert.` and the pooler is there."""
    tokenizer = word_pieces()
    config = BertConfig(**SIZES, vocab_size=len(tokenizer), pad_token_id=0)
    save("text_bert", tokenizer, random(BertForPreTraining, config, 11))


def roberta():
    """Pretrained on masked words: names begin with `roberta.`, and there is no pooler."""
    tokenizer = byte_pairs()
    sizes = dict(SIZES, max_position_embeddings=42)
    config = RobertaConfig(**sizes, vocab_size=len(tokenizer), type_vocab_size=1, layer_norm_eps=1e-5)
    save("text_roberta", tokenizer, random(RobertaForMaskedLM, config, 12))


def xlm_roberta():
    """The encoder alone, with a pooler and with the approximate GELU."""
    tokenizer = unigrams()
    sizes = dict(SIZES, max_position_embeddings=42, hidden_act="gelu_new")
    config = XLMRobertaConfig(
        **sizes, vocab_size=len(tokenizer), type_vocab_size=1, layer_norm_eps=1e-5
    )
    save("text_xlm_roberta", tokenizer, random(XLMRobertaModel, config, 13))


def distilbert():
    """A classifier, whose head is two dense maps."""
    tokenizer = word_pieces(["input_ids", "attention_mask"])
    config = DistilBertConfig(
        vocab_size=len(tokenizer),
        dim=SIZES["hidden_size"],
        n_layers=SIZES["num_hidden_layers"],
        n_heads=SIZES["num_attention_heads"],
        hidden_dim=SIZES["intermediate_size"],
        max_position_embeddings=SIZES["max_position_embeddings"],
    )
    save("text_distilbert", tokenizer, random(DistilBertForSequenceClassification, config, 14))


def sharded():
    """In half precision and in several files, with ReLU."""
    tokenizer = word_pieces()
    config = BertConfig(**SIZES, vocab_size=len(tokenizer), pad_token_id=0, hidden_act="relu")
    model = random(BertModel, config, 15).to(torch.float16)
    save("text_sharded", tokenizer, model, max_shard_size="20kB")


def random(model_class, config, seed):
    torch.manual_seed(seed)
    model = model_class(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Far from the small start of training, so that attention is sharp and no bias is zero.
            center = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(center + 0.3 * torch.randn(parameter.shape))
    return model


def save(name, tokenizer, model, **options):
    folder = DATA / name
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder, **options)
    # What is expected comes from the files, as whoever opens the folder would read them.
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder, dtype=torch.float64).eval()
    pooled = any(".pooler." in f".{key}" for key in model.state_dict())
    firsts, seconds = zip(*PAIRS)
    single = tokenizer(SINGLES, **lengths(SINGLE_LENGTH))
    pair = tokenizer(list(firsts), list(seconds), **lengths(PAIR_LENGTH))
    answers = {
        "single": answer(encoder, single, SINGLES, pooled),
        "pair": answer(encoder, pair, PAIRS, pooled),
    }
    lines = [
        f' "{key}": {{\n' + ",\n".join(f'  "{k}": {json.dumps(v)}' for k, v in value.items()) + "\n }"
        for key, value in answers.items()
    ]
    (folder / "expected.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def lengths(length):
    return dict(
        max_length=length, truncation="longest_first", padding="max_length", return_tensors="pt"
    )


def answer(encoder, encoded, texts, pooled):
    with torch.no_grad():
        output = encoder(**encoded)
    hidden, mask = output.last_hidden_state, encoded["attention_mask"]
    types = encoded.get("token_type_ids")
    weights = mask[:, :, None].double()
    return {
        "texts": texts,
        "length": mask.shape[1],
        "ids": encoded["input_ids"].flatten().tolist(),
        "types": None if types is None else types.flatten().tolist(),
        "mask": mask.flatten().tolist(),
        "hidden": rounded(hidden[:, :, :SHOWN]),
        # The mean over a text's own tokens, as sentence-transformers pools, and the first token.
        "mean": rounded((hidden * weights).sum(1) / weights.sum(1)),
        "cls": rounded(hidden[:, 0]),
        "pooler": rounded(output.pooler_output) if pooled else None,
    }


def rounded(tensor):
    return [round(x, 7) for x in tensor.flatten().tolist()]


def word_pieces(inputs=("input_ids", "token_type_ids", "attention_mask")):
    """BERT's tokenizer."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({letter for word in WORDS for letter in word.lower()})
    frequent = sorted({word.lower() for word, count in WORDS.items() if count > 1 and len(word) > 1})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *frequent]
    vocabulary = {piece: id for id, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(mark, special.index(mark)) for mark in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=list(inputs),
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
ROBERTA_MARKS = dict(
    model_input_names=["input_ids", "attention_mask"],
    bos_token="<s>",
    cls_token="<s>",
    eos_token="</s>",
    sep_token="</s>",
    pad_token="<pad>",
    unk_token="<unk>",
    mask_token="<mask>",
)


def byte_pairs():
    """RoBERTa's tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=290,
        special_tokens=ROBERTA,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA_MARKS)


def unigrams():
    """XLM-RoBERTa's tokenizer, that of sentencepiece."""
    counts = collections.Counter(character for word in WORDS.elements() for character in word)
    counts.update({f"\u2581{word}": count for word, count in WORDS.items() if count > 1})
    counts["\u2581"] = WORDS.total()
    pieces = [(piece, round(math.log(n / counts.total()), 6)) for piece, n in sorted(counts.items())]
    marks = [(mark, 0.0) for mark in ROBERTA]
    tokenizer = Tokenizer(models.Unigram([*marks, *pieces], unk_id=ROBERTA.index("<unk>")))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **ROBERTA_MARKS)


if __name__ == "__main__":
    main()
