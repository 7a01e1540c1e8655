//! The report people read: a line a step, the article's output under each call, and why a step failed.

use std::fmt::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, CellAlignment, Table, presets};
use hermesh_istiod::yaml::Diagnostic;

use super::time::{compact, seconds};
use super::wrap::wrap;
use crate::engine::Network;
use crate::mesh::Calls;
use crate::scenario::{Batch, Check, Failure, Outcome, Run, StepReport, Verdict};

/// The column in which what was done begins.
const INDENT: usize = 11;

/// How much further in the rest of a broken line is.
const HANG: usize = 2;

/// The colours of a report, and how wide it may be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Styles {
    width: Option<usize>,
    title: Style,
    time: Style,
    good: Style,
    bad: Style,
    note: Style,
    dim: Style,
}

impl Styles {
    /// No colours.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Colours for a terminal.
    #[must_use]
    pub fn coloured() -> Self {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        Self {
            width: None,
            title: Style::new().bold(),
            time: colour(AnsiColor::Cyan),
            good: colour(AnsiColor::Green),
            bad: colour(AnsiColor::Red).bold(),
            note: colour(AnsiColor::Yellow),
            dim: Style::new().dimmed(),
        }
    }

    /// The same with sentences broken at this many characters.
    #[must_use]
    pub fn wide(self, width: Option<usize>) -> Self {
        Self { width, ..self }
    }
}

/// The whole report but its last line.
#[must_use]
pub fn human(run: &Run, styles: &Styles) -> String {
    let mut page = Page { text: String::new(), styles: *styles };
    let title = styles.title;
    page.line(
        0,
        format_args!(
            "{title}{}{title:#} - Istio {}, profile {}, seed {}{}",
            run.scenario,
            run.istio,
            run.profile,
            run.seed,
            match run.network {
                Network::Simulated => String::new(),
                network => format!(", network {}", network.name()),
            }
        ),
    );
    if let Some(about) = &run.about {
        page.wrapped(0, "", about);
    }
    let mut number = None;
    for step in &run.steps {
        page.step(step, number != Some(step.number));
        number = Some(step.number);
    }
    page.text
}

/// The last line: `all 11 steps held - 2m14s simulated in 41 ms, seed 7`.
#[must_use]
pub fn totals(run: &Run, wall: Duration, styles: &Styles) -> String {
    let (simulated, wall, seed) = (compact(run.simulated), compact(wall), run.seed);
    let verdict = match run.verdict {
        Verdict::Held => {
            let steps = if run.total == 1 { "the step".to_owned() } else { format!("all {} steps", run.total) };
            format!("{}{steps} held{:#}", styles.good, styles.good)
        }
        Verdict::Failed => {
            let at = run.steps.last().map_or(0, |step| step.number);
            format!("{}step {at} of {} failed{:#}", styles.bad, run.total, styles.bad)
        }
    };
    format!("{verdict} - {simulated} simulated in {wall}, seed {seed}")
}

struct Page {
    text: String,
    styles: Styles,
}

impl Page {
    fn step(&mut self, step: &StepReport, begins: bool) {
        let Styles { time, title, .. } = self.styles;
        let at = format!("{:>width$}", seconds(step.began), width = INDENT - 2);
        match &step.name {
            Some(name) => {
                self.line(0, format_args!(""));
                self.line(0, format_args!("{time}{at}{time:#}  {title}{name}{title:#}"));
            }
            None if begins => self.line(0, format_args!("")),
            None => {}
        }
        let outcome = match &step.outcome {
            Outcome::Words(words) if words.is_empty() => String::new(),
            Outcome::Words(words) => format!(": {words}"),
            _ => String::new(),
        };
        let done = wrap(&format!("{}{outcome}", step.action), INDENT + HANG, self.styles.width);
        for (index, line) in done.iter().enumerate() {
            match index {
                0 if step.name.is_none() => self.line(0, format_args!("{time}{at}{time:#}  {line}")),
                0 => self.line(INDENT, format_args!("{line}")),
                _ => self.line(INDENT + HANG, format_args!("{line}")),
            }
        }
        match &step.outcome {
            Outcome::Words(_) => {}
            Outcome::Pods(table) => self.block(&table.to_string()),
            Outcome::Table(table) => self.block(&table.to_string()),
            Outcome::Config(table) => self.block(&table.to_string()),
            Outcome::Resources(config) => self.block(&format!("{:#}", config.to_json())),
            Outcome::Calls(batches) => self.calls(batches),
            Outcome::Load(calls) => self.load(calls),
        }
        self.checks(&step.checks);
        step.notes.iter().for_each(|note| self.note(note));
        if let Some(failure) = &step.failure {
            self.failure(failure);
        }
    }

    fn calls(&mut self, batches: &[Batch]) {
        for batch in batches {
            if batch.lines.is_empty() && batch.report.failure.is_none() {
                let mut table = columns();
                for (workload, count) in &batch.report.workloads {
                    table.add_row([Cell::new(workload), Cell::new(count).set_alignment(CellAlignment::Right)]);
                }
                lines(&mut table).iter().for_each(|line| self.block(line));
            } else {
                let fails = batch.report.failure.is_some();
                for line in &batch.lines {
                    if fails { self.wrapped(INDENT + 2, "", line) } else { self.block(line) }
                }
            }
        }
    }

