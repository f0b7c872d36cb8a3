//! What tells the families of encoders apart: names, defaults, and how positions count.

/// A family of encoders, by the `model_type` of `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Devlin et al. 2018, arXiv 1810.04805.
    Bert,
    /// Liu et al. 2019, arXiv 1907.11692: positions count tokens that are not padding, and begin after its id.
    Roberta,
    /// Conneau et al. 2019, arXiv 1911.02116: RoBERTa for a hundred languages.
    XlmRoberta,
    /// Sanh et al. 2019, arXiv 1910.01108: BERT without token types and pooler, under names of its own.
    DistilBert,
}

impl Family {
    const ALL: [Self; 4] = [Self::Bert, Self::Roberta, Self::XlmRoberta, Self::DistilBert];
    /// Every `model_type`, for errors.
    pub(super) const NAMES: &str = "bert, roberta, xlm-roberta or distilbert";

    /// The family whose `model_type` is `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Its `model_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
            Self::DistilBert => "distilbert",
        }
    }

    /// What `config.json` calls the field that BERT calls `field`.
    pub(super) fn field(self, field: &'static str) -> &'static str {
        if self != Self::DistilBert {
            return field;
        }
        match field {
            "hidden_size" => "dim",
            "num_hidden_layers" => "n_layers",
            "num_attention_heads" => "n_heads",
            "intermediate_size" => "hidden_dim",
            "hidden_act" => "activation",
            same => same,
        }
    }

    /// Whether positions begin after the id of padding, and do not count padding.
    pub(super) fn counts_tokens(self) -> bool {
        matches!(self, Self::Roberta | Self::XlmRoberta)
    }

    /// Whether the first text of a pair and the second have a type each.
    pub(super) fn types_pairs(self) -> bool {
        self == Self::Bert
    }

    /// The id of padding where `config.json` gives none.
    pub(super) fn default_padding(self) -> usize {
        usize::from(self.counts_tokens())
    }

    /// What a task's model puts before the names of the encoder's tensors.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta | Self::XlmRoberta => "roberta.",
            Self::DistilBert => "distilbert.",
        }
    }

    /// The names of a layer's tensors.
    pub(super) fn layer(self) -> &'static LayerNames {
        match self {
            Self::DistilBert => &DISTILBERT,
            Self::Bert | Self::Roberta | Self::XlmRoberta => &BERT,
        }
    }
}

/// How a family's files name the parts of a layer.
pub(super) struct LayerNames {
    pub(super) layers: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) norm: &'static str,
}

const BERT: LayerNames = LayerNames {
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    norm: "output.LayerNorm",
};

const DISTILBERT: LayerNames = LayerNames {
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    norm: "output_layer_norm",
};

/// How the names of tensors begin that belong to the heads of pretraining and of tasks, which an encoder leaves out.
pub(super) const HEADS: [&str; 8] = [
    "cls.",
    "lm_head.",
    "classifier.",
    "qa_outputs.",
    "pre_classifier.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
];
