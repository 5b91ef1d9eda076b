//! Files for whoever wants to call the running demo: they are gone when it ends.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use keybound::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::stage::Stage;
use crate::cli::key::file::{self, Access};

/// A folder that only its owner can enter.
pub struct Keepsakes(PathBuf);

impl Keepsakes {
    /// The gateway's certificate.
    pub const SERVER: &'static str = "gateway.crt";
    /// The client's private key, for proofs and for TLS.
    pub const KEY: &'static str = "client.pem";
    /// The client's certificate.
    pub const CERTIFICATE: &'static str = "client.crt";
    /// A token bound to the key.
    pub const DPOP_TOKEN: &'static str = "dpop.token";
    /// A token bound to the certificate.
    pub const MTLS_TOKEN: &'static str = "mtls.token";

    /// Writes them.
    pub fn of(stage: &Stage) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("keybound-demo-{}", std::process::id()));
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let keepsakes = Self(folder);
        let client = &stage.client;
        let now = SystemClock.now();
        let dpop = stage.issuer.token(&json!({ "jkt": client.key.thumbprint().to_string() }), now)?;
        let mtls = stage.issuer.token(&json!({ "x5t#S256": client.x5t }), now)?;
        for (name, content) in [
            (Self::SERVER, stage.server_pem.as_bytes()),
            (Self::KEY, client.key.to_pem()?.as_bytes()),
            (Self::CERTIFICATE, client.certificate_pem.as_bytes()),
            (Self::DPOP_TOKEN, dpop.as_bytes()),
            (Self::MTLS_TOKEN, mtls.as_bytes()),
        ] {
            file::write(&keepsakes.path(name), content, Access::Owner, false)?;
        }
        Ok(keepsakes)
    }

    /// Where one of them is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Keepsakes {
    fn drop(&mut self) {
        // Whatever is in the way lies in a folder that the system cleans up.
        let _ = fs::remove_dir_all(&self.0);
    }
}
