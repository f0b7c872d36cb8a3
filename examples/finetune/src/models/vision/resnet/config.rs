//! The layers of a ResNet.

use anyhow::{Result, ensure};

use super::super::folder::{LARGEST, MOST_LAYERS};

/// What the layers follow from. Errors call its parts by transformers' names.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Channels of the first convolution.
    pub(super) embedding_size: usize,
    /// Channels that the blocks of each stage give.
    pub(super) hidden_sizes: Vec<usize>,
    /// Blocks of each stage.
    pub(super) depths: Vec<usize>,
    /// Three convolutions in a block, the middle one of few channels, in place of two.
    pub(super) is_bottleneck: bool,
    pub(super) downsample_in_first_stage: bool,
    /// The first convolution of a bottleneck has the stride, not the second.
    pub(super) downsample_in_bottleneck: bool,
    /// Groups of GroupNorm; without, there is BatchNorm.
    pub(super) groups: Option<usize>,
}

/// A convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
}

/// The convolutions of a block.
pub(super) struct BlockLayers {
    pub(super) stage: usize,
    /// Which block of its stage it is.
    pub(super) index: usize,
    pub(super) layers: Vec<Layer>,
    pub(super) shortcut: Option<Layer>,
}

/// Channels of a bottleneck's ends for each in its middle.
const EXPANSION: usize = 4;

impl Shape {
    pub(super) fn validate(&self) -> Result<()> {
        let (sizes, depths) = (&self.hidden_sizes, &self.depths);
        ensure!(
            !sizes.is_empty() && sizes.len() == depths.len(),
            "hidden_sizes {sizes:?} and depths {depths:?} must have one number for each stage",
        );
        for depth in depths {
            let most = MOST_LAYERS;
            ensure!((1..=most).contains(depth), "depths has {depth}: give 1 to {most}");
        }
        let named = [("embedding_size", self.embedding_size)];
        for (name, size) in named.into_iter().chain(sizes.iter().map(|s| ("hidden_sizes", *s))) {
            ensure!((1..=LARGEST).contains(&size), "{name} has {size}: give 1 to {LARGEST}");
        }
        if self.is_bottleneck {
            let odd = sizes.iter().find(|size| !size.is_multiple_of(EXPANSION));
            ensure!(
                odd.is_none(),
                "hidden_sizes {sizes:?}: a bottleneck needs multiples of {EXPANSION}",
            );
        }
        self.validate_groups()
    }

    fn validate_groups(&self) -> Result<()> {
        let Some(groups) = self.groups else { return Ok(()) };
        let blocks = self.blocks();
        let all = blocks.iter().flat_map(|block| block.layers.iter().chain(&block.shortcut));
        for channels in all.map(|layer| layer.to).chain([self.embedding_size]) {
            ensure!(
                channels.is_multiple_of(groups),
                "a layer has {channels} channels, which GroupNorm cannot share among {groups} groups",
            );
        }
        Ok(())
    }

    pub(super) fn stem(&self) -> Layer {
        Layer { from: 3, to: self.embedding_size, kernel: 7, stride: 2 }
    }

    /// Channels of the features.
    pub(super) fn features(&self) -> usize {
        self.hidden_sizes.last().copied().unwrap_or(self.embedding_size)
    }

    pub(super) fn blocks(&self) -> Vec<BlockLayers> {
        let mut blocks = Vec::new();
        let mut from = self.embedding_size;
        for (stage, (&to, &depth)) in self.hidden_sizes.iter().zip(&self.depths).enumerate() {
            for index in 0..depth {
                let halves = index == 0 && (stage > 0 || self.downsample_in_first_stage);
                let stride = if halves { 2 } else { 1 };
                let shortcut =
                    (from != to || stride != 1).then_some(Layer { from, to, kernel: 1, stride });
                let layers = self.layers(from, to, stride);
                blocks.push(BlockLayers { stage, index, layers, shortcut });
                from = to;
            }
        }
        blocks
    }

    fn layers(&self, from: usize, to: usize, stride: usize) -> Vec<Layer> {
        let layer = |from, to, kernel, stride| Layer { from, to, kernel, stride };
        if !self.is_bottleneck {
            return vec![layer(from, to, 3, stride), layer(to, to, 3, 1)];
        }
        let narrow = to / EXPANSION;
        let (first, second) = if self.downsample_in_bottleneck { (stride, 1) } else { (1, stride) };
        vec![
            layer(from, narrow, 1, first),
            layer(narrow, narrow, 3, second),
            layer(narrow, to, 1, 1),
        ]
    }
}
