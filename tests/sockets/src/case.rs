//! Cases as they stand in `cases/*.txt`.
//!
//! A file is a topic: a title after `#`, then cases. A case is a title after `##`, a paragraph that tells the rule and
//! where it is from, and indented steps: a process, an order to it (see `order.rs`), and after `->` its answer. One
//! capital letter in an answer stands for any word, the same one wherever the letter returns within the case; `B` is
//! the network's backlog and one.

use std::fmt;
use std::path::Path;

/// The cases of one file.
pub struct Topic {
    /// As in the file's first line.
    pub title: String,
    /// In the file's order.
    pub cases: Vec<Case>,
}

/// One specification.
#[derive(Debug)]
pub struct Case {
    /// Says what happens, in a sentence.
    pub title: String,
    /// The rule and where it is from.
    pub rule: String,
    /// What a network must have for it.
    pub needs: Vec<Need>,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// What not every network has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Processes that share a loopback interface and a wildcard address.
    OneHost,
    /// Processes that share files and Unix sockets.
    Unix,
    /// Addresses of IPv6.
    Ipv6,
    /// A process that can open as many sockets as fill a backlog.
    FullBacklog,
}

/// One order and its answer.
#[derive(Debug)]
pub struct Step {
    /// Who is told.
    pub process: String,
    /// What to do.
    pub order: String,
    /// What every network answers.
    pub answer: String,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.process, self.order)
    }
}

/// The files, in the order in which they are told.
const FILES: [&str; 9] = ["connect", "addresses", "data", "close", "reset", "backlog", "pressure", "unix", "kill"];

/// All cases, by topic.
///
/// # Panics
/// If a file does not read as the module tells.
#[must_use]
pub fn topics() -> Vec<Topic> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    FILES.iter().map(|file| folder.join(file).with_extension("txt")).map(|path| topic(&path)).collect()
}

#[expect(clippy::disallowed_methods, reason = "reads the specification, which is no part of a run")]
fn topic(path: &Path) -> Topic {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines();
    let title = lines.next().and_then(|line| line.strip_prefix("# ")).expect("a topic opens with its title");
    let mut cases: Vec<Case> = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if let Some(title) = line.strip_prefix("## ") {
            cases.push(Case { title: title.to_owned(), rule: String::new(), needs: Vec::new(), steps: Vec::new() });
            continue;
        }
        let case = cases.last_mut().unwrap_or_else(|| panic!("`{line}` belongs to no case"));
        if let Some(step) = line.strip_prefix("    ") {
            case.steps.push(self::step(step));
        } else {
            assert!(
                !line.starts_with(char::is_whitespace) && !line.contains(" -> "),
                "`{line}` is no rule and no step"
            );
            case.rule.push_str(if case.rule.is_empty() { "" } else { " " });
            case.rule.push_str(line);
        }
    }
    for case in &mut cases {
        assert!(!case.rule.is_empty(), "`{}` gives no rule", case.title);
        assert!(!case.steps.is_empty(), "`{}` has no steps", case.title);
        case.needs = needs(&case.steps);
    }
    Topic { title: title.to_owned(), cases }
}

fn step(line: &str) -> Step {
    let parts = line.split_once(" -> ").and_then(|(left, answer)| Some((left.split_once(": ")?, answer)));
    let ((process, order), answer) = parts.unwrap_or_else(|| panic!("`{line}` is no `process: order -> answer`"));
    Step { process: process.to_owned(), order: order.trim().to_owned(), answer: answer.trim().to_owned() }
}

/// The places named in a case tell what it needs.
fn needs(steps: &[Step]) -> Vec<Need> {
    let mentions =
        |places: &[&str]| steps.iter().any(|step| step.order.split_whitespace().any(|word| places.contains(&word)));
    let mut needs = Vec::new();
    if mentions(&["loopback", "loopback2", "any", "any6", "loopback6"]) {
        needs.push(Need::OneHost);
    }
    if mentions(&["unix", "long"]) {
        needs.push(Need::Unix);
    }
    if mentions(&["any6", "loopback6"]) {
        needs.push(Need::Ipv6);
    }
    if steps.iter().any(|step| step.order.starts_with("connect until it waits")) {
        needs.push(Need::FullBacklog);
    }
    needs
}
