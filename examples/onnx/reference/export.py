#!/usr/bin/env python3
"""Makes encoder.onnx, the text encoder that this example converts by default, and what it answers.

    pip install torch==2.15.0 transformers==5.24.0 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
    python3 examples/onnx/reference/export.py

The encoder is a BERT of two layers, 32 wide. It has learned to fill in masked words of a made-up language whose
sentences have a topic: a word's topic is its number modulo 4, and six words in ten are of their sentence's topic.
It has seen no label. `src/sentences.rs` draws its labeled sentences from the same language.
tests/expected.json holds what onnxruntime answers for encoder.onnx; nothing here comes from the Rust code.
"""

import json
import pathlib

import numpy
import onnx
import onnxruntime
import torch
from transformers import BertConfig, BertForMaskedLM

HERE = pathlib.Path(__file__).resolve().parents[1]
PADDING, MASKED, FIRST_WORD = 0, 1, 4
VOCABULARY, LENGTH, TOPICS = 256, 16, 4


class Encoder(torch.nn.Module):
    """Token numbers and mask, both [batch, 16], to the mean of the last layer over real tokens, [batch, 32]."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, tokens, mask):
        hidden = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        weight = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)


def sentences(count):
    topics = torch.randint(TOPICS, [count, 1])
    words = torch.randint(FIRST_WORD, VOCABULARY, [count, LENGTH])
    on_topic = torch.rand(words.shape) < 0.6
    words = torch.where(on_topic, words - words % TOPICS + topics, words)
    mask = torch.arange(LENGTH) < torch.randint(6, LENGTH + 1, [count, 1])
    return torch.where(mask, words, PADDING), mask.long()


def pretrain(model, steps=3000):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
    for step in range(steps):
        tokens, mask = sentences(256)
        hidden = (torch.rand(tokens.shape) < 0.2) & (mask == 1)
        inputs, labels = torch.where(hidden, MASKED, tokens), torch.where(hidden, tokens, -100)
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 300 == 0:
            print(f"step {step}: loss {loss.item():.3f}")


def main():
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    model = BertForMaskedLM(config)
    pretrain(model)
    encoder = Encoder(model.bert).eval()
    path = HERE / "encoder.onnx"
    torch.onnx.export(
        encoder,
        sentences(2),
        path,
        input_names=["tokens", "mask"],
        output_names=["pooled"],
        dynamic_shapes={"tokens": {0: torch.export.Dim("batch")}, "mask": {0: torch.export.Dim("batch")}},
        external_data=False,
        dynamo=True,
    )
    without_traces(path)
    expected(path, encoder)


def without_traces(path):
    """The exporter notes for every node which line of which file it comes from."""
    model = onnx.load(path)
    for part in [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]:
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
    onnx.save(model, path)


def expected(path, encoder):
    tokens, mask = sentences(5)
    session = onnxruntime.InferenceSession(path)
    [pooled] = session.run(None, {"tokens": tokens.numpy(), "mask": mask.numpy()})
    with torch.no_grad():
        difference = numpy.abs(pooled - encoder(tokens, mask).numpy()).max()
    print(f"onnxruntime and torch differ by {difference:.1e}")
    answers = {
        "made_by": f"onnxruntime {onnxruntime.__version__}",
        "tokens": tokens.tolist(),
        "mask": mask.tolist(),
        "pooled": pooled.tolist(),
    }
    (HERE / "tests" / "expected.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
