//! `hermesh run`

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use hermesh::report::{self, Entry, Report};
use hermesh::scenario::{Run, RunOptions, Scenario, Verdict};
use hermesh::trace::{Trace, first_difference};
use hermesh_istiod::yaml;
use hermesh_runtime::Level;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::input::{self, Mistake};
use super::play::{self, Played};
use super::{Exit, Format, RunArgs, output};

/// The seed if nobody names one.
const SEED_DEFAULT: u64 = 1;

pub(super) fn run(args: &RunArgs) -> Exit {
    let scenarios = match input::scenarios(&args.files) {
        Ok(scenarios) => scenarios,
        Err(mistakes) => return not_understood(&mistakes, args.format),
    };
    if args.trace.is_some() && (scenarios.len() != 1 || args.seeds.is_some_and(|seeds| seeds != 1)) {
        let message = "--trace writes one run: it needs a single scenario and a single seed".to_owned();
        return not_understood(&[Mistake::Path(message)], args.format);
    }
    let mut command = RunCommand { args, report: Report::default(), exit: Exit::Held };
    for scenario in &scenarios {
        let seed = args.seed.or_else(|| scenario.seed()).unwrap_or(SEED_DEFAULT);
        let end = seed.checked_add(args.seeds.unwrap_or(1));
        match args.seeds {
            Some(seeds) if seeds > 1 => match end {
                Some(end) => command.many(scenario, seed..end),
                None => {
                    let message = format!("--seeds {seeds} from seed {seed} leaves the range of seeds, {}", u64::MAX);
                    return not_understood(&[Mistake::Path(message)], args.format);
                }
            },
            _ if args.verify => command.twice(scenario, seed),
            _ => command.once(scenario, seed),
        }
    }
    if args.format == Format::Json {
        output::json(&command.report.to_json());
    }
    command.exit
}

struct RunCommand<'a> {
    args: &'a RunArgs,
    report: Report,
    exit: Exit,
}

impl RunCommand<'_> {
    fn once(&mut self, scenario: &Scenario, seed: u64) {
        let played = play::apart(scenario, &self.options(seed));
        if let Some((run, _)) = self.tell(played) {
            self.write_trace(&run.trace);
        }
    }

    fn twice(&mut self, scenario: &Scenario, seed: u64) {
        let (one, other) = play::twice(scenario, &self.options(seed));
        let Some((one, _)) = self.tell(one) else { return };
        self.write_trace(&one.trace);
        let verified = match other {
            Ok((other, _)) => same(&one, &other),
            Err(fault) => Err(fault),
        };
        match verified {
            Ok(message) => self.say(&message),
            Err(message) => self.fault(&format!("the same seed gave two different runs: {message}")),
        }
    }

    fn many(&mut self, scenario: &Scenario, seeds: std::ops::Range<u64>) {
        let (first, last, count) = (seeds.start, seeds.end - 1, seeds.end - seeds.start);
        let progress = progress(scenario.name(), count);
        let begin = play::now();
        let mut failures: Vec<u64> = Vec::new();
        let mut first_failure: Option<(Run, Duration)> = None;
        let mut faults: Vec<(u64, String)> = Vec::new();
        let mut entries = Vec::new();
        let verify = self.args.verify;
        let options = |seed| self.options(seed);
        play::seeds(scenario, seeds, options, |seed, played| {
            progress.inc(1);
            let played = if verify { again(scenario, &options(seed), played) } else { played };
            match played {
                Ok((run, wall)) => {
                    entries.push((seed, Entry::new(&run, wall)));
                    if run.verdict == Verdict::Failed {
                        progress.set_message("an expectation failed");
                        failures.push(seed);
                        // Thousands of traces would fill the memory: only that of the lowest seed stays.
                        if first_failure.as_ref().is_none_or(|(first, _)| seed < first.seed) {
                            first_failure = Some((run, wall));
                        }
                    }
                }
                Err(fault) => faults.push((seed, fault)),
            }
        });
        progress.finish_and_clear();
        failures.sort_unstable();
        faults.sort();
        entries.sort_by_key(|(seed, _)| *seed);
        self.report.extend(entries.into_iter().map(|(_, entry)| entry));
        if let Some((run, wall)) = first_failure {
            self.exit = self.exit.max(Exit::Failed);
            self.print(&run, wall);
        }
        faults.iter().for_each(|(seed, fault)| self.fault(&format!("seed {seed}: {fault}")));

        let wall = report::compact(begin.elapsed());
        let seeds = format!("{}, seeds {first} to {last}", scenario.name());
        let bad = failures.len() + faults.len();
        self.say(&match bad {
            0 => format!("all {count} seeds held in {wall} - {seeds}"),
            bad => {
                let numbers: Vec<String> = failures.iter().map(ToString::to_string).collect();
                let others =
                    if numbers.len() > 1 { format!("; failed: {}", numbers.join(", ")) } else { String::new() };
                format!("{bad} of {count} seeds did not hold in {wall} - {seeds}{others}")
            }
        });
    }

    fn options(&self, seed: u64) -> RunOptions {
        let level = match (self.args.verify, &self.args.trace) {
            (true, _) => Level::Wire,
            (false, Some(_)) => Level::Debug,
            (false, None) => Level::Info,
        };
        RunOptions::seed(seed).level(level)
    }

    /// Reports a run; there is none to go on with if Hermesh was at fault.
    fn tell(&mut self, played: Played) -> Option<(Run, Duration)> {
        match played {
            Ok((run, wall)) => {
                if run.verdict == Verdict::Failed {
                    self.exit = self.exit.max(Exit::Failed);
                }
                self.print(&run, wall);
                self.report.add(&run, wall);
                Some((run, wall))
            }
            Err(fault) => {
                self.fault(&fault);
                None
            }
        }
    }

    fn print(&self, run: &Run, wall: Duration) {
        if self.args.format == Format::Human {
            let styles = report::Styles::coloured();
            output::out(&format!("{}\n{}\n", report::human(run, &styles), report::totals(run, wall, &styles)));
        }
    }

    fn say(&self, message: &str) {
        if self.args.format == Format::Human {
            output::out(&format!("{message}\n"));
        }
    }

    fn fault(&mut self, message: &str) {
        self.exit = Exit::Fault;
        self.report.add_fault(message);
        output::err(&format!("hermesh is at fault: {message}\n"));
    }

    fn write_trace(&mut self, trace: &Trace) {
        let Some(path) = &self.args.trace else { return };
        if let Err(error) = write(trace, path) {
            output::err(&format!("hermesh: cannot write the trace to {}: {error}\n", path.display()));
            self.exit = self.exit.max(Exit::NotUnderstood);
        }
    }
}

