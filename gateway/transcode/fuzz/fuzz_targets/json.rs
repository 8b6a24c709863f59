//! JSON in. What is taken must be wire bytes that prost-reflect decodes, and mean the same to it as the JSON does; it
//! prints, and what is printed is taken again. A stream of values is the same in whatever pieces it comes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcode::{JsonErrorKind, JsonValues, ParseOptions, PrintOptions, Sequence};
use transcode_fuzz::{Subject, is_beyond_doubles, nesting, their_value, their_wire_value};

fuzz_target!(|input: &[u8]| {
    let Some((subject, choice, json)) = Subject::pick(input) else { return };
    stream(json, choice);

    let mut options = ParseOptions::default();
    let strict = subject.parse(json, &options);
    options.ignore_unknown_fields = true;
    let lenient = subject.parse(json, &options);
    let Ok(wire) = strict else { return };
    assert_eq!(lenient.as_ref(), Ok(&wire), "leniency does not change what is good");

    let printed = subject.print(&wire, &PrintOptions::default()).unwrap();
    match subject.parse(printed.as_bytes(), &ParseOptions::default()) {
        Ok(again) => {
            assert_eq!(subject.print(&again, &PrintOptions::default()).as_ref(), Ok(&printed));
        }
        Err(error) => panic!("{error}: {printed}"),
    }

    // A Value takes up to three levels on the wire, of which prost takes a hundred.
    let Some(ours) = subject.decode(&wire) else {
        assert!(nesting(json) > 25, "{}", String::from_utf8_lossy(json));
        return;
    };
    if !is_beyond_doubles(json)
        && let Some(theirs) = subject.their_parse(json)
        && let (Some(ours), Some(theirs)) = (their_value(&ours), their_wire_value(&theirs))
    {
        assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(json));
    }
});

/// The input as a stream: in one piece, and in pieces of a few bytes.
fn stream(json: &[u8], choice: u8) {
    let sequence = if choice & 1 == 0 { Sequence::Detected } else { Sequence::Concatenated };
    let mut options = ParseOptions::default();
    options.max_depth = 20;
    options.max_bytes = 200;
    let read = |piece: usize| {
        let mut values = JsonValues::new(sequence, &options);
        let mut found = Vec::new();
        let mut pieces = json.chunks(piece);
        loop {
            let piece = pieces.next();
            match piece {
                Some(piece) => values.push(piece),
                None => values.finish(),
            }
            loop {
                match values.next_value() {
                    Ok(Some(value)) => found.push((value.json.to_vec(), value.position)),
                    Ok(None) => break,
                    Err(error) => return (found, Some(error)),
                }
            }
            if piece.is_none() {
                return (found, None);
            }
        }
    };
    let whole = read(json.len().max(1));
    assert_eq!(whole, read(usize::from(choice >> 1) + 1));
    for (value, position) in &whole.0 {
        assert_eq!(json.get(position.offset..position.offset + value.len()), Some(&**value));
    }
    if let Some(error) = whole.1 {
        assert!(error.position().offset <= json.len());
        assert_ne!(error.kind(), JsonErrorKind::Value, "values are not looked at");
    }
}
