//! Regular expressions: of whole numbers between bounds, of what a rule means to
//! a reader of JSON Schema, and a text that one matches.

use std::collections::HashMap;

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};

/// What Rust and RE2 write otherwise than ECMA-262, which JSON Schema speaks.
const FOREIGN: [&str; 7] = ["(?", "[[:", "\\A", "\\z", "\\p", "\\P", "\\x{"];
/// How long a made-up text may get.
const SAMPLE_CHARACTERS_MAX: usize = 256;

/// Patterns that were compiled.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    compiled: HashMap<String, Option<Regex>>,
}

// === impl Patterns ===

impl Patterns {
    /// Whether a text matches; a pattern that cannot be read matches all.
    pub(super) fn is_match(&mut self, pattern: &str, text: &str) -> bool {
        let compiled = self
            .compiled
            .entry(pattern.to_owned())
            .or_insert_with_key(|pattern| Regex::new(pattern).ok());
        compiled.as_ref().is_none_or(|compiled| compiled.is_match(text))
    }
}

/// The pattern, if JSON Schema reads it as its author did.
pub(super) fn portable(pattern: &str) -> Option<&str> {
    let plain = pattern.replace("(?:", "(");
    (!FOREIGN.iter().any(|foreign| plain.contains(foreign))).then_some(pattern)
}

/// A short text that the pattern matches.
pub(super) fn sample(pattern: &str) -> Option<String> {
    let parsed = regex_syntax::parse(pattern).ok()?;
    let mut text = String::new();
    write_sample(&parsed, &mut text)?;
    Some(text)
}

fn write_sample(pattern: &Hir, text: &mut String) -> Option<()> {
    if text.len() > SAMPLE_CHARACTERS_MAX {
        return None;
    }
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            text.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges();
            // A letter says more than the first character of the class.
            let letter = ('a'..='z').chain('A'..='Z').chain('0'..='9').find(|letter| {
                ranges.iter().any(|range| (range.start()..=range.end()).contains(letter))
            });
            text.push(letter.or_else(|| ranges.first().map(|range| range.start()))?);
            Some(())
        }
        HirKind::Class(Class::Bytes(class)) => {
            text.push(char::from(class.ranges().first()?.start()));
            Some(())
        }
        HirKind::Repetition(repetition) => {
            // What may be left out is left out.
            (0..repetition.min).try_for_each(|_| write_sample(&repetition.sub, text))
        }
        HirKind::Capture(capture) => write_sample(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write_sample(part, text)),
        HirKind::Alternation(choices) => write_sample(choices.first()?, text),
    }
}

/// The whole numbers from `least` to `most`, in decimal without leading zeros.
pub(super) fn between(least: i128, most: i128) -> String {
    let mut choices = Vec::new();
    if least < 0 {
        let from = if most < 0 { most.unsigned_abs() } else { 1 };
        let negative = magnitudes(from, least.unsigned_abs());
        choices.push(match negative.as_slice() {
            [one] => format!("-{one}"),
            several => format!("-({})", several.join("|")),
        });
    }
    if least <= 0 && most >= 0 {
        choices.push("0".to_owned());
    }
    if most > 0 {
        choices.extend(magnitudes(least.max(1).unsigned_abs(), most.unsigned_abs()));
    }
    format!("^({})$", choices.join("|"))
}

/// Patterns that together match the numbers from `least` to `most`: one for each
/// stretch in which the last digits are free.
fn magnitudes(least: u128, most: u128) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = least;
    while from <= most {
        let to = stretch(from, most);
        found.push(same_length(from, to));
        let Some(next) = to.checked_add(1) else { break };
        from = next;
    }
    merged(found)
}

/// The end of the longest stretch from `from` that one pattern can say: digits in
/// common, one range, and free digits.
fn stretch(from: u128, most: u128) -> u128 {
    let mut best = from;
    let mut unit: u128 = 1;
    loop {
        // The last digit of `from` in this place runs up to nine.
        let digit = (from / unit) % 10;
        let highest = (0..=9 - digit)
            .rev()
            .filter_map(|more| from.checked_add(more * unit)?.checked_add(unit - 1))
            .find(|end| *end <= most);
        match highest {
            Some(end) => best = best.max(end),
            None => return best,
        }
        let next = unit.saturating_mul(10);
        // Beyond this place the digits of `from` must all be free to begin with.
        if !from.is_multiple_of(next) || from < next {
            return best;
        }
        unit = next;
    }
}

