//! The privacy plan: the one value from which sampling, clipping, noise and accounting come.

mod builder;
mod parts;
mod privacy_plan;
mod run;
mod selection;
mod statement;
mod stored;

pub use self::builder::PrivacyPlanBuilder;
pub use self::privacy_plan::PrivacyPlan;
pub use self::run::Progress;
pub use self::selection::PrivateSelection;
pub use self::statement::PrivacyStatement;

#[cfg(test)]
mod tests;
