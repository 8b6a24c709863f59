//! Signatures of webhooks: `t=<unix seconds>,v1=<hex>`, the HMAC-SHA256 of
//! `<t>.<body>` under a secret that both sides know.

use std::time::Duration;

use aws_lc_rs::hmac;
use chassis::Time;

use crate::error::Error;

/// How far the time of a signature may be from now, either way.
pub const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// How many signatures of one header are looked at: enough while a secret is
/// being rotated, too few to be a burden.
const SIGNATURES_MAX: usize = 5;

/// Signs a body.
pub fn sign(secret: &[u8], body: &[u8], now: Time) -> String {
    let seconds = now.seconds().to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &signed(&seconds, body));
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

/// Whether a body was signed with one of the secrets, and lately. Takes the same
/// time however much of a signature is right.
pub fn verify(secrets: &[Vec<u8>], header: &str, body: &[u8], now: Time) -> Result<(), Error> {
    let mut seconds = None;
    let mut tags = Vec::new();
    for part in header.split(',') {
        match part.trim().split_once('=') {
            Some(("t", value)) => seconds = Some(value),
            Some(("v1", value)) if tags.len() < SIGNATURES_MAX => tags.extend(unhex(value)),
            _ => {}
        }
    }
    let seconds = seconds.ok_or(Error::SignatureInvalid)?;
    let time: i64 = seconds.parse().map_err(|_| Error::SignatureInvalid)?;
    let message = signed(seconds, body);
    let known = secrets.iter().any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        tags.iter().any(|tag| hmac::verify(&key, &message, tag).is_ok())
    });
    if !known {
        return Err(Error::SignatureInvalid);
    }
    // The signature is right, so that the time is the signer's.
    if now.seconds().abs_diff(time) > TOLERANCE.as_secs() {
        return Err(Error::WebhookExpired);
    }
    Ok(())
}

fn signed(seconds: &str, body: &[u8]) -> Vec<u8> {
    [seconds.as_bytes(), b".", body].concat()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_micros(1_767_225_600_000_000);

    fn check(header: &str, body: &[u8], now: Time) -> Result<(), Error> {
        verify(&[b"new".to_vec(), b"old".to_vec()], header, body, now)
    }

    #[test]
    fn either_live_secret_verifies_and_no_other() {
        assert!(check(&sign(b"new", b"{}", NOW), b"{}", NOW).is_ok());
        assert!(check(&sign(b"old", b"{}", NOW), b"{}", NOW).is_ok());
        assert!(matches!(
            check(&sign(b"bad", b"{}", NOW), b"{}", NOW),
            Err(Error::SignatureInvalid)
        ));
    }

    #[test]
    fn every_flipped_bit_of_body_time_or_tag_is_refused() {
        let body = br#"{"id":"evt_1"}"#;
        let header = sign(b"new", body, NOW);
        for bit in 0..body.len() * 8 {
            let mut forged = *body;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&header, &forged, NOW).is_err(), "bit {bit}");
        }
        for at in 0..header.len() {
            let mut forged = header.clone().into_bytes();
            forged[at] ^= 1;
            let forged = String::from_utf8(forged).unwrap();
            assert!(check(&forged, body, NOW).is_err(), "{forged}");
        }
        for header in
            ["", "t=", "v1=", "t=1", "t=x,v1=00", "t=1767225600,v1=0", "t=1767225600,v1=zz"]
        {
            assert!(matches!(check(header, body, NOW), Err(Error::SignatureInvalid)), "{header}");
        }
    }

    #[test]
    fn a_signature_is_good_for_five_minutes() {
        let header = sign(b"new", b"{}", NOW);
        assert!(check(&header, b"{}", NOW + TOLERANCE).is_ok());
        assert!(matches!(
            check(&header, b"{}", NOW + TOLERANCE + Duration::from_secs(1)),
            Err(Error::WebhookExpired)
        ));
        assert!(matches!(
            check(&header, b"{}", NOW - TOLERANCE - Duration::from_secs(1)),
            Err(Error::WebhookExpired)
        ));
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        let good = sign(b"old", b"{}", NOW);
        let header = format!("{},v1={}", good, "00".repeat(32));
        assert!(check(&header, b"{}", NOW).is_ok());
    }
}
