//! The folder of a mesh on one machine: databases, the key by which its services
//! know each other, and the account that was made for its owner.

use std::{
    io,
    path::{Path, PathBuf},
};

use chassis::settings::{self, Secret, Sources};
use serde::{Deserialize, Serialize};

/// E-mail address of the administrator of a new mesh.
const ADMIN_EMAIL: &str = "admin@example.com";

/// Where a mesh on this machine keeps what it keeps.
#[derive(Debug, Clone)]
pub struct Home {
    folder: PathBuf,
    account: Account,
}

/// The administrator that was made with the mesh.
#[derive(Clone, Serialize, Deserialize)]
pub struct Account {
    /// To sign in with.
    pub email: String,
    /// To sign in with.
    pub password: String,
}

// === impl Home ===

impl Home {
    /// Opens the folder, and fills it the first time.
    pub fn open(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        settings::mesh_seed(&folder.join("mesh.key"), true)?;
        let file = folder.join("admin.json");
        let account = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let password = chassis::Clock::system().token().chars().take(24).collect();
                let account = Account { email: ADMIN_EMAIL.to_owned(), password };
                settings::write_secret(&file, &serde_json::to_vec_pretty(&account)?)?;
                account
            }
            Err(error) => return Err(error),
        };
        Ok(Self { folder, account })
    }

    /// The administrator.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Settings for a mesh that lives here, which file, environment and flags may
    /// override.
    pub fn defaults(&self, sources: &mut Sources) {
        let folder = self.folder.display();
        let mut set = |key: &str, value: String| sources.defaults.push((key.to_owned(), value));
        set("database.url", format!("sqlite:{folder}/{{service}}.db"));
        set("mesh.mesh_key_file", format!("{folder}/mesh.key"));
        set("identity.admin_email", self.account.email.clone());
        set("identity.admin_password", self.account.password.clone());
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let password = Secret::new(self.password.as_str());
        f.debug_struct("Account").field("email", &self.email).field("password", &password).finish()
    }
}
