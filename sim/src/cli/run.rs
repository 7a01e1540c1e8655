//! `hermesh run`

use std::io::Write as _;
use std::ops::{ControlFlow, RangeInclusive};
use std::time::Duration;

use hermesh::report::{self, Entry, Report};
use hermesh::scenario::{Run, RunOptions, Scenario, Verdict};
use hermesh::trace::{Trace, first_difference};
use hermesh_runtime::Level;
use indicatif::{ProgressBar, ProgressStyle};

use super::mistake::{Mistake, not_understood};
use super::output_file::OutputFile;
use super::play::{self, NotPlayed, Played};
use super::snapshot::{Compared, SnapshotFile};
use super::{Exit, Format, RunArgs, input, output};

/// The seed if nobody names one.
const SEED_DEFAULT: u64 = 1;

/// After how many seeds that did not hold `--seeds` has seen enough.
const BAD_SEEDS_MAX: usize = 10;

pub(super) fn run(args: &RunArgs) -> Exit {
    let Prepared { scenarios, trace, junit, snapshot } = match prepare(args) {
        Ok(prepared) => prepared,
        Err(mistakes) => return not_understood(&mistakes, args.format),
    };
    let mut command = RunCommand { args, trace, snapshot, report: Report::default(), exit: Exit::Held };
    for (scenario, seeds) in &scenarios {
        match (seeds.start() == seeds.end(), args.verify) {
            (true, false) => command.once(scenario, *seeds.start()),
            (true, true) => command.twice(scenario, *seeds.start()),
            (false, _) => command.many(scenario, seeds.clone()),
        }
    }
    if let Some(file) = junit {
        let xml = command.report.to_junit();
        if let Err(message) = file.write("report", |file| file.write_all(xml.as_bytes())) {
            command.mistake(&Mistake::Path(message));
        }
    }
    if args.format == Format::Json {
        output::json(&command.report.to_json());
    }
    command.exit
}

/// All that can be found wrong before anything is run.
struct Prepared {
    /// With their seeds.
    scenarios: Vec<(Scenario, RangeInclusive<u64>)>,
    trace: Option<OutputFile>,
    junit: Option<OutputFile>,
    snapshot: Option<SnapshotFile>,
}

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
    // Those files are emptied when they are opened.
    if args.snapshot.is_some() && (args.trace == args.snapshot || args.junit == args.snapshot) {
        return Err(wrong("--snapshot names the file of --trace or --junit; each needs its own".to_owned()));
    }
    let open = |option, path| OutputFile::open(option, path, scenarios.iter().map(|(scenario, _)| scenario));
    let trace = match (&args.trace, scenarios.as_slice()) {
        (None, _) => None,
        (Some(path), [_]) if count == 1 => Some(open("--trace", path).map_err(wrong)?),
        (Some(_), _) => {
            return Err(wrong("--trace writes one run: it needs a single scenario and a single seed".to_owned()));
        }
    };
    if args.junit.is_some() && args.junit == args.trace {
        return Err(wrong("--junit and --trace name one file; each needs its own".to_owned()));
    }
    let snapshot = match (&args.snapshot, scenarios.as_slice()) {
        (None, _) => None,
        (Some(path), [(scenario, _)]) if count == 1 => {
            Some(SnapshotFile::open(path, args.update_snapshot, scenario).map_err(wrong)?)
        }
        (Some(_), _) => {
            return Err(wrong("--snapshot is of one run: it needs a single scenario and a single seed".to_owned()));
        }
    };
    let junit = args.junit.as_ref().map(|path| open("--junit", path)).transpose().map_err(wrong)?;
    Ok(Prepared { scenarios, trace, junit, snapshot })
}

struct RunCommand<'a> {
    args: &'a RunArgs,
    trace: Option<OutputFile>,
    snapshot: Option<SnapshotFile>,
    report: Report,
    exit: Exit,
}

