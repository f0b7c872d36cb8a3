//! What a run trains.

use burn_dp::selection::{ParamSelector, Schedule};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

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

/// The share of a model's parameters that [`Method::Topgrad`] may choose.
pub(super) const TOP_SHARE: f64 = 0.1;
/// The share of steps in which [`Method::TwoPhase`] trains the head alone: they are the cheap ones.
const FIRST_PHASE: f64 = 0.95;

impl Method {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Head => "head",
            Self::Bitfit => "bitfit",
            Self::Lora => "lora",
            Self::Supermask => "supermask",
            Self::Topgrad => "topgrad",
            Self::TwoPhase => "two-phase",
        }
    }

    /// What is trained at each step; `late` is the task's last block. (`Topgrad` has chosen by then.)
    ///
    /// # Errors
    /// When the pattern of the head's parameters does not parse.
    pub(super) fn schedule(self, steps: u64, late: &ParamSelector) -> burn_dp::Result<Schedule> {
        let pattern = ParamSelector::regex(HEAD)?;
        let head = || pattern.clone();
        let bias = || ParamSelector::bias().union(head());
        Ok(match self {
            Self::None | Self::Full | Self::Topgrad => Schedule::new(ParamSelector::all()),
            Self::Head => Schedule::new(head()),
            Self::Bitfit => Schedule::new(bias()),
            Self::Lora => Schedule::new(ParamSelector::lora().union(head())),
            Self::Supermask => Schedule::new(ParamSelector::masks().union(head())),
            Self::TwoPhase => {
                let later = bias().union(late.clone());
                Schedule::new(head()).then(Self::first_phase(steps).into(), later)
            }
        })
    }

    /// Whether the step trains nothing but the head, so that features serve.
    pub(super) fn is_head_only(self, step: u64, steps: u64) -> bool {
        match self {
            Self::Head => true,
            Self::TwoPhase => step < Self::first_phase(steps),
            Self::None
            | Self::Full
            | Self::Bitfit
            | Self::Lora
            | Self::Supermask
            | Self::Topgrad => false,
        }
    }

    fn first_phase(steps: u64) -> u64 {
        (steps as f64 * FIRST_PHASE) as u64
    }
}

/// The head's parameters, in either task's model.
pub(super) const HEAD: &str = r"(^|\.)head\.";
