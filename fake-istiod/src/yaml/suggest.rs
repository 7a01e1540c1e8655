//! The nearest right name for a wrong one.

/// The candidate that `name` was probably meant to be: same letters in another case, else few typing mistakes away.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Names as people list them: `LDS, RDS, CDS or EDS`.
#[must_use]
pub fn listed<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} or {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_is_recognised_and_a_different_word_is_not() {
        let fields = ["subsets", "host", "trafficPolicy"];
        assert_eq!(nearest("subset", fields), Some("subsets"));
        assert_eq!(nearest("trafficpolicy", fields), Some("trafficPolicy"));
        assert_eq!(nearest("hsot", fields), Some("host"));
        assert_eq!(nearest("weight", fields), None);
        assert_eq!(nearest("", fields), None);
    }

    #[test]
    fn names_are_listed_as_people_do() {
        assert_eq!(listed(&["LDS", "RDS", "CDS", "EDS"]), "LDS, RDS, CDS or EDS");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed::<&str>(&[]), "nothing");
    }
}
