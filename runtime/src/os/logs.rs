//! Events as lines on standard error: for people, or one JSON object a line.

use std::fmt::{self, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::str::FromStr;
use std::time::SystemTime;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::Runtime;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, kind and fields, for people.
    #[default]
    Text,
    /// `{"time", "level", "seq", "cause", "kind", "fields"}`; docs/trace.md tells of the last four.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no log format; expected `text` or `json`")),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Up to which level events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

impl Default for LogLevel {
    fn default() -> Self {
        Self(LevelFilter::INFO)
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(LevelFilter::OFF)),
            "info" => Ok(Self(LevelFilter::INFO)),
            "debug" => Ok(Self(LevelFilter::DEBUG)),
            "wire" => Ok(Self(LevelFilter::TRACE)),
            other => Err(format!("`{other}` is no log level; expected `off`, `info`, `debug` or `wire`")),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            LevelFilter::OFF => "off",
            LevelFilter::TRACE => "wire",
            LevelFilter::DEBUG => "debug",
            _ => "info",
        })
    }
}

/// What of its events a program writes to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logs {
    /// How.
    pub format: LogFormat,
    /// Up to which level.
    pub level: LogLevel,
}

impl Logs {
    /// As `HERMESH_LOG` (`off`, `info`, `debug` or `wire`) and `HERMESH_LOG_FORMAT` (`text` or `json`) say.
    ///
    /// # Errors
    /// If one of them has another value.
    pub fn from_environment(rt: &Runtime) -> Result<Self, String> {
        fn read<T: FromStr<Err = String> + Default>(rt: &Runtime, name: &str) -> Result<T, String> {
            match rt.var(name).filter(|value| !value.is_empty()) {
                None => Ok(T::default()),
                Some(value) => value.parse().map_err(|error| format!("environment variable {name}: {error}")),
            }
        }
        Ok(Self { level: read(rt, "HERMESH_LOG")?, format: read(rt, "HERMESH_LOG_FORMAT")? })
    }

    /// Writes the events of this process from now on; only the first call has an effect.
    pub fn install(self) {
        let colour = self.format == LogFormat::Text && std::io::stderr().is_terminal();
        let lines = Lines { format: self.format, colour }.with_filter(self.level.0);
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    }
}

/// Writes each event of target `hermesh` as a line.
struct Lines {
    format: LogFormat,
    colour: bool,
}

impl<S: tracing::Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "hermesh" {
            return;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        let now = OffsetDateTime::from(SystemTime::now()).format(TIME).unwrap_or_default();
        let line = match self.format {
            LogFormat::Json => json(&now, *event.metadata().level(), &seen),
            LogFormat::Text => text(&now, &seen, self.colour),
        };
        // A line at once, so that those of several tasks do not mix; nobody is left to tell if it fails.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// An event's fields as [`super`] records them.
#[derive(Default)]
struct Seen {
    seq: Option<u64>,
    cause: Option<u64>,
    kind: String,
    /// A JSON object.
    fields: String,
}

impl Visit for Seen {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "seq" => self.seq = Some(value),
            "cause" => self.cause = Some(value),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "kind" {
            value.clone_into(&mut self.kind);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "fields" {
            self.fields = format!("{value:?}");
        }
    }
}

fn json(now: &str, level: tracing::Level, seen: &Seen) -> String {
    let level = match level {
        tracing::Level::TRACE => "wire",
        tracing::Level::DEBUG => "debug",
        _ => "info",
    };
    let number = |value: Option<u64>| value.map_or_else(|| "null".to_owned(), |value| value.to_string());
    let (seq, cause) = (number(seen.seq), number(seen.cause));
    let fields = if seen.fields.is_empty() { "{}" } else { &seen.fields };
    let kind = serde_json::Value::from(seen.kind.as_str());
    format!(r#"{{"time":"{now}","level":"{level}","seq":{seq},"cause":{cause},"kind":{kind},"fields":{fields}}}"#)
        + "\n"
}

fn text(now: &str, seen: &Seen, colour: bool) -> String {
    let (bold, dim, plain) = if colour { ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
    let mut line = format!("{dim}{now}{plain} {bold}{}{plain}", seen.kind);
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&seen.fields).unwrap_or_default();
    for (name, value) in fields {
        let value = match value {
            serde_json::Value::Null => continue,
            serde_json::Value::String(text) if is_word(&text) => text,
            other => other.to_string(),
        };
        write!(line, " {dim}{name}={plain}{value}").expect("writing to a String cannot fail");
    }
    line + "\n"
}

/// Whether people read `text` better without quotes.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let fields = r#"{"address":"127.0.0.1:15010","error":"no such file","nothing":null,"names":["a","b"]}"#;
        Seen { seq: Some(7), cause: None, kind: "istiod.serving".to_owned(), fields: fields.to_owned() }
    }

    #[test]
    fn a_json_line_holds_the_event_as_the_trace_does() {
        let line = json("2026-11-22T10:00:00.000001Z", tracing::Level::INFO, &seen());
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["kind"], "istiod.serving");
        assert_eq!((&value["seq"], &value["cause"]), (&7.into(), &serde_json::Value::Null));
        assert_eq!(value["fields"]["names"][1], "b");
        assert!(line.ends_with("}\n") && !line.trim_end().contains('\n'), "{line}");
    }

    #[test]
    fn a_line_for_people_leaves_out_quotes_that_say_nothing_and_what_is_not_there() {
        assert_eq!(
            text("10:00", &seen(), false),
            "10:00 istiod.serving address=127.0.0.1:15010 error=\"no such file\" names=[\"a\",\"b\"]\n"
        );
    }

    #[test]
    fn levels_and_formats_read_as_they_are_written() {
        for level in ["off", "info", "debug", "wire"] {
            assert_eq!(level.parse::<LogLevel>().unwrap().to_string(), level);
        }
        for format in ["text", "json"] {
            assert_eq!(format.parse::<LogFormat>().unwrap().to_string(), format);
        }
        assert!("trace".parse::<LogLevel>().unwrap_err().contains("expected `off`, `info`, `debug` or `wire`"));
    }
}
