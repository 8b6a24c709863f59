//! Whether a key came twice.

use crate::schema::hash;

/// The place of the first key that equals one before it.
///
/// A few keys are compared with each other, more are put into a hash table. The hash is cheap and known to everybody, so
/// keys that were made to collide are sorted instead.
pub(super) fn first_twice<'k>(count: usize, key: impl Fn(usize) -> &'k [u8]) -> Option<usize> {
    if count <= 8 {
        return (1..count).find(|&nth| (0..nth).any(|other| key(other) == key(nth)));
    }
    let mut table = vec![u32::MAX; (count * 2).next_power_of_two()];
    let mask = table.len() - 1;
    let mut patience = count * 8;
    for nth in 0..count {
        let bytes = key(nth);
        let mut at = hash(bytes) & mask;
        while let Some(other) =
            table.get(at).and_then(|&other| usize::try_from(other).ok()).filter(|&o| o < count)
        {
            if key(other) == bytes {
                return Some(nth);
            }
            patience -= 1;
            if patience == 0 {
                return sorted(count, &key);
            }
            at = (at + 1) & mask;
        }
        if let Some(slot) = table.get_mut(at) {
            *slot = u32::try_from(nth).unwrap_or(u32::MAX);
        }
    }
    None
}

#[cold]
fn sorted<'k>(count: usize, key: &impl Fn(usize) -> &'k [u8]) -> Option<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| key(a).cmp(key(b)).then(a.cmp(&b)));
    order.windows(2).filter(|pair| key(pair[0]) == key(pair[1])).map(|pair| pair[1]).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(keys: &[String]) -> Option<usize> {
        first_twice(keys.len(), |nth| keys[nth].as_bytes())
    }

    #[test]
    fn the_first_repetition_is_found_among_few_and_many() {
        for count in [0, 1, 2, 8, 9, 1000] {
            let mut keys: Vec<String> = (0..count).map(|n| format!("key {n}")).collect();
            assert_eq!(twice(&keys), None);
            if count > 1 {
                keys.push("key 1".into());
                keys.push("key 0".into());
                assert_eq!(twice(&keys), Some(count));
            }
        }
    }

    #[test]
    fn keys_that_were_made_to_collide_are_no_trap() {
        let mut keys: Vec<String> =
            (0..50_000).map(|n| format!("same head {n:06} same tail")).collect();
        let start = std::time::Instant::now();
        assert_eq!(twice(&keys), None);
        keys.push(keys[7].clone());
        assert_eq!(twice(&keys), Some(50_000));
        assert!(start.elapsed().as_secs() < 5);
    }
}
