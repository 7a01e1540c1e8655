//! From text to nodes: saphyr-parser's events, minus the parts of YAML that make files surprising.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::diagnostic::{Diagnostic, Location};
use super::node::{Document, Entry, Key, Node, Position, Scalar, Value};

/// Deeper nesting than any real file has; keeps every later walk over the tree within the stack.
const MAX_DEPTH: usize = 100;

/// Reads all documents of `text`; empty ones are left out. `file` is the name that diagnostics show.
///
/// # Errors
///
/// Everything found in one pass: a syntax error ends it, a duplicate key, anchor, alias, merge key or tag does not.
pub fn parse(file: &str, text: &str) -> Result<Vec<Document>, Vec<Diagnostic>> {
    let Parsed { documents, errors } = parse_each(file, text);
    if errors.is_empty() { Ok(documents.into_iter().flatten().collect()) } else { Err(errors) }
}

/// What a text holds, whatever is wrong with it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The documents that are not empty, up to a syntax error; `None` where one does not say what it means.
    pub documents: Vec<Option<Document>>,
    /// Everything that is wrong.
    pub errors: Vec<Diagnostic>,
}

/// Reads each document of `text` for itself: what is wrong with one does not keep the others from being read, nor does
/// a duplicate key, of which the first counts, or an anchor the rest of its own document.
#[must_use]
pub fn parse_each(file: &str, text: &str) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        location: Location::in_file(file),
        open: Vec::new(),
        documents: Vec::new(),
        is_vague: false,
        errors: Vec::new(),
    };
    if let Some(error) = builder.control_character(text) {
        return Parsed { documents: vec![None], errors: vec![error] };
    }
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(Box::new(builder.syntax_error(text, &error))),
        };
        if let Err(error) = step {
            builder.errors.push(*error);
            builder.documents.push(None);
            break;
        }
    }
    Parsed { documents: builder.documents, errors: builder.errors }
}

/// A collection that is not yet closed.
struct Open {
    position: Position,
    contents: Contents,
}

enum Contents {
    Sequence(Vec<Node>),
    Mapping { entries: Vec<Entry>, seen: BTreeMap<String, Position>, key: Option<Key>, is_duplicate: bool },
}