/// Plays a seed once more and compares.
fn again(scenario: &Scenario, options: &RunOptions, played: Played) -> Played {
    let (one, wall) = played?;
    let (other, _) = play::apart(scenario, options)?;
    match same(&one, &other) {
        Ok(_) => Ok((one, wall)),
        Err(difference) => Err(format!("the same seed gave two different runs: {difference}")),
    }
}

/// Whether two runs wrote the same trace, byte by byte.
fn same(one: &Run, other: &Run) -> Result<String, String> {
    if let Some(difference) = first_difference(&one.trace, &other.trace) {
        return Err(difference.to_string());
    }
    if one.trace.digest() != other.trace.digest() {
        return Err("the digests differ, and no event does".to_owned());
    }
    Ok(format!(
        "verified: two runs on two threads wrote the same {} events, {}",
        one.trace.len(),
        one.trace.digest_hex()
    ))
}

fn write(trace: &Trace, path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    trace.write_json_lines(&mut file)?;
    file.flush()
}

fn progress(name: &str, count: u64) -> ProgressBar {
    if !output::is_watched() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{prefix} {bar:30} {pos} of {len} seeds, {per_sec}, {eta} left {msg}");
    let bar = ProgressBar::new(count).with_prefix(name.to_owned());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn not_understood(mistakes: &[Mistake], format: Format) -> Exit {
    match format {
        Format::Human => {
            for mistake in mistakes {
                output::err(&match mistake {
                    Mistake::Scenario(error) => format!("{}\n", error.render(&yaml::Styles::coloured())),
                    Mistake::Path(message) => format!("hermesh: {message}\n"),
                });
            }
            let count = mistakes.iter().map(Mistake::count).sum::<usize>();
            let mistakes = if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") };
            output::err(&format!("{mistakes}; nothing was run\n"));
        }
        Format::Json => {
            let diagnostics: Vec<_> = mistakes.iter().flat_map(Mistake::to_json).collect();
            output::json(&json!({
                "format": report::FORMAT,
                "version": env!("CARGO_PKG_VERSION"),
                "verdict": "not-understood",
                "diagnostics": diagnostics,
            }));
        }
    }
    Exit::NotUnderstood
}

impl Mistake {
    fn count(&self) -> usize {
        match self {
            Self::Scenario(error) => error.diagnostics.len(),
            Self::Path(_) => 1,
        }
    }

    fn to_json(&self) -> Vec<serde_json::Value> {
        match self {
            Self::Scenario(error) => error.diagnostics.iter().map(|diagnostic| json!(diagnostic)).collect(),
            Self::Path(message) => vec![json!({"severity": "error", "code": "unreadable", "message": message})],
        }
    }
}
