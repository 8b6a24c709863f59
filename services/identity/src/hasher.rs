//! Argon2id, as many at a time as the machine can bear: hashing is the most
//! expensive thing that a stranger can make this service do.

use std::sync::Arc;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{config::Config, error::Error};

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    /// Calls that are admitted: those at work and those that wait.
    admitted: Arc<Semaphore>,
    /// Calls at work.
    working: Arc<Semaphore>,
    /// What the password of an unknown e-mail address is verified against, so
    /// that it takes as long as a known one's.
    nobody: Arc<str>,
}

/// A place in the queue, taken before anything is written on the call's behalf.
pub(crate) struct Place {
    hasher: Hasher,
    _admitted: OwnedSemaphorePermit,
}

// === impl Hasher ===

impl Hasher {
    /// A hasher with these parameters and bounds.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let params =
            Params::new(config.argon2_memory_kib, config.argon2_passes, config.argon2_lanes, None)
                .map_err(|error| Error::Hash(error.into()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = argon2.hash_password(b"nobody's password").map_err(Error::Hash)?.to_string();
        let working = usize::try_from(config.concurrent_hashes_max.max(1)).unwrap_or(1);
        let waiting = usize::try_from(config.waiting_hashes_max).unwrap_or(0);
        Ok(Self {
            argon2,
            admitted: Arc::new(Semaphore::new(working + waiting)),
            working: Arc::new(Semaphore::new(working)),
            nobody: nobody.into(),
        })
    }

    /// A place in the queue, if there is one left.
    pub(crate) fn place(&self) -> Result<Place, Error> {
        let admitted =
            Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Error::HashingBusy)?;
        Ok(Place { hasher: self.clone(), _admitted: admitted })
    }
}

// === impl Place ===

impl Place {
    /// A salted hash of the password, as a PHC string.
    pub(crate) async fn hash(&self, password: &str) -> Result<String, Error> {
        let password = password.to_owned();
        self.work(move |argon2| {
            argon2.hash_password(password.as_bytes()).map(|hash| hash.to_string())
        })
        .await
    }

    /// Whether the password is the one that was hashed. Without a hash the
    /// answer is no, and takes as long.
    pub(crate) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Error> {
        let password = password.to_owned();
        let known = hash.is_some();
        let hash = hash.map_or_else(|| self.hasher.nobody.to_string(), str::to_owned);
        let matches = self
            .work(move |argon2| {
                let hash = PasswordHash::new(&hash)?;
                match argon2.verify_password(password.as_bytes(), &hash) {
                    Ok(()) => Ok(true),
                    Err(password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        Ok(matches && known)
    }

    async fn work<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Argon2<'static>) -> Result<T, password_hash::Error> + Send + 'static,
    {
        let working = Arc::clone(&self.hasher.working)
            .acquire_owned()
            .await
            .map_err(|_| Error::HashingBusy)?;
        let argon2 = self.hasher.argon2.clone();
        tokio::task::spawn_blocking(move || {
            // Held by the work and not by the call: a caller that went away
            // leaves its memory in use until the hash is done.
            let _working = working;
            work(&argon2)
        })
        .await
        .map_err(Error::HashTask)?
        .map_err(Error::Hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasher(working: u32, waiting: u32) -> Hasher {
        Hasher::new(&Config {
            argon2_memory_kib: 64,
            argon2_passes: 1,
            concurrent_hashes_max: working,
            waiting_hashes_max: waiting,
            ..Config::default()
        })
        .unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_somebody_is_right() {
        let hasher = hasher(1, 0);
        let place = hasher.place().unwrap();
        let hash = place.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert!(place.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!place.verify("wrong horse", Some(&hash)).await.unwrap());
        assert!(!place.verify("nobody's password", None).await.unwrap());
    }

    #[tokio::test]
    async fn beyond_the_queue_a_call_is_refused() {
        let hasher = hasher(1, 1);
        let held = (hasher.place().unwrap(), hasher.place().unwrap());
        assert!(matches!(hasher.place(), Err(Error::HashingBusy)));
        drop(held);
        assert!(hasher.place().is_ok());
    }
}
