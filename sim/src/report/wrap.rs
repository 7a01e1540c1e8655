//! Long lines on a terminal: broken between words, the rest of them as far in as the text itself.

/// The narrowest that text is broken to.
const NARROWEST: usize = 30;

/// `text` in lines of at most `width` characters, of which `taken` are in use already on each; words are kept whole.
pub(super) fn wrap(text: &str, taken: usize, width: Option<usize>) -> Vec<String> {
    let Some(room) = width.map(|width| width.saturating_sub(taken).max(NARROWEST)) else {
        return vec![text.to_owned()];
    };
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if used > 0 && used + length > room {
            lines.push(String::new());
            used = 0;
        }
        used += word.chars().count();
        lines.last_mut().expect("there is one").push_str(word);
    }
    lines.iter_mut().for_each(|line| line.truncate(line.trim_end().len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_are_broken_between_words() {
        let text = "one two three four five six seven eight nine ten";
        assert_eq!(wrap(text, 10, Some(45)), ["one two three four five six seven", "eight nine ten"]);
        assert_eq!(wrap(text, 10, None), [text]);
        let word = "x".repeat(100);
        assert_eq!(wrap(&format!("a {word} b"), 0, Some(50)), ["a", &word, "b"]);
        assert_eq!(wrap("", 0, Some(50)), [""]);
        assert!(wrap(text, 60, Some(50)).iter().all(|line| line.len() <= 30), "never narrower than is of use");
    }
}