/// One pattern for two numbers of the same number of digits.
fn same_length(from: u128, to: u128) -> String {
    let (from, to) = (from.to_string(), to.to_string());
    let mut pattern = String::new();
    let mut free = 0;
    for (low, high) in from.chars().zip(to.chars()) {
        match (low, high) {
            (low, high) if low == high => pattern.push(low),
            ('0', '9') => free += 1,
            (low, high) => pattern.push_str(&format!("[{low}-{high}]")),
        }
    }
    match free {
        0 => {}
        1 => pattern.push_str("[0-9]"),
        _ => pattern.push_str(&format!("[0-9]{{{free}}}")),
    }
    pattern
}

/// `[1-9]`, `[1-9][0-9]`, `[1-9][0-9]{2}` in a row as `[1-9][0-9]{0,2}`.
fn merged(patterns: Vec<String>) -> Vec<String> {
    let free = |pattern: &String| -> Option<usize> {
        let tail = pattern.strip_prefix("[1-9]")?;
        match tail {
            "" => Some(0),
            "[0-9]" => Some(1),
            _ => tail.strip_prefix("[0-9]{")?.strip_suffix('}')?.parse().ok(),
        }
    };
    let mut result: Vec<String> = Vec::new();
    let mut run: Option<(usize, usize)> = None;
    let flush = |run: &mut Option<(usize, usize)>, result: &mut Vec<String>| {
        if let Some((first, last)) = run.take() {
            result.push(match (first, last) {
                (0, 0) => "[1-9]".to_owned(),
                (1, 1) => "[1-9][0-9]".to_owned(),
                (first, last) if first == last => format!("[1-9][0-9]{{{first}}}"),
                (first, last) => format!("[1-9][0-9]{{{first},{last}}}"),
            });
        }
    };
    for pattern in patterns {
        match (free(&pattern), run) {
            (Some(digits), Some((first, last))) if digits == last + 1 => {
                run = Some((first, digits));
            }
            (Some(digits), _) => {
                flush(&mut run, &mut result);
                run = Some((digits, digits));
            }
            (None, _) => {
                flush(&mut run, &mut result);
                result.push(pattern);
            }
        }
    }
    flush(&mut run, &mut result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_bounds_matches_just_the_numbers_between() {
        for (least, most) in
            [(0, 0), (0, 9), (1, 1_000), (7, 123), (-5, 5), (-130, -7), (0, 99), (10, 305), (-1, 0)]
        {
            let pattern = Regex::new(&between(least, most)).unwrap();
            for number in -2_000..=2_000 {
                let within = (least..=most).contains(&number);
                assert_eq!(pattern.is_match(&number.to_string()), within, "{pattern} {number}");
            }
        }
    }

    #[test]
    fn the_widest_integers_have_patterns() {
        let signed = Regex::new(&between(i64::MIN.into(), i64::MAX.into())).unwrap();
        for number in [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX] {
            assert!(signed.is_match(&number.to_string()), "{signed} {number}");
        }
        for number in [i128::from(i64::MIN) - 1, i128::from(i64::MAX) + 1] {
            assert!(!signed.is_match(&number.to_string()), "{signed} {number}");
        }
        let unsigned = Regex::new(&between(0, u64::MAX.into())).unwrap();
        assert!(unsigned.is_match(&u64::MAX.to_string()));
        assert!(!unsigned.is_match("18446744073709551616"));
        assert!(!unsigned.is_match("-1"));
        assert!(!unsigned.is_match("007"));
        assert_eq!(between(0, 999), "^(0|[1-9][0-9]{0,2})$");
    }

    #[test]
    fn a_sample_matches_its_pattern() {
        let mut patterns = Patterns::default();
        for pattern in [
            "^[A-Z]{3}$",
            "^[a-z0-9]+(-[a-z0-9]+)*$",
            "^[!-~]+$",
            "^(a|b)?c{2,4}$",
            r"^\d{4}-\d{2}$",
            "x",
        ] {
            let sample = sample(pattern).unwrap();
            assert!(patterns.is_match(pattern, &sample), "{pattern}: {sample}");
        }
    }

    #[test]
    fn what_only_rust_reads_is_not_published() {
        assert_eq!(portable("^(?:a|b)$"), Some("^(?:a|b)$"));
        assert_eq!(portable(r"(?i)^\p{Lu}\z"), None);
    }
}
