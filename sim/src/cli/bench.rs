//! `hermesh bench`

use std::process::{Command, Stdio};
use std::time::Duration;

use hermesh::bench::mesh::{self, Size};
use hermesh::bench::sim::{self, Load};
use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};
use serde_json::json;

use super::mistake::{Mistake, not_understood};
use super::play::NotPlayed;
use super::{Exit, Format, MeshArgs, SimArgs, TutorialArgs, output, play};

/// More connections or calls a second than a machine has memory or patience for.
const WHOLE_LOAD_MAX: u64 = 1_000_000;

/// Pods that call one another, without a mesh.
pub(super) fn sim(args: &SimArgs) -> Exit {
    for (flag, each) in [("connections", args.connections), ("rps", args.rps)] {
        let all = u64::from(args.pods) * u64::from(each);
        if all > WHOLE_LOAD_MAX {
            let message = format!("--pods {} times --{flag} {each} is {all}; at most {WHOLE_LOAD_MAX}", args.pods);
            return not_understood(&[Mistake::Arguments(message)], Format::Human);
        }
    }
    let load = Load {
        pods: args.pods,
        time: Duration::from_secs(args.seconds),
        connections: args.connections,
        rps: args.rps,
        ..Load::default()
    };
    let mut measurements = match (0..args.runs).map(|_| sim::run(&load)).collect::<Result<Vec<_>, _>>() {
        Ok(measurements) => measurements,
        Err(error) => {
            output::err(&format!("hermesh: the load was not carried through: {error}\n"));
            return Exit::Fault;
        }
    };
    let repeats = measurements.windows(2).all(|pair| pair[0].digest == pair[1].digest);
    measurements.sort_by(|a, b| a.run_s.total_cmp(&b.run_s));
    let median = &measurements[measurements.len() / 2];
    if args.json {
        output::json(&json!({"load": load, "runs": args.runs, "median": median}));
    } else {
        let SimArgs { pods, seconds, connections, rps, runs, .. } = args;
        output::out(&format!(
            "{pods} pods for {seconds} s, {connections} connections and {rps} calls a second each, median of {runs}\n{median}\n"
        ));
    }
    judged(repeats)
}

/// Pods in a mesh.
pub(super) fn mesh(args: &MeshArgs) -> Exit {
    let calls = u64::from(args.rps) * args.seconds;
    if calls > hermesh::LOAD_CALLS_MAX {
        let message = format!(
            "--seconds {} times --rps {} is {calls} calls of a pod; at most {}",
            args.seconds,
            args.rps,
            hermesh::LOAD_CALLS_MAX
        );
        return not_understood(&[Mistake::Arguments(message)], Format::Human);
    }
    let size = Size { pods: args.pods, time: Duration::from_secs(args.seconds), rps: args.rps, ..Size::default() };
    let mut measurements = match (0..args.runs).map(|_| mesh::run(&size)).collect::<Result<Vec<_>, _>>() {
        Ok(measurements) => measurements,
        Err(error) => {
            output::err(&format!("hermesh: nothing was measured: {error}\n"));
            return Exit::Fault;
        }
    };
    let repeats = measurements.windows(2).all(|pair| pair[0].digest == pair[1].digest);
    // Later runs find the memory of those before them.
    let memory = measurements[0].rss_per_pod_bytes;
    measurements.sort_by(|a, b| a.run_s.total_cmp(&b.run_s));
    let mut median = measurements.swap_remove(measurements.len() / 2);
    median.rss_per_pod_bytes = memory;
    if args.json {
        output::json(&json!({"size": size, "runs": args.runs, "median": median}));
    } else {
        let MeshArgs { pods, seconds, rps, runs, .. } = args;
        output::out(&format!(
            "{pods} injected pods for {seconds} s, {rps} calls a second each, median of {runs}\n{median}\n"
        ));
    }
    judged(repeats)
}

/// Whether the runs gave one trace.
fn judged(repeats: bool) -> Exit {
    if repeats {
        Exit::Held
    } else {
        output::err("hermesh is at fault: the same load gave different traces\n");
        Exit::Fault
    }
}

/// The tutorial, over and over.
pub(super) fn tutorial(args: &TutorialArgs) -> Exit {
    let scenario = match Scenario::open(&args.file) {
        Ok(scenario) => scenario,
        Err(error) => return not_understood(&[Mistake::Scenario(error)], Format::Human),
    };
    let mut within = Vec::new();
    for seed in 1..=u64::from(args.runs) {
        match play::apart(&scenario, &RunOptions::seed(seed)) {
            Ok((run, wall)) if run.verdict == Verdict::Held => within.push(wall),
            Ok((run, wall)) => {
                let styles = report::Styles::coloured();
                output::err(&format!("{}\n{}\n", report::human(&run, &styles), report::totals(&run, wall, &styles)));
                output::err("hermesh: nothing was measured: the scenario does not hold\n");
                return Exit::Failed;
            }
            Err(NotPlayed::Setting(error)) => return not_understood(&[Mistake::Scenario(error)], Format::Human),
            Err(NotPlayed::Fault(fault)) => {
                output::err(&format!("hermesh is at fault: {fault}\n"));
                return Exit::Fault;
            }
        }
    }
    let as_process = (1..=args.runs).map(|seed| process(args, seed)).collect::<std::io::Result<Vec<_>>>();
    let as_process = match as_process {
        Ok(times) => median(times),
        Err(error) => {
            output::err(&format!("hermesh: nothing was measured: {error}\n"));
            return Exit::Fault;
        }
    };
    let within = median(within);
    if args.json {
        let (within, as_process) = (within.as_secs_f64() * 1e3, as_process.as_secs_f64() * 1e3);
        output::json(&json!({
            "scenario": scenario.name(), "runs": args.runs,
            "median": {"run_ms": within, "process_ms": as_process},
        }));
    } else {
        output::out(&format!(
            "{}, median of {}: {:.1} ms for a run, {:.1} ms as a process of its own\n",
            scenario.name(),
            args.runs,
            within.as_secs_f64() * 1e3,
            as_process.as_secs_f64() * 1e3,
        ));
    }
    Exit::Held
}

/// From starting a process to its end.
fn process(args: &TutorialArgs, seed: u32) -> std::io::Result<Duration> {
    let begin = play::now();
    let status = Command::new(std::env::current_exe()?)
        .args(["run", "--seed", &seed.to_string()])
        .arg(&args.file)
        .stdout(Stdio::null())
        .status()?;
    let took = begin.elapsed();
    // Another run than the one that was to be measured.
    if !status.success() { Err(std::io::Error::other(format!("seed {seed} did not hold: {status}"))) } else { Ok(took) }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
