//! Suggestions for a mistyped name.

/// The maximum number of suggestions.
const MOST: usize = 3;

/// "the nearest names are ..." among `paths` and the modules on the way to them, for a message.
pub(crate) fn nearest<'p>(name: &str, paths: impl IntoIterator<Item = &'p str>) -> String {
    let mut names: Vec<&str> = Vec::new();
    for path in paths {
        let modules = path.match_indices('.').filter_map(|(end, _)| path.get(..end));
        names.extend(modules.chain([path]));
    }
    names.sort_unstable();
    names.dedup();
    // Edit distance alone would prefer short names over names with the same beginning.
    let alike = |other: &str| strsim::jaro_winkler(name, other);
    let mut names: Vec<(f64, &str)> =
        names.into_iter().map(|other| (alike(other), other)).collect();
    names.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let names: Vec<String> = names.iter().take(MOST).map(|(_, name)| format!("`{name}`")).collect();
    match names.is_empty() {
        true => "there is nothing of the kind".into(),
        false => format!("the nearest names are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn modules_and_parameters_are_named_nearest_first() {
        let paths = ["embedding.weight", "mix.weight", "mix.bias", "head.weight"];
        let text = nearest("embb", paths);
        assert!(
            text.starts_with("the nearest names are `embedding`, `embedding.weight`,"),
            "{text}"
        );
        let text = nearest("mix.wieght", paths);
        assert!(text.starts_with("the nearest names are `mix.weight`,"), "{text}");
        assert_eq!(nearest("a", []), "there is nothing of the kind");
    }
}
