//! The command that repeats a run.

use super::file::Action;
use super::{RunOptions, Scenario};
use crate::engine::Network;

impl Scenario {
    /// The command that repeats a run with these options, as a shell takes it.
    #[must_use]
    pub fn again(&self, options: &RunOptions) -> String {
        let seed = options.seed;
        let network = match options.network {
            Network::Simulated => String::new(),
            network => format!(" --network {}", network.name()),
        };
        let applies_input = self.file.steps.iter().any(|step| match step.action() {
            Some(Action::Apply(paths) | Action::Delete(paths)) => paths.iter().any(|path| path.value == "-"),
            _ => false,
        });
        let path = &self.path;
        if path == "-" {
            return format!(
                "hermesh run - --seed {seed}{network} < FILE, where FILE holds the scenario that standard input held"
            );
        }
        // An argument that begins with a dash would be an option.
        let path = if path.starts_with('-') { quoted(&format!("./{path}")) } else { quoted(path) };
        if applies_input {
            return format!(
                "hermesh run {path} --seed {seed}{network} < FILE, where FILE holds what standard input held"
            );
        }
        format!("hermesh run {path} --seed {seed}{network}")
    }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell_if_need_be() {
        for (word, quoted_word) in [
            ("a/b-1.yaml", "a/b-1.yaml"),
            ("my tests/a.yaml", "'my tests/a.yaml'"),
            ("it's.yaml", r"'it'\''s.yaml'"),
            ("$(x).yaml", "'$(x).yaml'"),
            ("a;b", "'a;b'"),
        ] {
            assert_eq!(quoted(word), quoted_word);
        }
    }
}
