//! `hermesh run`

use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh::report::{self, Entry, Report};
use hermesh::scenario::{Run, RunOptions, Scenario, Verdict};
use hermesh::trace::{Trace, first_difference};
use hermesh_runtime::Level;
use indicatif::{ProgressBar, ProgressStyle};

use super::mistake::{Mistake, not_understood};
use super::play::{self, NotPlayed, Played};
use super::trace_file::TraceFile;
use super::{Exit, Format, RunArgs, input, output};

/// The seed if nobody names one.
const SEED_DEFAULT: u64 = 1;

pub(super) fn run(args: &RunArgs) -> Exit {
    let (scenarios, trace) = match prepare(args) {
        Ok(prepared) => prepared,
        Err(mistakes) => return not_understood(&mistakes, args.format),
    };
    let mut command = RunCommand { args, trace, report: Report::default(), exit: Exit::Held };
    for (scenario, seeds) in &scenarios {
        match (seeds.start() == seeds.end(), args.verify) {
            (true, false) => command.once(scenario, *seeds.start()),
            (true, true) => command.twice(scenario, *seeds.start()),
            (false, _) => command.many(scenario, seeds.clone()),
        }
    }
    if args.format == Format::Json {
        output::json(&command.report.to_json());
    }
    command.exit
}

/// All that can be found wrong before anything is run.
type Prepared = (Vec<(Scenario, RangeInclusive<u64>)>, Option<TraceFile>);

fn prepare(args: &RunArgs) -> Result<Prepared, Vec<Mistake>> {
    let wrong = |message: String| vec![Mistake::Arguments(message)];
    let scenarios = input::scenarios(&args.files)?;
    let count = args.seeds.unwrap_or(1);
    let with_seeds = |scenario: Scenario| {
        let seed = args.seed.or_else(|| scenario.seed()).unwrap_or(SEED_DEFAULT);
        match seed.checked_add(count - 1) {
            Some(last) => Ok((scenario, seed..=last)),
            None => {
                Err(wrong(format!("--seeds {count} from seed {seed} leaves the range of seeds, 0 to {}", u64::MAX)))
            }
        }
    };
    let scenarios = scenarios.into_iter().map(with_seeds).collect::<Result<Vec<_>, _>>()?;
    let trace = match (&args.trace, scenarios.as_slice()) {
        (None, _) => None,
        (Some(path), [(scenario, _)]) if count == 1 => Some(TraceFile::open(path, scenario).map_err(wrong)?),
        (Some(_), _) => {
            return Err(wrong("--trace writes one run: it needs a single scenario and a single seed".to_owned()));
        }
    };
    Ok((scenarios, trace))
}

struct RunCommand<'a> {
    args: &'a RunArgs,
    trace: Option<TraceFile>,
    report: Report,
    exit: Exit,
}

