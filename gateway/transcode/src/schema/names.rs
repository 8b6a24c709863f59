//! Names to numbers.

use super::table::hash;
use crate::wire::index;

/// A table of names, made once: open addressing by a hash of their ends that is the same in every process, so that one
/// run is like the next. Names come from descriptors; texts that clients send are only looked up.
#[derive(Debug, Default)]
pub(crate) struct Names {
    names: Box<[(Box<str>, u32)]>,
    /// Places in `names`, or [`EMPTY`]; a power of two of them, of which three quarters are free.
    places: Box<[u32]>,
}

const EMPTY: u32 = u32::MAX;

impl Names {
    /// The first of two equal names counts.
    pub(crate) fn new<'n>(names: impl Iterator<Item = (&'n str, u32)>) -> Self {
        let names: Box<[(Box<str>, u32)]> =
            names.map(|(name, number)| (name.into(), number)).collect();
        let mut places = vec![EMPTY; (names.len() * 4).next_power_of_two()];
        let mask = places.len() - 1;
        for (place, (name, _)) in (0..).zip(&names) {
            let mut at = hash(name.as_bytes()) & mask;
            while let Some(taken) = places.get(at).filter(|taken| **taken != EMPTY) {
                if names.get(index(*taken)).is_some_and(|(other, _)| other == name) {
                    break;
                }
                at = (at + 1) & mask;
            }
            if let Some(free) = places.get_mut(at).filter(|free| **free == EMPTY) {
                *free = place;
            }
        }
        Self { names, places: places.into() }
    }

    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<u32> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = hash(name) & mask;
        loop {
            // An empty place is out of reach too.
            let (found, number) = self.names.get(index(*self.places.get(at)?))?;
            if found.as_bytes() == name {
                return Some(*number);
            }
            at = (at + 1) & mask;
        }
    }

    /// All names, in the order they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> = (0..1000).map(|nth| format!("NAME_{nth}_OF_MANY")).collect();
        for count in [0, 1, 2, 7, 1000] {
            let table = Names::new(names.iter().map(String::as_str).take(count).zip(10..));
            for (name, nth) in names.iter().zip(0..) {
                let expected = (nth < count).then(|| u32::try_from(nth).unwrap() + 10);
                assert_eq!(table.get(name.as_bytes()), expected, "{name} of {count}");
            }
            assert_eq!(table.get(b""), None);
            assert_eq!(table.iter().count(), count);
        }
        assert_eq!(Names::default().get(b"NAME"), None);
    }

    #[test]
    fn the_first_of_two_equal_names_counts() {
        let table = Names::new([("a", 1), ("b", 2), ("a", 3)].into_iter());
        assert_eq!([table.get(b"a"), table.get(b"b")], [Some(1), Some(2)]);
    }
}
