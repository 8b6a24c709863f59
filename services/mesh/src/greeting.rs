//! What a mesh that is up says of itself: where it is, and what to try first.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    client::{Speech, reachable},
    home::Home,
};

/// The words to the person who started a mesh.
#[derive(Debug)]
pub struct Greeting<'a> {
    /// Where its data is.
    pub home: &'a Home,
    /// How long the start took.
    pub took: Duration,
    /// Where the gateway listens.
    pub gateway: SocketAddr,
    /// What the ports speak.
    pub speech: &'a Speech,
    /// Every service with its gRPC port.
    pub services: Vec<(&'a str, SocketAddr)>,
    /// Where the admin page is, if it has an address.
    pub admin: Option<SocketAddr>,
}

// === impl Greeting ===

impl fmt::Display for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { home, took, .. } = self;
        let listening = self.speech.url(self.gateway);
        writeln!(
            f,
            "Mercat is up after {took:.1?}. Its data is in {}.\n",
            home.folder().display()
        )?;
        writeln!(f, "  REST, gRPC, gRPC-Web   {listening}")?;
        writeln!(f, "  OpenAPI                {listening}/openapi.json")?;
        if let Some(admin) = self.admin {
            writeln!(f, "  Metrics                http://{admin}/metrics")?;
        }
        for (name, address) in &self.services {
            writeln!(f, "  {name:<22} {address}")?;
        }
        writeln!(
            f,
            "\nThe administrator is {} with the password {}.\n",
            home.account().email,
            home.account().password
        )?;
        let gateway = reachable(self.gateway);
        let url = self.speech.url(gateway);
        writeln!(f, "Try:")?;
        match self.speech {
            Speech::Plain => {
                writeln!(f, "  curl -s '{url}/v1/products?pageSize=3'")?;
                writeln!(f, "  grpcurl -plaintext {gateway} list")?;
                writeln!(f, "  mercat shop --gateway {gateway}")?;
            }
            Speech::Secret(tls) => {
                let believing = |flag: &str| match &tls.ca_file {
                    Some(file) => format!(" {flag} {}", file.display()),
                    None => String::new(),
                };
                writeln!(f, "  curl -s{} '{url}/v1/products?pageSize=3'", believing("--cacert"))?;
                writeln!(f, "  grpcurl{} {gateway} list", believing("-cacert"))?;
                writeln!(f, "  mercat shop --gateway {url}{}", believing("--ca"))?;
            }
        }
        write!(f, "\nCtrl-C stops it.")
    }
}
