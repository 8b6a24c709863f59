//! The rules: what a password must be, how often one may be tried, how long a
//! session lives, who may hand out what.

use std::{collections::BTreeSet, time::Duration};

use chassis::Time;

/// The role that includes everything.
pub(crate) const ADMIN_ROLE_NAME: &str = "admin";
/// Its id, the same in every installation.
pub(crate) const ADMIN_ROLE_ID: &str = "01900000-0000-7000-8000-000000000001";
/// How many addresses a book holds.
pub(crate) const ADDRESSES_MAX: i64 = 100;
/// How much of a client's `user-agent` is kept, in characters.
pub(crate) const USER_AGENT_MAX: usize = 256;

/// What an attacker would try first, among those that are long enough.
const COMMONEST: [&str; 24] = [
    "12345678",
    "123456789",
    "1234567890",
    "password",
    "password1",
    "password123",
    "passw0rd",
    "qwertyuiop",
    "qwerty123",
    "1q2w3e4r",
    "1qaz2wsx",
    "iloveyou",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "welcome1",
    "letmein1",
    "abcd1234",
    "changeme",
    "asdfghjkl",
    "zaq12wsx",
];

/// Why a password is too easy to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// It is among the commonest.
    Common,
    /// It is the e-mail address, or the part before the `@`.
    SameAsEmail,
    /// It is one character again and again.
    OneCharacter,
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// It may sign in.
    Active,
    /// It may not.
    Suspended,
}

/// Whose session it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A guest's.
    Guest,
    /// A registered user's.
    User,
}

/// How many failures are forgiven in any stretch of time of one length.
///
/// Two thirds of them may come at once. After that they wear off one by one, a
/// third of them in each window, so that no window ever sees more than all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    burst: u32,
    cost: Duration,
}

/// How long sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetimes {
    /// Of a refresh token of a user.
    pub refresh: Duration,
    /// Of a refresh token of a guest.
    pub guest: Duration,
    /// Of a session, however often it is refreshed.
    pub session: Duration,
}

// === impl Weakness ===

impl Weakness {
    /// What is wrong and how to mend it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Common => "is one of the first that anybody would try: choose a less common one",
            Self::SameAsEmail => "is the e-mail address: choose something else",
            Self::OneCharacter => "is one character again and again: mix several",
        }
    }
}

/// Refuses what anybody would guess first. Length is the contract's to check.
pub(crate) fn check_password(password: &str, email: &str) -> Result<(), Weakness> {
    let folded = password.to_lowercase();
    let local_part = email.split_once('@').map_or(email, |(local, _)| local);
    if COMMONEST.contains(&folded.as_str()) {
        return Err(Weakness::Common);
    }
    if folded == email || folded == local_part {
        return Err(Weakness::SameAsEmail);
    }
    let mut letters = folded.chars();
    let first = letters.next();
    if letters.all(|letter| Some(letter) == first) {
        return Err(Weakness::OneCharacter);
    }
    Ok(())
}

/// The one spelling of an e-mail address by which it is found.
pub(crate) fn normalize_email(email: &str) -> String {
    email.trim().to_lowercase()
}

// === impl Status ===

impl Status {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
        }
    }

    /// From what is stored. Whatever is not known to be active is not.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "ACTIVE" { Self::Active } else { Self::Suspended }
    }
}

// === impl Holder ===

impl Holder {
    /// As it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Guest => "GUEST",
            Self::User => "USER",
        }
    }

    /// From what is stored.
    pub(crate) fn parse(text: &str) -> Self {
        if text == "GUEST" { Self::Guest } else { Self::User }
    }
}

// === impl Limit ===

impl Limit {
    /// A limit of so many failures in a window; of one at least.
    pub(crate) fn new(failures_max: u32, window: Duration) -> Self {
        let sustained = (failures_max / 3).max(1);
        Self { burst: failures_max.saturating_sub(sustained).max(1), cost: window / sustained }
    }

    /// How long one failure counts.
    pub(crate) fn cost(self) -> Duration {
        self.cost
    }

    /// Up to where failures may count already for one more to be granted `now`.
    pub(crate) fn horizon(self, now: Time) -> Time {
        now + self.cost * (self.burst - 1)
    }

    /// How long to wait when failures count until `until`.
    pub(crate) fn wait(self, until: Time, now: Time) -> Duration {
        until.since(self.horizon(now)).max(Duration::from_secs(1))
    }
}

// === impl Lifetimes ===

impl Lifetimes {
    /// When a session that was opened at `created` and refreshed `now` ends
    /// unless it is refreshed again.
    pub(crate) fn expire_time(self, holder: Holder, created: Time, now: Time) -> Time {
        let refresh = match holder {
            Holder::Guest => self.guest,
            Holder::User => self.refresh,
        };
        (now + refresh).min(created + self.session.max(refresh))
    }
}

