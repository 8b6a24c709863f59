//! Names that a person meant to type.

/// The candidate closest to `name`, if any is close enough to be what was meant.
pub(crate) fn nearest<'n>(
    name: &str,
    candidates: impl Iterator<Item = &'n str>,
) -> Option<&'n str> {
    if name.len() > 100 {
        return None;
    }
    let folded = fold(name);
    candidates
        .filter(|candidate| candidate.len() <= 100)
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 4)
        .map(|(_, candidate)| candidate)
}

/// Case and separators are what people mistake most.
fn fold(name: &str) -> Vec<char> {
    name.chars()
        .filter(|letter| *letter != '_' && *letter != '-')
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters to insert, drop or change.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(to) {
            let best = (*cell + 1).min(left + 1).min(diagonal + usize::from(a != b));
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A name as a JSON string; names have nothing to escape but what somebody put into `json_name`.
pub(crate) fn quoted(name: &str) -> String {
    let mut text = String::from("\"");
    for letter in name.chars() {
        match letter {
            '"' | '\\' => text.extend(['\\', letter]),
            '\0'..='\x1f' => text.extend(format!("\\u{:04x}", u32::from(letter)).chars()),
            _ => text.push(letter),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_name() {
        let names = ["pageSize", "pageToken", "filter"];
        assert_eq!(nearest("page_size", names.into_iter()), Some("pageSize"));
        assert_eq!(nearest("pageTokn", names.into_iter()), Some("pageToken"));
        assert_eq!(nearest("filtre", names.into_iter()), Some("filter"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
