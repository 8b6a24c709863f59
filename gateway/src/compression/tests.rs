//! What goes through a coding comes out again, and no more than it may.

use super::*;

/// Text with a pattern, so that it shrinks, and noise, so that it does not vanish.
fn sample(bytes: usize) -> Vec<u8> {
    let mut state: u32 = 0x2545_F491;
    let mut text = Vec::with_capacity(bytes);
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(format!("{{\"id\":{state},\"name\":\"a mug\"}}").as_bytes());
    }
    text.truncate(bytes);
    text
}

fn compressed(coding: Coding, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(coding, data, &mut out).unwrap();
    out
}

#[test]
fn what_is_compressed_is_read_back() {
    for coding in Coding::ALL {
        for bytes in [0, 1, 511, 8 << 10, (8 << 10) + 1, 300_000] {
            let data = sample(bytes);
            let small = compressed(coding, &data);
            let mut back = b"before".to_vec();
            decompress(coding, &small, data.len(), &mut back).unwrap();
            assert_eq!(back.strip_prefix(b"before"), Some(&*data), "{coding:?} {bytes}");
            assert!(bytes < 8 << 10 || small.len() < bytes / 2, "{coding:?} {bytes}");
        }
    }
}

#[test]
fn pieces_of_any_size_are_as_the_whole() {
    let data = sample(20_000);
    for coding in Coding::ALL {
        for piece in [1, 7, 4_096] {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut small = Vec::new();
            for piece in data.chunks(piece) {
                encoder.write(piece, &mut small).unwrap();
            }
            encoder.finish(&mut small).unwrap();
            let mut decoder = Decoder::new(coding, data.len()).unwrap();
            let mut back = Vec::new();
            for piece in small.chunks(piece) {
                decoder.write(piece, &mut back).unwrap();
            }
            decoder.finish().unwrap();
            assert_eq!(back, data, "{coding:?} {piece}");
        }
    }
}

#[test]
fn what_was_flushed_can_be_read_before_the_end() {
    for coding in Coding::ALL {
        let mut encoder = Encoder::new(coding).unwrap();
        let mut decoder = Decoder::new(coding, 1 << 20).unwrap();
        for line in ["{\"first\":1}\n", "{\"second\":2}\n"] {
            let (mut small, mut back) = (Vec::new(), Vec::new());
            encoder.write(line.as_bytes(), &mut small).unwrap();
            encoder.flush(&mut small).unwrap();
            decoder.write(&small, &mut back).unwrap();
            assert_eq!(back, line.as_bytes(), "{coding:?}");
        }
    }
}

#[test]
fn a_bomb_is_put_out_at_its_limit() {
    let bomb = vec![0; 4 << 20];
    for coding in Coding::ALL {
        let small = compressed(coding, &bomb);
        assert!(small.len() < 100_000, "{coding:?}");
        let mut out = Vec::new();
        let read = decompress(coding, &small, 100_000, &mut out);
        assert_eq!(read, Err(Unreadable::TooLarge { bytes_max: 100_000 }), "{coding:?}");
        assert!(out.capacity() < 300_000, "{coding:?} took {}", out.capacity());
        decompress(coding, &small, bomb.len(), &mut Vec::new()).unwrap();
        let read = decompress(coding, &small, bomb.len() - 1, &mut Vec::new());
        assert!(matches!(read, Err(Unreadable::TooLarge { .. })), "{coding:?}");
    }
}

#[test]
fn a_step_gives_no_more_than_there_is_room_for() {
    for coding in Coding::ALL {
        let small = compressed(coding, &vec![0; 16 << 20]);
        let mut decoder = Decoder::new(coding, 16 << 20).unwrap();
        let (mut data, mut made) = (&*small, 0);
        loop {
            let mut out = Vec::new();
            let step = decoder.step(data, &mut out).unwrap();
            assert!(out.len() <= 64 << 10, "{coding:?} gave {} bytes at once", out.len());
            made += out.len();
            data = &data[step.taken..];
            if data.is_empty() && !step.is_more {
                break;
            }
        }
        assert_eq!((made, decoder.finish()), (16 << 20, Ok(())), "{coding:?}");
    }
}

#[test]
fn br_has_no_larger_window_than_its_rfc_nor_than_can_come_out() {
    let with = |params: brotli::enc::BrotliEncoderParams| {
        let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4_096, &params);
        std::io::Write::write_all(&mut writer, &vec![0; 1 << 20]).unwrap();
        writer.into_inner()
    };
    let read = |data: &[u8], bytes_max| {
        let mut out = Vec::new();
        let read = decompress(Coding::Brotli, data, bytes_max, &mut out);
        (read, out.len())
    };
    let usual = with(brotli::enc::BrotliEncoderParams::default());
    assert_eq!(read(&usual, 1 << 20), (Ok(()), 1 << 20));
    let (refused, made) = read(&usual, 100_000);
    assert_eq!(refused, Err(Unreadable::TooLarge { bytes_max: 100_000 }));
    assert_eq!(made, 0, "its head says that it is too large");
    let large = brotli::enc::BrotliEncoderParams {
        large_window: true,
        lgwin: 26,
        ..brotli::enc::BrotliEncoderParams::default()
    };
    assert_eq!(read(&with(large), 1 << 20).0, Err(Unreadable::Broken(Coding::Brotli)));
}

#[test]
fn what_is_cut_short_or_damaged_or_longer_is_refused() {
    let data = sample(2_000);
    for coding in Coding::ALL {
        let small = compressed(coding, &data);
        for end in [0, 1, small.len() / 2, small.len() - 1] {
            let read = decompress(coding, &small[..end], 1 << 20, &mut Vec::new());
            assert_eq!(read, Err(Unreadable::CutShort(coding)), "{coding:?} at {end}");
        }
        let longer = [&*small, b"???????????????????"].concat();
        let read = decompress(coding, &longer, 1 << 20, &mut Vec::new());
        assert_eq!(read, Err(Unreadable::Broken(coding)), "{coding:?}");
        let read = decompress(coding, &data, 1 << 20, &mut Vec::new());
        assert_eq!(read, Err(Unreadable::Broken(coding)), "{coding:?}");
        // Noise is never a panic, and never more than the limit.
        for at in 0..small.len() {
            let mut noise = small.clone();
            noise[at] ^= 0x5A;
            let mut out = Vec::new();
            let _outcome = decompress(coding, &noise, 4_000, &mut out);
            assert!(out.len() <= 4_000 + (16 << 10));
        }
    }
}

#[test]
fn members_one_behind_the_other_are_read_as_one_up_to_a_bound() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let two = [compressed(coding, b"one, "), compressed(coding, b"two")].concat();
        let mut out = Vec::new();
        decompress(coding, &two, 100, &mut out).unwrap();
        assert_eq!(out, b"one, two");
    }
    let many = compressed(Coding::Gzip, b"").repeat(2_000);
    let read = decompress(Coding::Gzip, &many, 100, &mut Vec::new());
    assert_eq!(read, Err(Unreadable::Broken(Coding::Gzip)));
}

#[test]
fn a_coding_is_found_by_its_name_in_any_case() {
    assert_eq!(Coding::named("GZip"), Some(Coding::Gzip));
    assert_eq!(Coding::named("x-gzip"), Some(Coding::Gzip));
    assert_eq!(Coding::named("zstd"), Some(Coding::Zstd));
    assert_eq!(Coding::named("identity"), None);
    for coding in Coding::ALL {
        assert_eq!(Coding::named(coding.name()), Some(coding));
    }
}