    /// Who answered, and how long it took.
    fn load(&mut self, calls: &Calls) {
        let mut table = columns();
        for (workload, count) in &calls.workloads() {
            table.add_row([Cell::new(workload), Cell::new(count).set_alignment(CellAlignment::Right)]);
        }
        lines(&mut table).iter().for_each(|line| self.block(line));
        for ((code, cause), count) in &calls.failures() {
            let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            self.block(&format!("{count} of {} calls failed with {code}{cause}", calls.len()));
        }
        let latency = |quantile| calls.latency(quantile).map(compact);
        if let (Some(half), Some(most), Some(longest)) = (latency(0.5), latency(0.99), latency(1.0)) {
            self.block(&format!("half within {half}, 99% within {most}, all within {longest}"));
        }
    }

    fn checks(&mut self, checks: &[Check]) {
        let mut table = columns();
        let several = checks.iter().filter(|check| !check.held).count() > 1;
        for same in checks.chunk_by(|a, b| a.held == b.held && a.seen == b.seen && a.of == b.of) {
            let check = &same[0];
            let mut names: Vec<&str> = same.iter().map(|check| check.check).collect();
            names.dedup();
            let mut names = names.join(", ");
            let of = check.of.as_deref();
            let behind = |text| of.and_then(|of| str::strip_prefix(text, of)?.strip_prefix(": ")).unwrap_or(text);
            if let Some(of) = of {
                let _ = write!(names, " {of}");
            }
            let seen = behind(check.seen.as_str());
            // What a held expectation of counts allowed is worth knowing; that of the first that failed stands below.
            let mut allowed = String::new();
            if of.is_some() || several && !check.held || check.held && matches!(check.check, "to" | "share") {
                let mut expected: Vec<&str> = same.iter().map(|check| behind(check.expected.as_str())).collect();
                expected.dedup();
                allowed = format!("expected {}", expected.join("; "));
            }
            table.add_row([if check.held { "held" } else { "FAILED" }, &names, seen, &allowed]);
        }
        for line in lines(&mut table) {
            let style = if line.starts_with("FAILED") { self.styles.bad } else { self.styles.good };
            self.line(INDENT, format_args!("{style}{line}{style:#}"));
        }
    }

    fn note(&mut self, note: &Diagnostic) {
        let style = self.styles.note;
        for (index, line) in wrap(&note.to_string(), INDENT + HANG, self.styles.width).iter().enumerate() {
            let indent = if index == 0 { INDENT } else { INDENT + HANG };
            self.line(indent, format_args!("{style}{line}{style:#}"));
        }
    }

    fn failure(&mut self, failure: &Failure) {
        let Styles { bad, dim, .. } = self.styles;
        let Failure { place, expected, seen, why, again } = failure;
        self.line(INDENT, format_args!("{bad}FAILED{bad:#} {dim}{place}{dim:#}"));
        self.wrapped(INDENT + 2, "expected  ", expected);
        self.wrapped(INDENT + 2, "seen      ", seen);
        for (index, line) in why.iter().enumerate() {
            self.wrapped(INDENT + 2, if index == 0 { "why       " } else { "          " }, line);
        }
        self.line(INDENT + 2, format_args!("again     {again}"));
    }

    fn block(&mut self, text: &str) {
        for line in text.lines() {
            self.line(INDENT + 2, format_args!("{}", line.trim_end()));
        }
    }

    /// Sentences behind their label, each with the rest of its lines a little further in than the first.
    fn wrapped(&mut self, indent: usize, label: &str, text: &str) {
        let inner = indent + label.len();
        for (number, sentence) in text.lines().enumerate() {
            for (index, line) in wrap(sentence, inner + HANG, self.styles.width).iter().enumerate() {
                match (number, index) {
                    (0, 0) => self.line(indent, format_args!("{label}{line}")),
                    (_, 0) => self.line(inner, format_args!("{line}")),
                    _ => self.line(inner + HANG, format_args!("{line}")),
                }
            }
        }
    }

    fn line(&mut self, indent: usize, line: std::fmt::Arguments<'_>) {
        let infallible = "writing to a String cannot fail";
        write!(self.text, "{:indent$}", "").and_then(|()| writeln!(self.text, "{line}")).expect(infallible);
    }
}

/// A table without lines, as wide as it needs.
fn columns() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// A table's lines, with two spaces between columns and none around them.
fn lines(table: &mut Table) -> Vec<String> {
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(check: &'static str, of: Option<&str>, expected: &str, seen: &str, held: bool) -> Check {
        Check { check, of: of.map(str::to_owned), expected: expected.to_owned(), seen: seen.to_owned(), held }
    }

    fn rows(checks: &[Check]) -> Vec<String> {
        let mut page = Page { text: String::new(), styles: Styles::plain() };
        page.checks(checks);
        page.text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn what_does_not_hold_stands_beside_what_was_expected() {
        let outcome = "2 of 3 calls succeeded";
        let checks = [
            check("pods", None, "2 pods answer", "1: a/b 3", false),
            check("attempts", None, "each call takes 1 attempt", "2 in 3 of 3 calls", false),
            check("latency", Some("p50"), "p50: <5ms", "p50: 6 ms of 3 calls that succeeded", false),
            check("ok", None, "every call succeeds", outcome, false),
            check("to", None, "echo-v1 all", outcome, false),
            check("attempts", None, "each call takes 1 attempt", "1 in 3 of 3 calls", true),
        ];
        assert_eq!(
            rows(&checks),
            [
                "FAILED pods 1: a/b 3 expected 2 pods answer",
                "FAILED attempts 2 in 3 of 3 calls expected each call takes 1 attempt",
                "FAILED latency p50 6 ms of 3 calls that succeeded expected <5ms",
                "FAILED ok, to 2 of 3 calls succeeded expected every call succeeds; echo-v1 all",
                "held attempts 1 in 3 of 3 calls",
            ]
        );
    }
}
