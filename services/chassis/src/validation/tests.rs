//! Every rule that is enforced, and every one that is refused.

use contracts::values::v1::{Money, PostalAddress};
use prost::Message as _;
use prost_reflect::DescriptorPool;

use super::*;

fn violations(message: &str, bytes: &[u8]) -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS).unwrap();
    let mut rules = Rules::default();
    let root = rules.compile(&pool.get_message_by_name(message).unwrap());
    assert_eq!(rules.take_problems(), Vec::<String>::new());
    match rules.check(root, bytes) {
        Ok(()) => Vec::new(),
        Err(Invalid::Fields(found)) => {
            found.into_iter().map(|found| (found.field, found.description)).collect()
        }
        Err(Invalid::Malformed(what)) => vec![("malformed".to_owned(), what)],
    }
}

fn address() -> PostalAddress {
    PostalAddress {
        recipient: "Ana".to_owned(),
        address_lines: vec!["Carrer Major 1".to_owned()],
        locality: "Girona".to_owned(),
        region_code: "ES".to_owned(),
        ..PostalAddress::default()
    }
}

#[test]
fn a_message_that_keeps_the_rules_passes() {
    assert_eq!(violations("mercat.values.v1.PostalAddress", &address().encode_to_vec()), []);
    let money = Money { currency_code: "EUR".to_owned(), minor_units: -5 };
    assert_eq!(violations("mercat.values.v1.Money", &money.encode_to_vec()), []);
}

#[test]
fn every_broken_rule_is_named_with_its_field() {
    let mut wrong = address();
    wrong.recipient.clear();
    wrong.address_lines = vec!["x".to_owned(), String::new()];
    wrong.region_code = "Spain".to_owned();

    let found = violations("mercat.values.v1.PostalAddress", &wrong.encode_to_vec());

    assert_eq!(
        found,
        [
            ("address_lines[1]".to_owned(), "must not be empty".to_owned()),
            ("region_code".to_owned(), "must match ^[A-Z]{2}$".to_owned()),
            ("recipient".to_owned(), "must not be empty".to_owned()),
        ]
    );
}

#[test]
fn an_absent_field_is_held_to_its_rules() {
    let found = violations("mercat.values.v1.Money", &[]);
    assert_eq!(found, [("currency_code".to_owned(), "must match ^[A-Z]{3}$".to_owned())]);
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    for bytes in
        [&[0x0a, 0x05, b'E'][..], &[0x0a, 0x02, 0xff, 0xfe], &[0x07], &[0x80; 11], &[0x08, 0x01]]
    {
        let found = violations("mercat.values.v1.Money", bytes);
        assert_eq!(found.first().map(|(field, _)| field.as_str()), Some("malformed"), "{bytes:?}");
    }
}
