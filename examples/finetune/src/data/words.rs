//! How errors name things.

/// Below this Jaro-Winkler similarity two names have nothing to do with each other.
const SIMILAR: f64 = 0.8;

/// `; did you mean ...?` with the known name that is nearest, or nothing when none is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let plain = |name: &str| name.trim().to_lowercase();
    let similarity = |known: &str| strsim::jaro_winkler(&plain(name), &plain(known));
    let nearest = known.into_iter().map(|known| (similarity(known), known));
    match nearest.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((similarity, known)) if similarity >= SIMILAR => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// At most 40 characters of what a file says, on one line, to be quoted in a message.
pub(super) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().nth(40).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// The first ten names, and how many more there are.
pub(super) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(10);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    shown.join(", ") + &more
}

/// `1 record`, `2 records`.
pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
