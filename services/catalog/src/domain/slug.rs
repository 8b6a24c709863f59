//! Names in URLs.

/// The longest slug that is made from a title.
const SLUG_MAX: usize = 80;
/// How much of an id keeps two slugs apart.
const SUFFIX: usize = 6;

/// A slug from a title: "Café au lait, 2 cups" becomes "cafe-au-lait-2-cups".
/// Empty if the title has nothing that a slug can have.
pub fn slug_of(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    for character in title.chars().flat_map(char::to_lowercase) {
        match plain(character) {
            Some(plain) => slug.push_str(plain),
            None if character.is_ascii_alphanumeric() => slug.push(character),
            // An apostrophe joins what it stands between.
            None if matches!(character, '\'' | '’' | '\u{307}') => {}
            None if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
            None => {}
        }
    }
    slug.truncate(SLUG_MAX);
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

/// A slug that the end of an id keeps apart from others.
pub fn slug_with(slug: &str, id: &str) -> String {
    let suffix = id.get(id.len().saturating_sub(SUFFIX)..).unwrap_or(id);
    if slug.is_empty() { format!("product-{suffix}") } else { format!("{slug}-{suffix}") }
}

/// A title for a category of which only the slug is known: "Garden tools".
pub fn title_of(slug: &str) -> String {
    let words = slug.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The ASCII form of a letter of European languages.
fn plain(letter: char) -> Option<&'static str> {
    Some(match letter {
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' | 'ĉ' => "c",
        'ď' | 'đ' | 'ð' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' | 'ė' => "e",
        'ğ' | 'ģ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'į' | 'ı' => "i",
        'ķ' => "k",
        'ł' | 'ľ' | 'ĺ' | 'ļ' => "l",
        'ñ' | 'ń' | 'ň' | 'ņ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ō' | 'ő' => "o",
        'ö' | 'ø' | 'œ' => "oe",
        'ŕ' | 'ř' => "r",
        'ś' | 'š' | 'ş' | 'ș' => "s",
        'ß' => "ss",
        'ť' | 'ț' | 'ţ' => "t",
        'þ' => "th",
        'ù' | 'ú' | 'û' | 'ū' | 'ů' | 'ű' | 'ų' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_becomes_a_slug() {
        assert_eq!(slug_of("Café au lait, 2 cups"), "cafe-au-lait-2-cups");
        assert_eq!(slug_of("  --Grüße aus Łódź!--  "), "gruesse-aus-lodz");
        assert_eq!(slug_of("Baker's dozen"), "bakers-dozen");
        assert_eq!(slug_of("日本"), "");
        assert_eq!(slug_with("mug", "0199-abcdef012345"), "mug-012345");
        assert_eq!(slug_with("", "0199-abcdef012345"), "product-012345");
        assert_eq!(title_of("garden-tools"), "Garden tools");
    }

    proptest! {
        #[test]
        fn every_slug_keeps_the_contracts_pattern(title in ".{0,200}") {
            let slug = slug_of(&title);
            prop_assert!(slug.len() <= SLUG_MAX);
            prop_assert!(slug.is_empty() || slug.split('-').all(|part| {
                !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            }), "{slug:?}");
        }
    }
}