impl RunCommand<'_> {
    fn once(&mut self, scenario: &Scenario, seed: u64) {
        let played = play::apart(scenario, &self.options(seed));
        if let Some((run, wall)) = self.told(played) {
            self.report.extend([Entry::new(&run, wall)]);
            self.write_trace(&run.trace);
        }
    }

    fn twice(&mut self, scenario: &Scenario, seed: u64) {
        let (one, other) = play::twice(scenario, &self.options(seed));
        let Some((one, wall)) = self.told(one) else { return };
        self.write_trace(&one.trace);
        let entry = Entry::new(&one, wall);
        match other.and_then(|(other, _)| same(&one, &other)) {
            Ok(message) => {
                self.say(&message);
                self.report.extend([entry.verified()]);
            }
            Err(difference) => {
                self.report.extend([entry]);
                self.not_played(difference);
            }
        }
    }

    fn many(&mut self, scenario: &Scenario, seeds: RangeInclusive<u64>) {
        let (first, last) = (*seeds.start(), *seeds.end());
        let count = (last - first).saturating_add(1);
        let progress = progress(scenario.name(), count);
        let begin = play::now();
        let mut failures: Vec<u64> = Vec::new();
        let mut first_failure: Option<(Run, Duration)> = None;
        let mut missing: Vec<(u64, NotPlayed)> = Vec::new();
        let mut entries = Vec::new();
        let verify = self.args.verify;
        let options = |seed| self.options(seed);
        play::seeds(scenario, seeds, options, |seed, played| {
            progress.inc(1);
            let played = if verify { again(scenario, &options(seed), played) } else { played };
            match played {
                Ok((run, wall)) => {
                    let entry = Entry::new(&run, wall);
                    entries.push((seed, if verify { entry.verified() } else { entry }));
                    if run.verdict == Verdict::Failed {
                        progress.set_message("an expectation failed");
                        failures.push(seed);
                        // Thousands of traces would fill the memory: only that of the lowest seed stays.
                        if first_failure.as_ref().is_none_or(|(first, _)| seed < first.seed) {
                            first_failure = Some((run, wall));
                        }
                    }
                }
                Err(why) => missing.push((seed, why)),
            }
        });
        progress.finish_and_clear();
        failures.sort_unstable();
        missing.sort_by_key(|(seed, _)| *seed);
        entries.sort_by_key(|(seed, _)| *seed);
        self.report.extend(entries.into_iter().map(|(_, entry)| entry));
        if let Some((run, wall)) = first_failure {
            self.exit = self.exit.and(Exit::Failed);
            self.print(&run, wall);
        }
        let bad = failures.len() + missing.len();
        for (seed, why) in missing {
            match why {
                NotPlayed::Fault(fault) => self.not_played(NotPlayed::Fault(format!("seed {seed}: {fault}"))),
                setting @ NotPlayed::Setting(_) => self.not_played(setting),
            }
        }

        let wall = report::compact(begin.elapsed());
        let seeds = format!("{}, seeds {first} to {last}", scenario.name());
        let verified = if verify { ", verified by a second run of each," } else { "" };
        self.say(&match bad {
            0 => format!("all {count} seeds held{verified} in {wall} - {seeds}"),
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

    /// Prints a run; there is none to go on with if it was not played.
    fn told(&mut self, played: Played) -> Option<(Run, Duration)> {
        match played {
            Ok((run, wall)) => {
                if run.verdict == Verdict::Failed {
                    self.exit = self.exit.and(Exit::Failed);
                }
                self.print(&run, wall);
                Some((run, wall))
            }
            Err(why) => {
                self.not_played(why);
                None
            }
        }
    }

    fn print(&self, run: &Run, wall: Duration) {
        if self.args.format == Format::Human {
            let styles = report::Styles::coloured().wide(output::width());
            output::out(&format!("{}\n{}\n", report::human(run, &styles), report::totals(run, wall, &styles)));
        }
    }

    fn say(&self, message: &str) {
        if self.args.format == Format::Human {
            output::out(&format!("{message}\n"));
        }
    }

    fn not_played(&mut self, why: NotPlayed) {
        match why {
            NotPlayed::Fault(message) => {
                self.exit = self.exit.and(Exit::Fault);
                self.report.add_fault(&*message);
                output::err(&format!("hermesh is at fault: {message}\n"));
            }
            NotPlayed::Setting(error) => self.mistake(&Mistake::Scenario(error)),
        }
    }

    fn mistake(&mut self, mistake: &Mistake) {
        self.exit = self.exit.and(Exit::NotUnderstood);
        self.report.add_diagnostics(mistake.to_json());
        if self.args.format == Format::Human {
            mistake.print();
        }
    }

    fn write_trace(&mut self, trace: &Trace) {
        if let Some(Err(message)) = self.trace.as_ref().map(|file| file.write(trace)) {
            self.mistake(&Mistake::Path(message));
        }
    }
}

/// Plays a seed once more and compares.
fn again(scenario: &Scenario, options: &RunOptions, played: Played) -> Played {
    let (one, wall) = played?;
    let (other, _) = play::apart(scenario, options)?;
    same(&one, &other).map(|_| (one, wall))
}

/// Whether two runs wrote the same trace, byte by byte.
fn same(one: &Run, other: &Run) -> Result<String, NotPlayed> {
    let differs = |how: String| Err(NotPlayed::Fault(format!("the same seed gave two different runs: {how}")));
    if let Some(difference) = first_difference(&one.trace, &other.trace) {
        return differs(difference.to_string());
    }
    if one.trace.digest() != other.trace.digest() {
        return differs("the digests differ, and no event does".to_owned());
    }
    Ok(format!(
        "verified: two runs on two threads wrote the same {} events, {}",
        one.trace.len(),
        one.trace.digest_hex()
    ))
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