impl RunCommand<'_> {
    fn once(&mut self, scenario: &Scenario, seed: u64) {
        let played = play::play(scenario, &self.options(seed));
        if let Some((run, wall)) = self.told(played) {
            let entry = self.compared(&run, Entry::new(&run, wall));
            self.report.extend([entry]);
            self.write_trace(&run.trace);
        }
    }

    fn twice(&mut self, scenario: &Scenario, seed: u64) {
        let (one, other) = play::twice(scenario, &self.options(seed));
        let (run, agreement) = agreed(one, other);
        let entry = run.and_then(|run| self.told(Ok(run))).map(|(run, wall)| {
            self.write_trace(&run.trace);
            self.compared(&run, Entry::new(&run, wall))
        });
        match agreement {
            Ok(message) => {
                self.say(&message);
                self.report.extend(entry.map(Entry::verified));
            }
            Err(difference) => {
                self.report.extend(entry);
                self.not_played(difference);
            }
        }
    }

    fn many(&mut self, scenario: &Scenario, seeds: RangeInclusive<u64>) {
        let (first, last) = (*seeds.start(), *seeds.end());
        let progress = progress(scenario.name(), count(first, last));
        let begin = play::now();
        let mut seen = Seeds::default();
        let verify = self.args.verify;
        let is_kept = self.args.format == Format::Json || self.args.junit.is_some();
        let options = |seed| self.options(seed);
        play::seeds(scenario, seeds, options, |seed, played| {
            progress.inc(1);
            let played = if verify { again(scenario, &options(seed), played) } else { played };
            match played {
                Ok((run, wall)) => {
                    // Of millions of runs that held nobody could keep all; only reports for programs ask for them.
                    if is_kept {
                        let entry = Entry::new(&run, wall);
                        seen.entries.push((seed, if verify { entry.verified() } else { entry }));
                    }
                    if run.verdict == Verdict::Failed {
                        progress.set_message("an expectation failed");
                        seen.failed(seed, run, wall);
                    }
                }
                Err(why) => seen.missing.push((seed, why)),
            }
            if seen.end().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        progress.finish_and_clear();
        let end = seen.end();
        let Seeds { mut entries, failures, first_failure, missing } = seen.until(end.unwrap_or(last));
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
        let played_last = end.unwrap_or(last);
        let count = count(first, played_last);
        let seeds = format!("{}, seeds {first} to {played_last}", scenario.name());
        let verified = if verify { ", verified by a second run of each," } else { "" };
        self.say(&match bad {
            0 => format!("all {count} seeds held{verified} in {wall} - {seeds}"),
            bad => {
                let numbers: Vec<String> = failures.iter().map(ToString::to_string).collect();
                let others =
                    if numbers.len() > 1 { format!("; failed: {}", numbers.join(", ")) } else { String::new() };
                let left = last - played_last;
                let left = if left > 0 { format!("; enough, {left} more were not played") } else { String::new() };
                format!("{bad} of {count} seeds did not hold in {wall} - {seeds}{others}{left}")
            }
        });
    }

    /// Compares a run with the snapshot, if one is asked for. One that failed is no measure for others.
    fn compared(&mut self, run: &Run, entry: Entry) -> Entry {
        let Some(file) = self.snapshot.as_ref().filter(|_| run.verdict == Verdict::Held) else { return entry };
        let shown = file.path().display().to_string();
        match file.compare(&report::snapshot(run)) {
            Ok(Compared::Same) => {
                self.say(&format!("nothing has changed since {shown}"));
                entry.compared(&shown, None)
            }
            Ok(Compared::Written) => {
                self.say(&format!("wrote {shown}"));
                entry.compared(&shown, None)
            }
            Ok(Compared::Different(difference)) => {
                self.exit = self.exit.and(Exit::Failed);
                self.say(&format!(
                    "{difference}this run is not as {shown} has it; if it should be, write it anew with --update-snapshot"
                ));
                entry.compared(&shown, Some(&difference))
            }
            Err(message) => {
                self.mistake(&Mistake::Path(message));
                entry
            }
        }
    }

    fn options(&self, seed: u64) -> RunOptions {
        let level = match (self.args.verify, &self.args.trace) {
            (true, _) => Level::Wire,
            (false, Some(_)) => Level::Debug,
            (false, None) => Level::Info,
        };
        RunOptions::seed(seed).level(level).network(self.args.network.into())
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
        if let Some(Err(message)) =
            self.trace.as_ref().map(|file| file.write("trace", |file| trace.write_json_lines(file)))
        {
            self.mistake(&Mistake::Path(message));
        }
    }
}

/// What many seeds came to so far, in no order.
#[derive(Default)]
struct Seeds {
    entries: Vec<(u64, Entry)>,
    failures: Vec<u64>,
    /// Of the lowest seed that failed; thousands of traces would fill the memory.
    first_failure: Option<(Run, Duration)>,
    missing: Vec<(u64, NotPlayed)>,
}

impl Seeds {
    fn failed(&mut self, seed: u64, run: Run, wall: Duration) {
        self.failures.push(seed);
        if self.first_failure.as_ref().is_none_or(|(first, _)| seed < first.seed) {
            self.first_failure = Some((run, wall));
        }
    }

    /// The seed after which enough is known, if it has come: the last of [`BAD_SEEDS_MAX`] that did not hold, or the
    /// first with which the scenario's setting is refused, since it would be with every other.
    fn end(&self) -> Option<u64> {
        let refused =
            self.missing.iter().filter(|(_, why)| matches!(why, NotPlayed::Setting(_))).map(|(seed, _)| *seed);
        let mut bad: Vec<u64> =
            self.failures.iter().copied().chain(self.missing.iter().map(|(seed, _)| *seed)).collect();
        bad.sort_unstable();
        refused.chain(bad.get(BAD_SEEDS_MAX - 1).copied()).min()
    }

    /// Without the seeds above `last`: those that other threads were at, more or fewer.
    fn until(mut self, last: u64) -> Self {
        self.entries.retain(|(seed, _)| *seed <= last);
        self.failures.retain(|seed| *seed <= last);
        self.failures.sort_unstable();
        self.missing.retain(|(seed, _)| *seed <= last);
        self.missing.sort_by_key(|(seed, _)| *seed);
        self.first_failure = self.first_failure.filter(|(run, _)| run.seed <= last);
        self
    }
}

fn count(first: u64, last: u64) -> u64 {
    (last - first).saturating_add(1)
}

/// Plays a seed once more and compares.
fn again(scenario: &Scenario, options: &RunOptions, played: Played) -> Played {
    let (run, agreement) = agreed(played, play::apart(scenario, options));
    agreement?;
    run.ok_or_else(|| NotPlayed::Fault("two equal runs, and neither is there".to_owned()))
}

/// What two runs of one seed come to: one of them, and whether the other was the same.
fn agreed(one: Played, other: Played) -> (Option<(Run, Duration)>, Result<String, NotPlayed>) {
    use NotPlayed::{Fault, Setting};
    match (one, other) {
        (Ok((one, wall)), Ok((other, _))) => {
            let agreement = same(&one, &other);
            (Some((one, wall)), agreement)
        }
        (Err(Fault(fault)), Ok(run)) | (Ok(run), Err(Fault(fault))) => (Some(run), Err(Fault(fault))),
        (Err(Fault(fault)), Err(_)) | (Err(_), Err(Fault(fault))) => (None, Err(Fault(fault))),
        (Err(Setting(refused)), Ok(run)) | (Ok(run), Err(Setting(refused))) => {
            (Some(run), differ(&format!("one was played, and the other refused: {refused}")))
        }
        (Err(Setting(one)), Err(Setting(other))) if one.diagnostics == other.diagnostics => (None, Err(Setting(one))),
        (Err(Setting(one)), Err(Setting(other))) => {
            (None, differ(&format!("one was refused because of\n{one}\nand the other because of\n{other}")))
        }
    }
}

/// Whether two runs wrote the same trace, byte by byte.
fn same(one: &Run, other: &Run) -> Result<String, NotPlayed> {
    if let Some(difference) = first_difference(&one.trace, &other.trace) {
        return differ(&difference.to_string());
    }
    if one.trace.digest() != other.trace.digest() {
        return differ("the digests differ, and no event does");
    }
    Ok(format!(
        "verified: two runs on two threads wrote the same {} events, {}",
        one.trace.len(),
        one.trace.digest_hex()
    ))
}

fn differ(how: &str) -> Result<String, NotPlayed> {
    Err(NotPlayed::Fault(format!("the same seed gave two different runs: {how}")))
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use hermesh::scenario::InputError;

    use super::*;

    fn file(steps: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let head = "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:";
        writeln!(file, "{head}\n{steps}").unwrap();
        file
    }

    fn played(seed: u64) -> Played {
        play::play(&Scenario::open(file("- wait: 1s").path()).unwrap(), &RunOptions::seed(seed))
    }

    fn refused(steps: &str) -> InputError {
        Scenario::open(file(steps).path()).unwrap_err()
    }

    #[test]
    fn two_runs_of_which_one_alone_is_refused_are_two_different_runs() {
        let setting = |steps: &str| Err(NotPlayed::Setting(refused(steps)));
        for (one, other) in [(played(1), setting("- wiat: 1s")), (setting("- wiat: 1s"), played(1))] {
            let (run, agreement) = agreed(one, other);
            assert_eq!(run.map(|(run, _)| run.seed), Some(1), "the run is told");
            let Err(NotPlayed::Fault(fault)) = agreement else { panic!("no difference") };
            assert!(fault.contains("one was played, and the other refused: ") && fault.contains("`wait`"), "{fault}");
        }
        let (run, agreement) = agreed(setting("- wiat: 1s"), setting("- get: 1s"));
        assert!(run.is_none() && matches!(agreement, Err(NotPlayed::Fault(_))));
        let error = refused("- wiat: 1s");
        let (run, agreement) = agreed(Err(NotPlayed::Setting(error.clone())), Err(NotPlayed::Setting(error)));
        assert!(run.is_none() && matches!(agreement, Err(NotPlayed::Setting(_))));
        assert!(agreed(played(1), played(1)).1.is_ok() && agreed(played(1), played(2)).1.is_err());
    }

    #[test]
    fn enough_seeds_are_those_up_to_the_tenth_that_did_not_hold() {
        let mut seen = Seeds { failures: vec![30, 1, 9, 8, 7, 6, 5, 4, 3], ..Seeds::default() };
        assert_eq!(seen.end(), None);
        seen.missing.push((12, NotPlayed::Fault("broken".to_owned())));
        seen.failures.push(40);
        assert_eq!(seen.end(), Some(30));
        seen.missing.push((20, NotPlayed::Setting(refused("- wiat: 1s"))));
        assert_eq!(seen.end(), Some(20));
        let seen = seen.until(20);
        assert_eq!((seen.failures, seen.missing.len()), (vec![1, 3, 4, 5, 6, 7, 8, 9], 2));
    }
}