struct Builder {
    location: Location,
    open: Vec<Open>,
    documents: Vec<Option<Document>>,
    /// Whether the document uses what is not supported, so that nobody knows what it means.
    is_vague: bool,
    errors: Vec<Diagnostic>,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Diagnostic>> {
        let position = position(span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse(position, anchor, tag);
                let plain = style == ScalarStyle::Plain;
                // An empty value has no place of its own; the parser names the next token, maybe lines below.
                let position = match self.key_position() {
                    Some(key) if plain && text.is_empty() => key,
                    _ => position,
                };
                self.add(Node { value: Value::Scalar(Scalar { text: text.into_owned(), plain }), position })
            }
            Event::Alias(_) => {
                self.is_vague = true;
                self.errors.push(self.error(
                    "yaml-alias",
                    position,
                    "aliases (`*name`) are not supported; write the value out",
                ));
                self.add(Node { value: Value::Scalar(Scalar { text: String::new(), plain: true }), position })
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(position, anchor, tag);
                self.open(position, Contents::Sequence(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(position, anchor, tag);
                let (entries, seen) = (Vec::new(), BTreeMap::new());
                self.open(position, Contents::Mapping { entries, seen, key: None, is_duplicate: false })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { position, contents: Contents::Sequence(items) }) => {
                    self.add(Node { value: Value::Sequence(items), position })
                }
                Some(Open { position, contents: Contents::Mapping { entries, .. } }) => {
                    self.add(Node { value: Value::Mapping(entries), position })
                }
                None => Ok(()),
            },
            Event::DocumentStart(_) => {
                self.is_vague = false;
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn open(&mut self, position: Position, contents: Contents) -> Result<(), Box<Diagnostic>> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(Box::new(self.error("yaml-depth", position, message)));
        }
        self.open.push(Open { position, contents });
        Ok(())
    }

    /// Puts a finished node where it belongs: into the collection that is open, else it is a document.
    fn add(&mut self, node: Node) -> Result<(), Box<Diagnostic>> {
        match self.open.last_mut().map(|open| &mut open.contents) {
            None if node.is_null() && !self.is_vague => {}
            None => self.documents.push((!self.is_vague).then_some(Document { root: node })),
            Some(Contents::Sequence(items)) => items.push(node),
            Some(Contents::Mapping { entries, key, is_duplicate, .. }) => match key.take() {
                Some(_) if *is_duplicate => {}
                Some(key) => entries.push(Entry { key, value: node }),
                None => self.add_key(node)?,
            },
        }
        Ok(())
    }

    fn add_key(&mut self, node: Node) -> Result<(), Box<Diagnostic>> {
        let position = node.position;
        let Value::Scalar(Scalar { text, plain }) = node.value else {
            let message = "a key must be a plain name, not a list or a mapping";
            return Err(Box::new(self.error("yaml-key", position, message)));
        };
        let Some(Open { contents: Contents::Mapping { seen, key, is_duplicate, .. }, .. }) = self.open.last_mut()
        else {
            return Ok(());
        };
        let first = seen.get(&text).copied();
        *is_duplicate = first.is_some();
        seen.entry(text.clone()).or_insert(position);
        *key = Some(Key { text: text.clone(), position });
        if plain && text == "<<" {
            self.is_vague = true;
            let message = "merge keys (`<<`) are not supported; write the fields out";
            self.errors.push(self.error("yaml-merge", position, message));
        } else if let Some(first) = first {
            let message = format!("duplicate key `{text}`; it is already at line {}", first.line);
            self.errors.push(self.error("yaml-duplicate-key", position, message));
        }
        Ok(())
    }

    fn refuse(&mut self, position: Position, anchor: usize, tag: Option<Cow<'_, Tag>>) {
        if anchor != 0 {
            self.errors.push(self.error(
                "yaml-anchor",
                position,
                "anchors (`&name`) are not supported; write the value out where it is used",
            ));
        }
        if tag.is_some() {
            self.is_vague = true;
            let message = "tags (`!name`) are not supported; leave it out, and quote the value if it is a string";
            self.errors.push(self.error("yaml-tag", position, message));
        }
    }

    fn key_position(&self) -> Option<Position> {
        match &self.open.last()?.contents {
            Contents::Mapping { key, .. } => key.as_ref().map(|key| key.position),
            Contents::Sequence(_) => None,
        }
    }

    fn error(&self, code: &'static str, position: Position, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, self.location.clone().at(position), message)
    }

    fn syntax_error(&self, text: &str, error: &ScanError) -> Diagnostic {
        let position = position(*error.marker());
        let diagnostic = self.error("yaml-syntax", position, format!("invalid YAML: {}", error.info()));
        // The parser often stops one line behind the mistake.
        let culprit = [position.line, position.line.saturating_sub(1)]
            .into_iter()
            .find(|line| *line > 0 && indented_by_tab(text, *line));
        match culprit {
            Some(line) => Diagnostic {
                message: "a tab cannot indent YAML".to_owned(),
                location: self.location.clone().at(Position { line, column: tab_column(text, line) }),
                ..diagnostic
            }
            .with_help("use spaces"),
            None if error.info().contains("mapping values are not allowed") => {
                diagnostic.with_help("is a line indented too far, or does a value with `: ` need quotes?")
            }
            None if error.info().contains("did not find expected") => {
                diagnostic.with_help("is a line near here indented differently from its neighbours?")
            }
            None => diagnostic,
        }
    }

    /// The first character that YAML does not allow in a text at all.
    fn control_character(&self, text: &str) -> Option<Diagnostic> {
        let mut position = Position::START;
        for c in text.chars() {
            if c == '\n' {
                position = Position { line: position.line + 1, column: 1 };
                continue;
            }
            if c.is_control() && !matches!(c, '\t' | '\r' | '\u{85}') {
                let message = format!("the control character {} is not allowed in YAML", c.escape_unicode());
                return Some(self.error("yaml-syntax", position, message));
            }
            position.column += 1;
        }
        None
    }
}

fn position(marker: saphyr_parser::Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col().saturating_add(1)) }
}

fn line(text: &str, line: u32) -> &str {
    text.lines().nth(line as usize - 1).unwrap_or_default()
}

fn indented_by_tab(text: &str, number: u32) -> bool {
    line(text, number).trim_start_matches([' ', '-']).starts_with('\t')
}

fn tab_column(text: &str, number: u32) -> u32 {
    let column = line(text, number).chars().position(|c| c == '\t').unwrap_or(0);
    u32::try_from(column).map_or(u32::MAX, |column| column.saturating_add(1))
}
