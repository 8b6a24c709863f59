//! When methods go away: `Sunset` (RFC 8594), beside `Deprecation`.
//!
//! That a method is deprecated stands in its contract. When it will be gone is said
//! by who runs the edge, also of services that are not of this mesh: the dates are
//! in its settings.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use chassis::Error;
use http::{HeaderName, HeaderValue};
use prost_types::Timestamp;
use transcode::{Method, Schema};

/// RFC 8594.
pub(crate) const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The dates, by the full name of a service or of a method. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sunsets(Arc<BTreeMap<String, Sunset>>);

/// One date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sunset {
    /// As the settings have it, by RFC 3339.
    pub(crate) date: Box<str>,
    /// As HTTP has it (RFC 9110, section 5.6.7).
    pub(crate) header: HeaderValue,
}

// === impl Sunsets ===

impl Sunsets {
    /// Reads the dates of the settings.
    ///
    /// # Errors
    ///
    /// A date that there is not, by the name it is given for.
    pub fn read(dates: &BTreeMap<String, String>) -> Result<Self, Error> {
        let read = |(name, date): (&String, &String)| match Sunset::read(date) {
            Some(sunset) => Ok((name.clone(), sunset)),
            None => Err(Error::build(format!(
                "gateway.sunsets: `{date}` of {name} is no date: write 2027-06-30 or \
                 2027-06-30T12:00:00Z"
            ))),
        };
        Ok(Self(Arc::new(dates.iter().map(read).collect::<Result<_, _>>()?)))
    }

    /// When the method goes, if that is known: by its own name, or by its service's.
    pub(crate) fn of(&self, method: &Method) -> Option<&Sunset> {
        if self.0.is_empty() {
            return None;
        }
        let path = method.path().trim_start_matches('/');
        self.0.get(path).or_else(|| self.0.get(method.service()))
    }

    /// The names that nothing of the schema has.
    pub(crate) fn unknown(&self, schema: &Schema) -> Vec<&str> {
        let is_known = |name: &str| {
            schema.methods().iter().any(|method| {
                method.service() == name || method.path().trim_start_matches('/') == name
            })
        };
        self.0.keys().map(String::as_str).filter(|name| !is_known(name)).collect()
    }
}

// === impl Sunset ===

impl Sunset {
    /// `None` if it is no date of the years 1970 to 9999.
    fn read(date: &str) -> Option<Self> {
        let time: Timestamp = date.parse().ok()?;
        let since = Duration::from_secs(u64::try_from(time.seconds).ok()?);
        let is_writable = time.seconds < 253_402_300_800;
        let time = UNIX_EPOCH.checked_add(since).filter(|_| is_writable)?;
        let header = HeaderValue::try_from(httpdate::fmt_http_date(time)).ok()?;
        Some(Self { date: date.into(), header })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_as_http_has_it() {
        for (date, expected) in [
            ("2027-06-30", "Wed, 30 Jun 2027 00:00:00 GMT"),
            ("2027-06-30T12:00:00Z", "Wed, 30 Jun 2027 12:00:00 GMT"),
            ("2027-06-30T12:00:00+02:00", "Wed, 30 Jun 2027 10:00:00 GMT"),
            ("9999-12-31", "Fri, 31 Dec 9999 00:00:00 GMT"),
        ] {
            assert_eq!(Sunset::read(date).unwrap().header, expected);
        }
    }

    #[test]
    fn what_is_no_date_is_said_with_its_name() {
        for date in ["", "soon", "2027-02-30", "30.6.2027", "1969-12-31", "10000-01-01"] {
            let dates = BTreeMap::from([("shop.v1.Catalog".to_owned(), date.to_owned())]);
            let error = Sunsets::read(&dates).unwrap_err().to_string();
            assert!(
                error.contains("gateway.sunsets") && error.contains("shop.v1.Catalog"),
                "{error}"
            );
        }
    }
}
