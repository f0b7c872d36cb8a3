//! A bar that shows how far something is.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for so many of something, named in the plural.
pub fn bar(count: u64, what: &str) -> ProgressBar {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left {{msg}}");
    let style = ProgressStyle::with_template(&template);
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
