//! Parameters that several methods train.

use burn_dp::Result;
use burn_dp::selection::ParamSelector;

/// The head, in either task's model.
pub fn head() -> Result<ParamSelector> {
    ParamSelector::regex(r"(^|\.)head\.")
}

/// Every bias and shift, and the head.
pub fn biases_and_head() -> Result<ParamSelector> {
    Ok(ParamSelector::bias().union(head()?))
}
