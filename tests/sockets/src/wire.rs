//! Places and answers, between what cases call them and what processes see.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::network::World;

/// What one run of a case has learnt.
#[derive(Default)]
pub(crate) struct Names {
    /// Addresses that were listened at, by name.
    places: BTreeMap<String, SocketAddr>,
    /// What a letter stands for.
    letters: BTreeMap<char, String>,
}

impl Names {
    pub(crate) fn with_backlog(backlog: u64) -> Self {
        Self { places: BTreeMap::new(), letters: BTreeMap::from([('B', (backlog + 1).to_string())]) }
    }

    /// Puts addresses where an order names places, and what they stand for where it has letters:
    ///
    /// | place | address |
    /// |---|---|
    /// | `tcp NAME` | where `NAME` was listened at; before that, any port of the process's host; a number is a port |
    /// | `loopback NAME`, `loopback2 NAME`, `loopback6 NAME` | that port of 127.0.0.1, 127.0.0.2, ::1 |
    /// | `any NAME`, `any6 NAME` | that port of 0.0.0.0, :: |
    /// | `foreign NAME` | that port of an address no host has |
    /// | `unix NAME` | a file in a folder of the case's own |
    /// | `long NAME` | a file whose path has that many bytes |
    pub(crate) fn to_addresses(&self, order: &str, process: &str, world: &mut dyn World) -> String {
        let mut words = order.split(' ');
        let mut told = Vec::new();
        while let Some(word) = words.next() {
            let host = match word {
                "tcp" => world.host(process),
                "loopback" => Ipv4Addr::LOCALHOST.into(),
                "loopback2" => Ipv4Addr::new(127, 0, 0, 2).into(),
                "loopback6" => Ipv6Addr::LOCALHOST.into(),
                "any" => Ipv4Addr::UNSPECIFIED.into(),
                "any6" => Ipv6Addr::UNSPECIFIED.into(),
                // TEST-NET-1 (RFC 5737).
                "foreign" => Ipv4Addr::new(192, 0, 2, 1).into(),
                "unix" => {
                    let name = words.next().unwrap_or_default();
                    told.push(format!("unix:{}/{name}", world.folder().display()));
                    continue;
                }
                "long" => {
                    let length: usize = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
                    let folder = world.folder().display().to_string();
                    told.push(format!("unix:{folder}/{}", "x".repeat(length - folder.len() - 1)));
                    continue;
                }
                other => {
                    let mut letters = other.chars();
                    let letter = letters.next().filter(|_| letters.next().is_none());
                    let meant = letter.and_then(|letter| self.letters.get(&letter)).cloned();
                    told.push(meant.unwrap_or_else(|| other.to_owned()));
                    continue;
                }
            };
            let name = words.next().unwrap_or_default();
            told.push(self.tcp(host, word == "tcp", name).to_string());
        }
        told.join(" ")
    }

    fn tcp(&self, host: IpAddr, anywhere: bool, name: &str) -> SocketAddr {
        match (self.places.get(name), name.parse()) {
            (_, Ok(port)) => SocketAddr::new(host, port),
            (Some(place), _) if anywhere => *place,
            (Some(place), _) => SocketAddr::new(host, place.port()),
            (None, _) => SocketAddr::new(host, 0),
        }
    }

    /// Takes from an answer what only this run knows: where a process listens, and the folder.
    pub(crate) fn words_of(&mut self, answer: &str, order: &str, process: &str, world: &mut dyn World) -> String {
        let Some(address) = answer.strip_prefix("ok at ") else {
            return answer.replace(&format!("{}/", world.folder().display()), "");
        };
        if let Ok(address) = address.parse::<SocketAddr>() {
            let name = order.split_whitespace().nth(2).unwrap_or_default();
            // Others reach a wildcard by the host's own address.
            let host = if address.ip().is_unspecified() { world.host(process) } else { address.ip() };
            self.places.insert(name.to_owned(), SocketAddr::new(host, address.port()));
        }
        "ok".to_owned()
    }

    /// Whether an answer is as expected; the letters in `expected` take what they stand for.
    pub(crate) fn agree(&mut self, expected: &str, seen: &str) -> bool {
        let (mut expected, mut seen) = (expected, seen);
        while let Some((before, letter, rest)) = split_at_letter(expected) {
            let Some(after) = seen.strip_prefix(before) else {
                return false;
            };
            let end = after.find([' ', ',']).unwrap_or(after.len());
            let (word, after) = after.split_at(end);
            if word.is_empty() || self.letters.entry(letter).or_insert_with(|| word.to_owned()) != word {
                return false;
            }
            (expected, seen) = (rest, after);
        }
        expected == seen
    }
}

/// The text before the first capital letter that stands alone, the letter, and the text after it.
fn split_at_letter(text: &str) -> Option<(&str, char, &str)> {
    let bytes = text.as_bytes();
    let alone = |at: usize| {
        let other =
            |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        bytes[at].is_ascii_uppercase() && other(at.checked_sub(1)) && other(Some(at + 1))
    };
    let at = (0..bytes.len()).find(|&at| alone(at))?;
    Some((&text[..at], char::from(bytes[at]), &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_stand_for_the_same_word_everywhere() {
        let mut names = Names::with_backlog(4096);
        assert!(names.agree("N bytes, then end of file", "12 bytes, then end of file"));
        assert!(names.agree("127.0.0.1:N", "127.0.0.1:12"));
        assert!(!names.agree("N bytes", "13 bytes"));
        assert!(names.agree("B connections", "4097 connections"));
        assert!(!names.agree("B connections", "4096 connections"));
        assert!(names.agree("ok", "ok"));
        assert!(!names.agree("ok", "pending"));
    }
}
