//! The sizes of a vision transformer, as `config.json` gives them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::nn::activation::ActivationConfig;
use serde::Deserialize;

use super::super::folder::{LARGEST, MOST_LAYERS, Size, read_json};

/// The fields of `config.json` that matter, under their names there. What may be absent has transformers'
/// default.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sizes {
    pub(super) model_type: ModelType,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    image_size: Size,
    patch_size: Size,
    #[serde(default = "three")]
    num_channels: usize,
    #[serde(default = "layer_norm_eps")]
    pub(super) layer_norm_eps: f64,
    #[serde(default = "hidden_act")]
    hidden_act: String,
    /// Width of a head, where a file gives it.
    head_dim: Option<usize>,
    /// Of ViT and DeiT.
    #[serde(default = "yes")]
    qkv_bias: bool,
    // Of BEiT.
    #[serde(default)]
    use_absolute_position_embeddings: bool,
    #[serde(default)]
    use_relative_position_bias: bool,
    #[serde(default)]
    use_shared_relative_position_bias: bool,
    #[serde(default = "layer_scale_init_value")]
    layer_scale_init_value: f64,
    #[serde(default = "yes")]
    use_mean_pooling: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModelType {
    Vit,
    Deit,
    Beit,
}

fn three() -> usize {
    3
}

fn yes() -> bool {
    true
}

fn layer_norm_eps() -> f64 {
    1e-12
}

fn hidden_act() -> String {
    "gelu".to_owned()
}

fn layer_scale_init_value() -> f64 {
    0.1
}

impl Sizes {
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let sizes: Self = read_json(folder, "config.json")?;
        let file = folder.join("config.json");
        sizes.validate().with_context(|| format!("{} cannot be used", file.display()))?;
        Ok(sizes)
    }

    fn validate(&self) -> Result<()> {
        let ([height, width], [patch_height, patch_width]) =
            (self.image_size.sides(), self.patch_size.sides());
        let sizes = [
            ("hidden_size", self.hidden_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("image_size", height.min(width), LARGEST),
            ("image_size", height.max(width), LARGEST),
            ("patch_size", patch_height, height),
            ("patch_size", patch_width, width),
        ];
        for (name, size, most) in sizes {
            ensure!((1..=most).contains(&size), "{name} is {size}: give 1 to {most}");
        }
        ensure!(
            self.num_channels == 3,
            "num_channels is {}: images have 3, red, green and blue",
            self.num_channels,
        );
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        ensure!(
            hidden.is_multiple_of(heads),
            "hidden_size {hidden} cannot be shared by num_attention_heads {heads}",
        );
        if let Some(size) = self.head_dim {
            ensure!(
                size == hidden / heads,
                "head_dim is {size}: only hidden_size / num_attention_heads = {} is supported",
                hidden / heads,
            );
        }
        ensure!(
            (0.0..1.0).contains(&self.layer_norm_eps),
            "layer_norm_eps is {}: give a small number that is not negative",
            self.layer_norm_eps,
        );
        let [rows, columns] = self.grid();
        // transformers resamples the table of another grid, rows and columns exchanged.
        ensure!(
            rows == columns || !(self.has_positions_per_block() || self.has_shared_positions()),
            "image_size gives {rows} x {columns} patches: use_relative_position_bias and \
             use_shared_relative_position_bias need as many rows as columns",
        );
        self.activation().map(|_| ())
    }

    /// Rows and columns of patches.
    pub(super) fn grid(&self) -> [usize; 2] {
        let ([height, width], [patch_height, patch_width]) =
            (self.image_size.sides(), self.patch());
        [height / patch_height, width / patch_width]
    }

    /// Height and width of a patch.
    pub(super) fn patch(&self) -> [usize; 2] {
        self.patch_size.sides()
    }

    pub(super) fn activation(&self) -> Result<ActivationConfig> {
        Ok(match self.hidden_act.as_str() {
            "gelu" => ActivationConfig::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => ActivationConfig::GeluApproximate,
            "relu" => ActivationConfig::Relu,
            other => bail!(
                "hidden_act is {other:?}: gelu, gelu_new, gelu_pytorch_tanh and relu are supported"
            ),
        })
    }

    /// Tokens before the patches.
    pub(super) fn special_tokens(&self) -> usize {
        if self.model_type == ModelType::Deit { 2 } else { 1 }
    }

    pub(super) fn has_absolute_positions(&self) -> bool {
        !self.is_beit() || self.use_absolute_position_embeddings
    }

    pub(super) fn has_shared_positions(&self) -> bool {
        self.is_beit() && self.use_shared_relative_position_bias
    }

    pub(super) fn has_positions_per_block(&self) -> bool {
        self.is_beit() && self.use_relative_position_bias
    }

    pub(super) fn has_layer_scale(&self) -> bool {
        self.is_beit() && self.layer_scale_init_value > 0.0
    }

    pub(super) fn has_mean_pooling(&self) -> bool {
        self.is_beit() && self.use_mean_pooling
    }

    /// Whether queries and values have biases.
    pub(super) fn has_bias(&self) -> bool {
        self.is_beit() || self.qkv_bias
    }

    /// BEiT has none for keys.
    pub(super) fn has_key_bias(&self) -> bool {
        !self.is_beit() && self.qkv_bias
    }

    fn is_beit(&self) -> bool {
        self.model_type == ModelType::Beit
    }
}

/// Height and width for which the network in a folder has positions.
pub(in super::super) fn image_size(folder: &Path) -> Result<[usize; 2]> {
    Ok(Sizes::read(folder)?.image_size.sides())
}
