//! What a run trains.
//!
//! Each method is a file below `method/` that says what is special about it. Here it is named: `mod`, a variant for
//! the command line, and its recipe.

mod bitfit;
mod full;
mod head;
mod lora;
mod non_private;
pub(super) mod parts;
mod recipe;
mod supermask;
mod topgrad;
mod two_phase;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use recipe::Defaults;
pub(super) use recipe::{Attachment, Choice, DefaultsByTask, Recipe, Situation};
pub use supermask::{MaskArgs, Of, Rule};

/// A way of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Everything, without privacy
    None,
    /// Everything
    Full,
    /// The last layer, on features that are computed once
    Head,
    /// Every bias and shift, and the head (DP-BiTFiT)
    Bitfit,
    /// Low-rank adapters, and the head
    Lora,
    /// A mask over the frozen trunk, and the head
    Supermask,
    /// The layers with the largest gradients on the private data, which is paid for, and the head
    Topgrad,
    /// The head first, then biases and the last block as well
    TwoPhase,
}

impl Method {
    pub(super) fn recipe(self) -> &'static dyn Recipe {
        match self {
            Self::None => &non_private::NonPrivate,
            Self::Full => &full::Full,
            Self::Head => &head::Head,
            Self::Bitfit => &bitfit::Bitfit,
            Self::Lora => &lora::Lora,
            Self::Supermask => &supermask::Supermask,
            Self::Topgrad => &topgrad::Topgrad,
            Self::TwoPhase => &two_phase::TwoPhase,
        }
    }

    /// As the command line has it.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Settings that suit it on two cores, for either task, with or without privacy.
    pub(super) fn defaults(self, private: bool) -> DefaultsByTask {
        self.recipe().defaults(private)
    }
}
