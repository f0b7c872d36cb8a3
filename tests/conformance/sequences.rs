//! Recurrent networks, attention, transformers and positional encodings.

use burn::nn::attention::*;
use burn::nn::transformer::*;
use burn::nn::*;
use burn::tensor::{Bool, Tensor};

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

pub const CASES: &[Case] = &[
    ("Rnn", |b| {
        let model = RnnConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None).0))
    }),
    ("Rnn with time first, reversed, clipped", |b| {
        let config = RnnConfig::new(2, 3, false).with_batch_first(false).with_reverse(true);
        let model = config.with_clip(Some(0.5)).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x.swap_dims(0, 1), None).0))
    }),
    ("BiRnn", |b| {
        let model = BiRnnConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None).0))
    }),
    ("Lstm", |b| {
        let model = LstmConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| {
            let (y, state) = m.forward(x, None);
            score(y) + score(state.cell)
        })
    }),
    ("Lstm from a state of the example", |b| {
        let model = LstmConfig::new(2, 3, true).with_input_forget(true).init(&b.device);
        let batch = (b.floats([N, 3, 2]), b.others([N, 3]), b.floats([N, 3]));
        b.run(model, batch, |m, (x, cell, hidden)| {
            score(m.forward(x, Some(LstmState::new(cell, hidden))).0)
        })
    }),
    ("BiLstm", |b| {
        let model = BiLstmConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None).0))
    }),
    ("Gru", |b| {
        let model = GruConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None)))
    }),
    ("Gru with the reset before the product", |b| {
        let model = GruConfig::new(2, 3, true).with_reset_after(false).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None)))
    }),
    ("BiGru", |b| {
        let model = BiGruConfig::new(2, 3, true).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x, None).0))
    }),
    ("MultiHeadAttention", |b| {
        let model = attention(b, false);
        b.run(model, b.floats([N, 3, 4]), |m, x| score(m.forward(MhaInput::self_attn(x)).context))
    }),
    ("MultiHeadAttention with quiet softmax", |b| {
        let model = attention(b, true);
        b.run(model, b.floats([N, 3, 4]), |m, x| score(m.forward(MhaInput::self_attn(x)).context))
    }),
    ("MultiHeadAttention with padding and causal masks", |b| {
        let model = attention(b, false);
        b.run(model, (b.floats([N, 3, 4]), b.padding(3)), |m, (x, padding)| {
            let causal = causal(&x);
            let input = MhaInput::self_attn(x).mask_pad(padding).mask_attn(causal);
            score(m.forward(input).context)
        })
    }),
    ("MultiHeadAttention to another sequence", |b| {
        let model = attention(b, false);
        b.run(model, (b.floats([N, 2, 4]), b.others([N, 3, 4])), |m, (x, memory)| {
            score(m.forward(MhaInput::new(x, memory.clone(), memory)).context)
        })
    }),
    ("CrossAttention", |b| cross(b, 2)),
    ("CrossAttention with shared heads", |b| cross(b, 1)),
    ("PositionWiseFeedForward", |b| {
        let model = PositionWiseFeedForwardConfig::new(4, 6).with_dropout(0.0).init(&b.device);
        b.run(model, b.floats([N, 3, 4]), |m, x| score(m.forward(x)))
    }),
    ("TransformerEncoder", |b| {
        encoder(b, TransformerEncoderConfig::new(4, 6, 2, 2).with_dropout(0.0))
    }),
    ("TransformerEncoder with norms first", |b| {
        let config = TransformerEncoderConfig::new(4, 6, 2, 1).with_dropout(0.0);
        encoder(b, config.with_norm_first(true).with_quiet_softmax(true))
    }),
    ("TransformerDecoder", |b| {
        let model = TransformerDecoderConfig::new(4, 6, 2, 1).with_dropout(0.0).init(&b.device);
        let batch = (b.floats([N, 3, 4]), b.others([N, 2, 4]), b.padding(3));
        b.run(model, batch, |m, (target, memory, padding)| {
            let causal = causal(&target);
            let input = TransformerDecoderInput::new(target, memory);
            score(m.forward(input.target_mask_pad(padding).target_mask_attn(causal)))
        })
    }),
    ("TransformerEncoder of tokens", |b| {
        let model = (
            EmbeddingConfig::new(6, 4).init(&b.device),
            PositionalEncodingConfig::new(4).with_max_sequence_size(5).init(&b.device),
            TransformerEncoderConfig::new(4, 6, 2, 1).with_dropout(0.0).init(&b.device),
            LinearConfig::new(4, 6).init(&b.device),
        );
        b.run(model, b.ints([N, 4], 6), |(embed, positions, encoder, out), tokens| {
            let mask = tokens.clone().equal_scalar(0);
            let x = positions.forward(embed.forward(tokens));
            score(out.forward(encoder.forward(TransformerEncoderInput::new(x).mask_pad(mask))))
        })
    }),
    ("PositionalEncoding", |b| {
        let positions = PositionalEncodingConfig::new(4).with_max_sequence_size(5).init(&b.device);
        let model = (LinearConfig::new(3, 4).init(&b.device), positions);
        b.run(model, b.floats([N, 3, 3]), |(linear, positions), x| {
            score(positions.forward(linear.forward(x)))
        })
    }),
    ("RotaryEncoding", |b| {
        let rotary = RotaryEncodingConfig::new(5, 4).init(&b.device);
        let model = (LinearConfig::new(3, 4).init(&b.device), rotary);
        b.run(model, b.floats([N, 3, 3]), |(linear, rotary), x| {
            score(rotary.forward(linear.forward(x)))
        })
    }),
];

fn attention(b: &Bench, quiet: bool) -> MultiHeadAttention {
    let config = MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0);
    config.with_quiet_softmax(quiet).init(&b.device)
}

fn causal(x: &Tensor<3>) -> Tensor<3, Bool> {
    let [batch, length, _] = x.dims();
    generate_autoregressive_mask(batch, length, &x.device())
}

fn cross(b: &Bench, key_heads: usize) -> Outcome {
    let config = CrossAttentionConfig::new(4, 3, 2, key_heads, 2).with_dropout(0.0);
    let batch = (b.floats([N, 2, 4]), b.others([N, 3, 3]), b.padding(3));
    b.run(config.init(&b.device), batch, |m, (x, context, padding)| {
        score(m.forward(x, context, Some(padding)))
    })
}

fn encoder(b: &Bench, config: TransformerEncoderConfig) -> Outcome {
    b.run(config.init(&b.device), (b.floats([N, 3, 4]), b.padding(3)), |m, (x, padding)| {
        score(m.forward(TransformerEncoderInput::new(x).mask_pad(padding)))
    })
}
