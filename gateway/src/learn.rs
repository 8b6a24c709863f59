//! Where the descriptors come from: the build, a file, or the reflection of the
//! servers themselves. The last two are looked at again and again.

mod compatible;
mod reflection;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use chassis::{
    Contract, Error, Peers,
    contract::{Foreign, Policies},
    service::Host,
};
use prost_reflect::DescriptorPool;

pub(crate) use compatible::breaks;
use reflection::Reflected;

use crate::config::{Access, Config, Descriptors};

/// Contracts, and the bytes that they were made of.
#[derive(Debug, Clone)]
pub(crate) struct Learned {
    pub(crate) contract: Arc<Contract>,
    pub(crate) is_foreign: bool,
    origin: Origin,
}

/// What is compared to see whether anything changed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Embedded,
    File(Vec<u8>, Owners),
    Reflection(Reflected),
}

/// Which upstream serves a gRPC service.
type Owners = BTreeMap<String, String>;

/// Knows how to learn.
#[derive(Debug, Clone)]
pub(crate) struct Teacher {
    source: Descriptors,
    /// Upstreams that are not of this mesh, by name. Empty: this mesh's services.
    upstreams: BTreeMap<String, String>,
    policies: Policies,
    embedded: Arc<Contract>,
    bounds: reflection::Bounds,
}

// === impl Learned ===

impl Learned {
    /// Whether it was made of the same bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.origin == other.origin
    }
}

// === impl Teacher ===

impl Teacher {
    pub(crate) fn new(config: &Config, host: &Host) -> Result<Self, Error> {
        let upstreams = config.upstream_addresses()?;
        let source = match config.descriptors() {
            // The contracts of this build say nothing of servers that are not ours.
            Descriptors::Embedded if !upstreams.is_empty() => Descriptors::Reflection,
            source => source,
        };
        let policies = match (&config.policies, config.access) {
            (Some(file), None) => read_policies(file)?,
            (None, Some(Access::Public)) => Policies::public(),
            (Some(_), Some(_)) => {
                return Err(Error::build("give `gateway.access` or `gateway.policies`, not both"));
            }
            (None, None) => Policies::default(),
        };
        Ok(Self {
            source,
            upstreams,
            policies,
            embedded: Arc::clone(&host.contract),
            bounds: reflection::Bounds {
                timeout: config.reflection_timeout,
                bytes_max: config.descriptor_bytes_max,
            },
        })
    }

    /// Whether descriptors can change while this runs.
    pub(crate) fn is_live(&self) -> bool {
        self.source != Descriptors::Embedded
    }

    /// The names and addresses of what is asked for descriptors.
    pub(crate) fn upstreams(&self) -> &BTreeMap<String, String> {
        &self.upstreams
    }

    /// Learns once. `peers` leads to the upstreams, by name.
    pub(crate) async fn learn(&self, peers: &Peers) -> Result<Learned, Error> {
        match &self.source {
            Descriptors::Embedded => Ok(Learned {
                contract: Arc::clone(&self.embedded),
                is_foreign: false,
                origin: Origin::Embedded,
            }),
            Descriptors::File(file) => self.read_file(file, peers).await,
            Descriptors::Reflection => {
                let reflected = reflection::ask(peers, &self.asked(), &self.bounds).await?;
                self.finish(reflected.pool()?, reflected.owners(), Origin::Reflection(reflected))
            }
        }
    }

    /// Learns again; `None` if nothing changed.
    pub(crate) async fn learn_again(
        &self,
        peers: &Peers,
        before: &Learned,
    ) -> Result<Option<Learned>, Error> {
        let learned = self.learn(peers).await?;
        Ok((learned.origin != before.origin).then_some(learned))
    }

    fn asked(&self) -> BTreeSet<String> {
        if self.upstreams.is_empty() {
            self.embedded.service_names().into_iter().collect()
        } else {
            self.upstreams.keys().cloned().collect()
        }
    }

    async fn read_file(&self, file: &PathBuf, peers: &Peers) -> Result<Learned, Error> {
        let bytes = read(file, self.bounds.bytes_max)?;
        let pool = DescriptorPool::decode(bytes.as_slice()).map_err(|error| {
            Error::Build(
                format!(
                    "{} is no FileDescriptorSet: make one with `buf build -o FILE` or \
                     `protoc --include_imports --descriptor_set_out=FILE`",
                    file.display()
                ),
                Some(Box::new(error)),
            )
        })?;
        let mut upstreams = self.upstreams.keys();
        let owners = match (upstreams.next(), upstreams.next()) {
            (None, _) => Owners::new(),
            (Some(only), None) => pool
                .services()
                .map(|service| (service.full_name().to_owned(), only.clone()))
                .filter(|(name, _)| !reflection::is_infrastructure(name))
                .collect(),
            // Who serves what is theirs to say.
            (Some(_), Some(_)) => reflection::services(peers, &self.asked(), &self.bounds).await?,
        };
        self.finish(pool, owners.clone(), Origin::File(bytes, owners))
    }

    fn finish(
        &self,
        pool: DescriptorPool,
        owners: Owners,
        origin: Origin,
    ) -> Result<Learned, Error> {
        let is_foreign = !self.upstreams.is_empty();
        let contract = if is_foreign {
            Contract::foreign(pool, Foreign { owners, policies: self.policies.clone() })?
        } else {
            Contract::new(pool)?
        };
        Ok(Learned { contract: Arc::new(contract), is_foreign, origin })
    }
}

fn read(file: &PathBuf, bytes_max: usize) -> Result<Vec<u8>, Error> {
    let failed = |why: std::io::Error| {
        Error::Build(format!("{} cannot be read", file.display()), Some(why.into()))
    };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if usize::try_from(length).map_or(true, |length| length > bytes_max) {
        return Err(Error::build(format!(
            "{} has {length} bytes, more than gateway.descriptor_bytes_max = {bytes_max}",
            file.display()
        )));
    }
    std::fs::read(file).map_err(failed)
}

fn read_policies(file: &PathBuf) -> Result<Policies, Error> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Error::Build(format!("{} cannot be read", file.display()), Some(error.into()))
    })?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        Error::Build(format!("{} is no policy file", file.display()), Some(error.into()))
    })
}
