//! How one record's gradient is bounded: the settings, and the scale factors that follow from them.

mod adaptive;
mod automatic;
mod factor;
mod per_group;
mod rule;

pub use adaptive::{AdaptiveClipping, ClippingState};
pub use automatic::AutomaticClipping;
pub use factor::clip_factor;
pub use per_group::PerGroupClipping;
pub use rule::Clipping;

#[cfg(test)]
mod tests;
