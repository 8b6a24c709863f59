//! Descriptors by `grpc.reflection` v1, and v1alpha of servers that have no other
//! (gRPC server reflection protocol).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use chassis::{Channel, Error, Fault, Peers};
use contracts::mesh::v1::ErrorReason;
use futures_util::{StreamExt as _, stream};
use prost_reflect::{DescriptorPool, prost::Message as _, prost_types::FileDescriptorProto};
use tonic::Code;
use tonic_reflection::pb::{v1, v1alpha};

use super::Owners;

/// How many files one server may have.
const FILES_MAX: usize = 4_096;

/// The bounds of learning from one server.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) timeout: Duration,
    pub(super) bytes_max: usize,
}

/// What the servers said: each file by its name, and who serves which service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Reflected {
    files: BTreeMap<String, Vec<u8>>,
    owners: Owners,
}

/// Services that every server has for itself.
pub(super) fn is_infrastructure(service: &str) -> bool {
    service.starts_with("grpc.reflection.") || service.starts_with("grpc.health.")
}

/// Asks every server for its services and all their files.
pub(super) async fn ask(
    peers: &Peers,
    names: &BTreeSet<String>,
    bounds: &Bounds,
) -> Result<Reflected, Error> {
    let mut all = Reflected::default();
    for name in names {
        let server = Server { channel: peers.channel(name), name, bounds };
        let (services, files) = server.bounded(server.everything()).await?;
        for service in services {
            all.own(service, name)?;
        }
        for (file, bytes) in files {
            match all.files.get(&file) {
                Some(known) if *known != bytes => {
                    return Err(Error::build(format!(
                        "{name} has another {file} than the upstreams before it: \
                         one gateway needs one version of each file"
                    )));
                }
                Some(_) => {}
                None => {
                    all.files.insert(file, bytes);
                }
            }
        }
    }
    Ok(all)
}

/// Asks every server for its services only.
pub(super) async fn services(
    peers: &Peers,
    names: &BTreeSet<String>,
    bounds: &Bounds,
) -> Result<Owners, Error> {
    let mut all = Reflected::default();
    for name in names {
        let server = Server { channel: peers.channel(name), name, bounds };
        for service in server.bounded(server.services()).await? {
            all.own(service, name)?;
        }
    }
    Ok(all.owners)
}

// === impl Reflected ===

impl Reflected {
    fn own(&mut self, service: String, server: &str) -> Result<(), Error> {
        if is_infrastructure(&service) {
            return Ok(());
        }
        if let Some(other) = self.owners.get(&service) {
            return Err(Error::build(format!(
                "{service} is served by {other} and by {server}: give all instances of one \
                 service as one upstream, with commas between"
            )));
        }
        self.owners.insert(service, server.to_owned());
        Ok(())
    }

    pub(super) fn owners(&self) -> Owners {
        self.owners.clone()
    }

    /// The files in an order in which each comes after those it imports.
    pub(super) fn pool(&self) -> Result<DescriptorPool, Error> {
        let mut pool = DescriptorPool::new();
        let mut added = BTreeSet::new();
        for name in self.files.keys() {
            self.add(name, &mut pool, &mut added, 0)?;
        }
        Ok(pool)
    }

    fn add(
        &self,
        name: &str,
        pool: &mut DescriptorPool,
        added: &mut BTreeSet<String>,
        depth: usize,
    ) -> Result<(), Error> {
        if !added.insert(name.to_owned()) {
            return Ok(());
        }
        let unusable = |why: String| Error::build(format!("the file {name} of an upstream {why}"));
        if depth > FILES_MAX {
            return Err(unusable("imports too deeply".to_owned()));
        }
        let bytes = self
            .files
            .get(name)
            .ok_or_else(|| unusable("is imported, but no upstream has it".to_owned()))?;
        let file = FileDescriptorProto::decode(bytes.as_slice())
            .map_err(|error| unusable(format!("cannot be read: {error}")))?;
        for import in &file.dependency {
            self.add(import, pool, added, depth + 1)?;
        }
        pool.decode_file_descriptor_proto(bytes.as_slice())
            .map_err(|error| unusable(format!("cannot be used: {error}")))
    }
}

/// One server that is asked.
struct Server<'a> {
    channel: Channel,
    name: &'a str,
    bounds: &'a Bounds,
}

enum Question {
    Services,
    Symbol(String),
    File(String),
}

enum Answer {
    Services(Vec<String>),
    Files(Vec<Vec<u8>>),
}

// === impl Server ===