/// The first permission of `needed` that is not held, if there is one. Who holds
/// `*` holds every one; who does not cannot hand `*` out.
pub(crate) fn first_not_held<'n>(
    needed: impl IntoIterator<Item = &'n String>,
    holds: impl Fn(&str) -> bool,
) -> Option<&'n str> {
    needed.into_iter().map(String::as_str).find(|permission| !holds(permission))
}

/// The fields that an update means: those that its mask names, all of them for
/// `*`, or those that are set if there is no mask. The first name that is not a
/// field is the error.
pub(crate) fn fields_to_update(
    mask: Option<&[String]>,
    fields: &[(&'static str, bool)],
) -> Result<BTreeSet<&'static str>, String> {
    let Some(paths) = mask.filter(|paths| !paths.is_empty()) else {
        return Ok(fields.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect());
    };
    let mut chosen = BTreeSet::new();
    for path in paths {
        if path == "*" {
            chosen.extend(fields.iter().map(|(name, _)| *name));
            continue;
        }
        match fields.iter().find(|(name, _)| name == path) {
            Some((name, _)) => chosen.insert(*name),
            None => return Err(path.clone()),
        };
    }
    Ok(chosen)
}

/// What clients hold of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("v{version}")
}

/// Whether a client that sent `given` may change what is at `version`. One that
/// sent nothing does not care.
pub(crate) fn etag_matches(given: &str, version: i64) -> bool {
    given.is_empty() || given == etag(version)
}

/// A text of at most `max` characters.
pub(crate) fn shortened(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_anybody_would_guess_is_refused() {
        let email = "ada@example.com";
        assert_eq!(check_password("Password123", email), Err(Weakness::Common));
        assert_eq!(check_password("ADA@example.com", email), Err(Weakness::SameAsEmail));
        assert_eq!(
            check_password("christopher", "christopher@example.com"),
            Err(Weakness::SameAsEmail)
        );
        assert_eq!(check_password("zzzzzzzz", email), Err(Weakness::OneCharacter));
        assert_eq!(check_password("correct horse battery staple", email), Ok(()));
    }

    #[test]
    fn an_email_address_has_one_spelling() {
        assert_eq!(normalize_email("  Ada@Example.COM "), "ada@example.com");
    }

    #[test]
    fn a_guests_session_and_a_users_end_by_their_own_lifetimes() {
        let day = Duration::from_secs(86_400);
        let lifetimes = Lifetimes { refresh: day * 30, guest: day * 7, session: day * 60 };
        let start = Time::from_micros(0);
        assert_eq!(lifetimes.expire_time(Holder::User, start, start), start + day * 30);
        assert_eq!(lifetimes.expire_time(Holder::Guest, start, start), start + day * 7);
        assert_eq!(lifetimes.expire_time(Holder::User, start, start + day * 50), start + day * 60);
    }

    #[test]
    fn nobody_hands_out_what_they_do_not_hold() {
        let needed = ["catalog.products.read".to_owned(), "*".to_owned()];
        let some = |permission: &str| permission == "catalog.products.read";
        assert_eq!(first_not_held(&needed, some), Some("*"));
        assert_eq!(first_not_held(&needed, |_| true), None);
    }

    #[test]
    fn a_mask_names_fields_and_nothing_else() {
        let fields = [("label", true), ("postal_address", false)];
        assert_eq!(fields_to_update(None, &fields), Ok(BTreeSet::from(["label"])));
        assert_eq!(
            fields_to_update(Some(&["postal_address".into()]), &fields),
            Ok(BTreeSet::from(["postal_address"]))
        );
        assert_eq!(
            fields_to_update(Some(&["*".into()]), &fields),
            Ok(BTreeSet::from(["label", "postal_address"]))
        );
        assert_eq!(fields_to_update(Some(&["user_id".into()]), &fields), Err("user_id".to_owned()));
    }

    #[test]
    fn an_etag_counts_only_if_it_is_sent() {
        assert!(etag_matches("", 3) && etag_matches("v3", 3));
        assert!(!etag_matches("v2", 3) && !etag_matches("3", 3));
    }

    /// The rule as the store applies it, in one statement.
    fn attempt(limit: Limit, until: &mut Time, now: Time) -> bool {
        if *until > limit.horizon(now) {
            return false;
        }
        *until = (*until).max(now) + limit.cost();
        true
    }

    proptest! {
        #[test]
        fn no_window_ever_sees_more_failures_than_the_limit(
            pauses in proptest::collection::vec(0_u64..200, 1..400),
        ) {
            let limit = Limit::new(10, Duration::from_secs(900));
            let (mut now, mut until) = (Time::from_micros(0), Time::from_micros(0));
            let mut granted = Vec::new();
            for pause in pauses {
                now = now + Duration::from_secs(pause);
                if attempt(limit, &mut until, now) {
                    granted.push(now);
                }
            }
            for (index, first) in granted.iter().enumerate() {
                let end = *first + Duration::from_secs(900);
                let seen = granted[index..].iter().take_while(|time| **time < end).count();
                prop_assert!(seen <= 10, "{seen} in one window");
            }
        }
    }
}
