//! How transformers and timm call a ResNet's tensors, and where they keep its shape.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::folder::read_json;
use super::super::weights::Weights;
use super::config::{BlockLayers, Shape};

/// Names of convolutions and of the normalizations behind them.
#[derive(Clone, Copy)]
pub(super) enum Names {
    /// Behind a prefix if the checkpoint has a head.
    Transformers {
        prefix: &'static str,
    },
    Timm,
}

impl Names {
    pub(super) fn transformers(weights: &Weights) -> Self {
        let has_prefix = weights.has("resnet.embedder.embedder.convolution.weight");
        Self::Transformers { prefix: if has_prefix { "resnet." } else { "" } }
    }

    pub(super) fn stem(self) -> [String; 2] {
        match self {
            Self::Transformers { prefix } => pair(&format!("{prefix}embedder.embedder")),
            Self::Timm => ["conv1".to_owned(), "bn1".to_owned()],
        }
    }

    pub(super) fn layer(self, block: &BlockLayers, layer: usize) -> [String; 2] {
        let name = self.block(block);
        match self {
            Self::Transformers { .. } => pair(&format!("{name}.layer.{layer}")),
            Self::Timm => [format!("{name}.conv{}", layer + 1), format!("{name}.bn{}", layer + 1)],
        }
    }

    pub(super) fn shortcut(self, block: &BlockLayers) -> [String; 2] {
        let name = self.block(block);
        match self {
            Self::Transformers { .. } => pair(&format!("{name}.shortcut")),
            Self::Timm => [format!("{name}.downsample.0"), format!("{name}.downsample.1")],
        }
    }

    /// Tensors of the head, and what BatchNorm counts in training.
    pub(super) fn is_spare(self, name: &str) -> bool {
        let head = match self {
            Self::Transformers { .. } => "classifier.",
            Self::Timm => "fc.",
        };
        name.starts_with(head) || name.ends_with(".num_batches_tracked")
    }

    fn block(self, BlockLayers { stage, index, .. }: &BlockLayers) -> String {
        match self {
            Self::Transformers { prefix } => {
                format!("{prefix}encoder.stages.{stage}.layers.{index}")
            }
            Self::Timm => format!("layer{}.{index}", stage + 1),
        }
    }
}

fn pair(name: &str) -> [String; 2] {
    [format!("{name}.convolution"), format!("{name}.normalization")]
}

/// The shape that transformers' `config.json` gives.
pub(super) fn shape_of_transformers(folder: &Path) -> Result<Shape> {
    let config: Config = read_json(folder, "config.json")?;
    let file = folder.join("config.json");
    config.shape().with_context(|| format!("{} cannot be used", file.display()))
}

#[derive(Deserialize)]
struct Config {
    #[serde(default = "three")]
    num_channels: usize,
    embedding_size: usize,
    hidden_sizes: Vec<usize>,
    depths: Vec<usize>,
    #[serde(default = "bottleneck")]
    layer_type: String,
    #[serde(default = "relu")]
    hidden_act: String,
    #[serde(default)]
    downsample_in_first_stage: bool,
    #[serde(default)]
    downsample_in_bottleneck: bool,
}

fn three() -> usize {
    3
}

fn bottleneck() -> String {
    "bottleneck".to_owned()
}

fn relu() -> String {
    "relu".to_owned()
}

impl Config {
    fn shape(self) -> Result<Shape> {
        let (layer_type, hidden_act) = (&self.layer_type, &self.hidden_act);
        ensure!(
            ["basic", "bottleneck"].contains(&layer_type.as_str()),
            "layer_type is {layer_type:?}: basic and bottleneck are supported",
        );
        ensure!(hidden_act == "relu", "hidden_act is {hidden_act:?}: only relu is supported");
        ensure!(
            self.num_channels == 3,
            "num_channels is {}: images have 3, red, green and blue",
            self.num_channels,
        );
        Ok(Shape {
            embedding_size: self.embedding_size,
            hidden_sizes: self.hidden_sizes,
            depths: self.depths,
            is_bottleneck: self.layer_type == "bottleneck",
            downsample_in_first_stage: self.downsample_in_first_stage,
            downsample_in_bottleneck: self.downsample_in_bottleneck,
            groups: None,
        })
    }
}

/// timm's groups, for every layer.
const TIMM_GROUPS: usize = 32;

/// timm's `config.json` gives a name only, so that the tensors have to tell.
pub(super) fn shape_of_timm(folder: &Path, weights: &Weights) -> Result<Shape> {
    let config: TimmConfig = read_json(folder, "config.json")?;
    let file = folder.join("config.json");
    config.validate().with_context(|| format!("{} cannot be used", file.display()))?;
    let outputs = |name: String| weights.shape(&name).and_then(|shape| shape.first()).copied();
    let is_bottleneck = weights.has("layer1.0.conv3.weight");
    let last = if is_bottleneck { 3 } else { 2 };
    let (mut hidden_sizes, mut depths) = (Vec::new(), Vec::new());
    while let Some(size) = outputs(format!("layer{}.0.conv{last}.weight", depths.len() + 1)) {
        let stage = depths.len() + 1;
        let has_block = |block: &usize| weights.has(&format!("layer{stage}.{block}.conv1.weight"));
        hidden_sizes.push(size);
        depths.push((0..).take_while(has_block).count());
    }
    ensure!(
        !depths.is_empty(),
        "{} has no tensor layer1.0.conv{last}.weight: these are not the weights of a ResNet of timm",
        folder.display(),
    );
    Ok(Shape {
        embedding_size: outputs("conv1.weight".to_owned()).unwrap_or(1),
        hidden_sizes,
        depths,
        is_bottleneck,
        downsample_in_first_stage: false,
        downsample_in_bottleneck: false,
        groups: (!weights.has("bn1.running_mean")).then_some(TIMM_GROUPS),
    })
}

#[derive(Deserialize)]
struct TimmConfig {
    global_pool: Option<String>,
    /// Arguments by which the network differs from the one of its name.
    #[serde(default)]
    model_args: Map<String, Value>,
}

impl TimmConfig {
    fn validate(&self) -> Result<()> {
        let pools = [
            self.global_pool.as_deref(),
            self.model_args.get("global_pool").and_then(Value::as_str),
        ];
        for pool in pools.into_iter().flatten() {
            ensure!(pool == "avg", "global_pool is {pool:?}: only avg is supported");
        }
        // The tensors tell these, or they make no difference.
        let told = ["layers", "channels", "stem_width", "num_classes", "in_chans", "norm_layer"];
        for (name, value) in &self.model_args {
            ensure!(
                told.contains(&name.as_str()) || name == "global_pool" || value.is_null(),
                "model_args has {name} = {value}, which is not supported: of the arguments of a \
                 model, only {} may be given",
                told.join(", "),
            );
        }
        Ok(())
    }
}
