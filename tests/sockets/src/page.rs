//! `docs/sockets.md`: what was held against what.

use std::fmt::Write as _;

use crate::case::Topic;
use crate::differences::DIFFERENCES;
use crate::runner::Run;

/// The page, from the runs of all cases on these networks.
#[must_use]
pub fn page(topics: &[Topic], networks: &[&'static str], runs: &[Run]) -> String {
    let cases: usize = topics.iter().map(|topic| topic.cases.len()).sum();
    let steps: usize = topics.iter().flat_map(|topic| &topic.cases).map(|case| case.steps.len()).sum();
    let mut page = format!("{}{cases} cases, {steps} steps, on Linux.\n", include_str!("../page.md"));
    for topic in topics {
        let _ = write!(page, "\n## {}\n\n| case | rule | {} |\n|---|---|", topic.title, networks.join(" | "));
        let _ = writeln!(page, "{}", "---|".repeat(networks.len()));
        for case in &topic.cases {
            let of = |network: &&str| runs.iter().find(|run| run.case == case.title && run.network == *network);
            let cells: Vec<&str> = networks.iter().map(|network| of(network).map_or("not run", cell)).collect();
            let _ = writeln!(page, "| {} | {} | {} |", case.title, case.rule.replace('|', "\\|"), cells.join(" | "));
        }
    }
    page.push_str("\n## Differences\n\n");
    if DIFFERENCES.is_empty() {
        page.push_str("None is known.\n");
    }
    for difference in DIFFERENCES {
        let networks = difference.networks.join("* and *");
        let _ =
            writeln!(page, "On *{networks}*: {}\n\n| case | step | answer there |\n|---|---|---|", difference.reason);
        for it in difference.answers {
            let _ = writeln!(page, "| {} | `{}` | {} |", it.case, it.step, it.answer);
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn cell(run: &Run) -> &'static str {
    match &run.mismatches {
        None => "–",
        Some(mismatches) if mismatches.is_empty() => "as told",
        Some(_) => "differs",
    }
}