impl Server<'_> {
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Error> {
        let why = match tokio::time::timeout(self.bounds.timeout, work).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(fault)) if fault.code() == Code::Unimplemented => {
                return Err(Error::build(format!(
                    "{} has no reflection: give its contracts with --descriptors FILE",
                    self.name
                )));
            }
            Ok(Err(fault)) => fault.to_string(),
            Err(_elapsed) => {
                format!("no answer within {}", chassis::duration::format(&self.bounds.timeout))
            }
        };
        Err(Error::build(format!("{} cannot be asked for its contracts: {why}", self.name)))
    }

    async fn services(&self) -> Result<Vec<String>, Fault> {
        match self.one(Question::Services).await? {
            Answer::Services(names) => Ok(names),
            Answer::Files(_) => Err(unexpected()),
        }
    }

    async fn everything(&self) -> Result<(Vec<String>, BTreeMap<String, Vec<u8>>), Fault> {
        let services = self.services().await?;
        let mut files = BTreeMap::new();
        let mut bytes_left = self.bounds.bytes_max;
        let mut wanted: VecDeque<Question> = services
            .iter()
            .filter(|name| !is_infrastructure(name))
            .map(|name| Question::Symbol(name.clone()))
            .collect();
        let mut asked = BTreeSet::new();
        while let Some(question) = wanted.pop_front() {
            if let Question::File(name) = &question
                && (files.contains_key(name) || !asked.insert(name.clone()))
            {
                continue;
            }
            let Answer::Files(found) = self.one(question).await? else {
                return Err(unexpected());
            };
            for bytes in found {
                bytes_left = bytes_left.checked_sub(bytes.len()).ok_or_else(too_large)?;
                let file = FileDescriptorProto::decode(bytes.as_slice())
                    .map_err(|error| Fault::internal().because(error))?;
                wanted.extend(file.dependency.iter().cloned().map(Question::File));
                files.insert(file.name().to_owned(), bytes);
                if files.len() > FILES_MAX {
                    return Err(too_large());
                }
            }
        }
        Ok((services, files))
    }

    /// Asks one question, in the newer version of the protocol if the server has it.
    async fn one(&self, question: Question) -> Result<Answer, Fault> {
        match self.ask_v1(&question).await {
            Err(fault) if fault.code() == Code::Unimplemented => self.ask_v1alpha(&question).await,
            answered => answered,
        }
    }
}

fn unexpected() -> Fault {
    Fault::internal().because("the server answered another question than was asked")
}

fn too_large() -> Fault {
    Fault::resource_exhausted(ErrorReason::MessageTooLarge)
        .message("its contracts are larger than gateway.descriptor_bytes_max")
}

/// Both versions of the protocol are the same but for their package.
macro_rules! version {
    ($ask:ident, $pb:ident) => {
        impl Server<'_> {
            async fn $ask(&self, question: &Question) -> Result<Answer, Fault> {
                use $pb::{
                    server_reflection_client::ServerReflectionClient,
                    server_reflection_request::MessageRequest,
                    server_reflection_response::MessageResponse,
                };
                let asked = match question {
                    Question::Services => MessageRequest::ListServices(String::new()),
                    Question::Symbol(name) => MessageRequest::FileContainingSymbol(name.clone()),
                    Question::File(name) => MessageRequest::FileByFilename(name.clone()),
                };
                let request = $pb::ServerReflectionRequest {
                    host: String::new(),
                    message_request: Some(asked),
                };
                let mut client = ServerReflectionClient::new(self.channel.clone())
                    .max_decoding_message_size(self.bounds.bytes_max);
                let requests = stream::once(std::future::ready(request));
                let mut answers = client
                    .server_reflection_info(requests)
                    .await
                    .map_err(|status| Fault::from_status(&status))?
                    .into_inner();
                let answer = answers
                    .next()
                    .await
                    .ok_or_else(unexpected)?
                    .map_err(|status| Fault::from_status(&status))?;
                match answer.message_response {
                    Some(MessageResponse::ListServicesResponse(list)) => Ok(Answer::Services(
                        list.service.into_iter().map(|service| service.name).collect(),
                    )),
                    Some(MessageResponse::FileDescriptorResponse(files)) => {
                        Ok(Answer::Files(files.file_descriptor_proto))
                    }
                    Some(MessageResponse::ErrorResponse(error)) => {
                        Err(Fault::of(Code::from_i32(error.error_code), ErrorReason::Unavailable)
                            .message(error.error_message))
                    }
                    _ => Err(unexpected()),
                }
            }
        }
    };
}

version!(ask_v1, v1);
version!(ask_v1alpha, v1alpha);
