//! Wire bytes in. What prints must be JSON that is taken again and says the same, under all options; and where
//! prost-reflect takes the bytes too, it must print the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transcode::{JsonErrorKind, ParseOptions, PrintOptions};
use transcode_fuzz::{Subject, agree, is_odd, their_value, value};

fuzz_target!(|input: &[u8]| {
    let Some((subject, choice, wire)) = Subject::pick(input) else { return };
    let plain = PrintOptions::default();
    let printed = subject.print(wire, &plain);

    let mut options = PrintOptions::default();
    options.int64_as_number = choice & 1 != 0;
    options.enum_as_numbers = choice & 1 != 0;
    options.use_proto_names = choice & 2 != 0;
    options.emit_defaults = choice & 4 != 0;
    options.keep_unknown_any = choice & 8 != 0;
    let other = subject.print(wire, &options);
    // The other way round there are texts that are not UTF-8 and that a later one takes the place of.
    assert!(printed.is_err() || other.is_ok(), "{printed:?} {other:?}");
    let Ok(printed) = printed else { return };
    let Some(ours) = value(printed.as_bytes()) else { return };

    for text in [&printed, &other.unwrap()] {
        match subject.parse(text.as_bytes(), &ParseOptions::default()) {
            Ok(again) => {
                let again = subject.print(&again, &plain).unwrap();
                assert_eq!(value(again.as_bytes()).as_ref(), Some(&ours), "{text}");
            }
            // Lists and maps count for what is read, not for what is printed.
            Err(error) => assert_eq!(error.kind(), JsonErrorKind::Depth, "{error}: {text}"),
        }
    }

    if subject.has_oracle()
        && let Some(theirs) = subject.decode(wire).and_then(|message| their_value(&message))
    {
        let odd = is_odd(&subject.descriptor, wire);
        assert!(odd || agree(&ours, &theirs), "ours {ours}\ntheirs {theirs}");
    }
});
