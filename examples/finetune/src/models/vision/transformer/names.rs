//! How checkpoints call the tensors of a vision transformer.

use super::super::weights::Weights;
use super::config::{ModelType, Sizes};

/// The names in one checkpoint.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// A model with a head of its own puts the trunk's tensors behind it.
    prefix: &'static str,
    pub(super) parts: &'static Parts,
}

/// Where the parts are that have two names.
pub(super) struct Parts {
    blocks: &'static str,
    shared_positions: &'static str,
    // The others are inside a block.
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) output: &'static str,
    pub(super) positions: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
}

/// Of all published checkpoints, and of `save_pretrained` where nothing else is asked for.
const PUBLISHED: Parts = Parts {
    blocks: "encoder.layer",
    shared_positions: "encoder.relative_position_bias",
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    output: "attention.output.dense",
    positions: "attention.attention.relative_position_bias",
    up: "intermediate.dense",
    down: "output.dense",
};

/// As transformers 5 calls them itself (`save_original_format=False`).
const RECENT: Parts = Parts {
    blocks: "layers",
    shared_positions: "shared_position_bias",
    query: "attention.q_proj",
    key: "attention.k_proj",
    value: "attention.v_proj",
    output: "attention.o_proj",
    positions: "relative_position_bias",
    up: "mlp.fc1",
    down: "mlp.fc2",
};

impl Names {
    pub(super) fn of(sizes: &Sizes, weights: &Weights) -> Self {
        let prefix = match sizes.model_type {
            ModelType::Vit => "vit.",
            ModelType::Deit => "deit.",
            ModelType::Beit => "beit.",
        };
        let has_prefix = weights.has(&format!("{prefix}embeddings.cls_token"));
        let prefix = if has_prefix { prefix } else { "" };
        let is_recent = weights.has(&format!("{prefix}layers.0.layernorm_before.weight"));
        Self { prefix, parts: if is_recent { &RECENT } else { &PUBLISHED } }
    }

    pub(super) fn embeddings(self, part: &str) -> String {
        format!("{}embeddings.{part}", self.prefix)
    }

    pub(super) fn shared_positions(self) -> String {
        format!("{}{}", self.prefix, self.parts.shared_positions)
    }

    pub(super) fn block(self, index: usize) -> String {
        format!("{}{}.{index}", self.prefix, self.parts.blocks)
    }

    /// The last normalization. BEiT normalizes the mean of the patches by its pooler's norm. A checkpoint of masked
    /// training has no pooler: there the norm before its head serves.
    pub(super) fn norm(self, mean_of_patches: bool, weights: &Weights) -> String {
        let of_trunk = format!("{}layernorm", self.prefix);
        let of_pooler = format!("{}pooler.layernorm", self.prefix);
        let of_head = "layernorm";
        let has = |norm: &str| weights.has(&format!("{norm}.weight"));
        let is_masked_training = !self.prefix.is_empty() && !has(&of_pooler) && has(of_head);
        match (mean_of_patches, is_masked_training) {
            (false, _) => of_trunk,
            (true, false) => of_pooler,
            (true, true) => of_head.to_owned(),
        }
    }

    /// Tensors of heads, of masked training, and indices that are computed here.
    pub(super) fn is_spare(self, name: &str) -> bool {
        let (inside, is_inside) = match name.strip_prefix(self.prefix) {
            Some(inside) => (inside, true),
            None => (name, false),
        };
        let heads =
            ["classifier.", "cls_classifier.", "distillation_classifier.", "lm_head.", "decoder."];
        let is_of_head = heads.iter().any(|head| name.starts_with(head))
            || (!is_inside && name.starts_with("layernorm."));
        is_of_head
            || inside.starts_with("pooler.")
            || inside == "embeddings.mask_token"
            || inside.ends_with(".relative_position_index")
    }
}
