//! Runs cases on networks and tells where answers are not as told.

use comfy_table::{ContentArrangement, Table, presets};

use crate::case::{Case, Step};
use crate::differences::Difference;
use crate::network::Network;
use crate::wire::Names;

/// How a case went on a network.
pub struct Run {
    /// [`Network::name`].
    pub network: &'static str,
    /// [`Case::title`].
    pub case: String,
    /// What it answered otherwise; `None` if the network has not what the case needs.
    pub mismatches: Option<Vec<Mismatch>>,
}

/// A step whose answer is not as told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Process and order.
    pub step: String,
    /// As the case tells.
    pub expected: String,
    /// As the network answered.
    pub seen: String,
}

/// Runs cases on networks, each network on a thread of its own.
///
/// # Panics
/// If a world does not begin or cannot be talked to.
#[must_use]
pub fn run_all(cases: &[&Case], networks: &[Box<dyn Network>]) -> Vec<Run> {
    std::thread::scope(|threads| {
        let on = |network: &dyn Network| cases.iter().map(|case| run(case, network)).collect::<Vec<_>>();
        let threads: Vec<_> = networks.iter().map(|network| threads.spawn(move || on(network.as_ref()))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("worlds can be talked to")).collect()
    })
}

/// Runs a case on a network.
#[must_use]
pub fn run(case: &Case, network: &dyn Network) -> Run {
    let runs = case.needs.iter().all(|need| network.has(*need));
    let mismatches = runs.then(|| steps(case, network));
    Run { network: network.name(), case: case.title.clone(), mismatches }
}

fn steps(case: &Case, network: &dyn Network) -> Vec<Mismatch> {
    let mut world = network.begin();
    let mut names = Names::with_backlog(network.backlog());
    let mut mismatches = Vec::new();
    for step in &case.steps {
        let Step { process, order, answer } = step;
        let seen = if order == "kill" {
            world.kill(process);
            "ok".to_owned()
        } else {
            let told = names.to_addresses(order, process, world.as_mut());
            let seen = world.tell(process, &told, answer != "pending");
            names.words_of(&seen, order, process, world.as_mut())
        };
        if !names.agree(answer, &seen) {
            mismatches.push(Mismatch { step: step.to_string(), expected: answer.clone(), seen });
        }
    }
    mismatches
}

/// Everything that differs and is not listed, and everything listed that does not differ, for people to read; empty if
/// all is as told.
#[must_use]
pub fn table(runs: &[Run], different: &[Difference]) -> String {
    let listed = |run: &Run, mismatch: &Mismatch| {
        let mut on = different.iter().filter(|it| it.networks.contains(&run.network));
        on.any(|it| it.answers.iter().any(|answer| answer.tells(run, mismatch)))
    };
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["case", "step", "as told", "seen", "network"]);
    for run in runs {
        for mismatch in run.mismatches.iter().flatten().filter(|mismatch| !listed(run, mismatch)) {
            let Mismatch { step, expected, seen } = mismatch;
            table.add_row([run.case.as_str(), step, expected, seen, run.network]);
        }
    }
    for difference in different {
        for it in difference.answers {
            for run in runs.iter().filter(|run| difference.networks.contains(&run.network) && run.case == it.case) {
                if !run.mismatches.iter().flatten().any(|mismatch| it.tells(run, mismatch)) {
                    let listed = format!("listed as different: {}", it.answer);
                    table.add_row([it.case, it.step, &listed, "no such difference", run.network]);
                }
            }
        }
    }
    if table.row_count() == 0 { String::new() } else { table.to_string() }
}
