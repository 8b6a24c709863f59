//! Card numbers, to be recognised and refused.

/// The shortest and the longest card number that is in use (ISO/IEC 7812).
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Whether a text holds what looks like a card number: 13 to 19 digits, perhaps
/// with blanks, dots or hyphens between them, that begin as those of a card do and
/// whose check digit is right (Luhn).
pub fn looks_like_card_number(text: &str) -> bool {
    let mut run: Vec<u32> = Vec::new();
    for character in text.chars() {
        match character.to_digit(10) {
            Some(digit) => run.push(digit),
            None if matches!(character, ' ' | '-' | '.' | '\u{a0}') && !run.is_empty() => {}
            None => {
                if is_card_number(&run) {
                    return true;
                }
                run.clear();
            }
        }
    }
    is_card_number(&run)
}

fn is_card_number(run: &[u32]) -> bool {
    DIGITS.contains(&run.len())
        && run.first().is_some_and(|first| (2..=6).contains(first))
        && passes_luhn(run)
}

fn passes_luhn(digits: &[u32]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, digit)| match (position % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) if double > 9 => double - 9,
            (_, double) => double,
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_recognised_however_they_are_written() {
        for number in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "5555-5555-5555-4444",
            "378282246310005",
            "pm 6011.1111.1111.1117!",
            "card=30569309025904",
        ] {
            assert!(looks_like_card_number(number), "{number}");
        }
    }

    #[test]
    fn tokens_are_not_taken_for_card_numbers() {
        for token in ["pm_card_ok", "pm_1234", "pm_4242424242424241", "tok_0000000000000000", ""] {
            assert!(!looks_like_card_number(token), "{token}");
        }
    }
}
