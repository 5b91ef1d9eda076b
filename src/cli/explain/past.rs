//! `keybound explain --request-id`: asks a running gateway why it refused a request.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use http::{HeaderValue, StatusCode};
use zeroize::Zeroizing;

use crate::cli::admin::AdminArgs;
use crate::cli::credentials::read;
use crate::cli::{stdout, usage};

/// Which request of the past.
#[derive(Debug, Args)]
pub struct Past {
    /// Ask a running gateway why it refused the request of this id, as in the answer's X-Request-Id.
    ///
    /// A gateway remembers the last refusals of each reason, and no request that passed.
    #[arg(long, value_name = "ID", conflicts_with_all = ["url", "config", "jwks", "proof_file", "cert", "at"])]
    pub request_id: Option<String>,

    /// A file that holds the admin port's secret (admin.token_file), where it has one; - is standard input.
    #[arg(long, value_name = "FILE", requires = "request_id")]
    admin_token_file: Option<PathBuf>,

    #[command(flatten)]
    admin: AdminArgs,
}

impl Past {
    /// Asks and prints.
    ///
    /// # Errors
    /// For `report`: no answer, or none about this request.
    pub fn explain(&self, id: &str, json: bool) -> anyhow::Result<ExitCode> {
        // Nothing else is ever an id, and anything else could be a path.
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        if !is_id {
            let message = "--request-id: expected an id as in X-Request-Id, for example d45ef4ecb1bfef3b-1";
            return Err(usage("explain", message));
        }
        let question = self.admin.question("explain", &format!("/explain/{id}"))?;
        let authorization = self.admin_token_file.as_deref().map(authorization).transpose()?;
        let accept = if json { "application/json" } else { "text/plain" };
        let (status, words) = self.admin.ask(&question, accept, authorization)?;
        if status == StatusCode::OK {
            stdout::write(&words)?;
            return Ok(ExitCode::SUCCESS);
        }
        let words = String::from_utf8_lossy(&words);
        let words = words.lines().next().unwrap_or_default();
        match status {
            StatusCode::NOT_FOUND => bail!("{id}: {words}"),
            StatusCode::UNAUTHORIZED => bail!("{question}: {words} (--admin-token-file)"),
            _ => bail!("{question}: {status}: {words}"),
        }
    }
}

fn authorization(file: &Path) -> anyhow::Result<HeaderValue> {
    let cannot_use = || format!("cannot use the secret in {}", file.display());
    let secret = read(file).with_context(cannot_use)?;
    let line = Zeroizing::new([b"Bearer ", secret.trim_ascii()].concat());
    let mut line = HeaderValue::from_bytes(&line).map_err(|_| anyhow!("it is no text")).with_context(cannot_use)?;
    line.set_sensitive(true);
    Ok(line)
}
