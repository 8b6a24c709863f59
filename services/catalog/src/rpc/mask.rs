//! Which fields an update changes.

use prost_types::FieldMask;

use crate::error::Error;

/// The fields that a mask names, out of those that can be changed: without a
/// mask those that are populated, with `*` all of them.
pub(super) fn fields(
    mask: Option<&FieldMask>,
    changeable: &'static [&'static str],
    populated: impl Fn(&str) -> bool,
) -> Result<Vec<&'static str>, Error> {
    let paths = mask.map_or(&[][..], |mask| mask.paths.as_slice());
    if paths.is_empty() {
        return Ok(changeable.iter().copied().filter(|field| populated(field)).collect());
    }
    if paths.iter().any(|path| path == "*") {
        return Ok(changeable.to_vec());
    }
    if let Some(unknown) = paths.iter().find(|path| !changeable.contains(&path.as_str())) {
        return Err(Error::MaskInvalid { path: unknown.clone(), fields: changeable });
    }
    Ok(changeable.iter().copied().filter(|field| paths.iter().any(|path| path == field)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["title", "slug"];

    fn mask(paths: &[&str]) -> FieldMask {
        FieldMask { paths: paths.iter().map(|&path| path.to_owned()).collect() }
    }

    #[test]
    fn a_mask_names_fields_and_nothing_else() {
        assert_eq!(fields(Some(&mask(&["slug"])), FIELDS, |_| true).unwrap(), ["slug"]);
        assert_eq!(fields(Some(&mask(&["*"])), FIELDS, |_| false).unwrap(), ["title", "slug"]);
        assert_eq!(fields(None, FIELDS, |field| field == "title").unwrap(), ["title"]);
        assert_eq!(fields(Some(&mask(&[])), FIELDS, |_| false).unwrap(), [""; 0]);
        assert!(matches!(
            fields(Some(&mask(&["sku"])), FIELDS, |_| true),
            Err(Error::MaskInvalid { .. })
        ));
    }
}
