//! The token and the key that `proof` and `request` are given. Neither is ever part of an error.

use std::env;
use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use keybound::verify::Algorithm;
use zeroize::Zeroizing;

use super::is_dash;
use keybound::prover::ProofKey;

/// Where the token comes from when no argument says.
pub const TOKEN_VARIABLE: &str = "KEYBOUND_TOKEN";

/// Longer than any key, token or certificate chain; keeps `/dev/zero` from being read to its end.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Which access token.
#[derive(Args)]
pub struct TokenArgs {
    /// The access token; safer are --token-file and the environment variable KEYBOUND_TOKEN.
    ///
    /// Other users of this machine can read the arguments of its processes.
    #[arg(short = 'T', long, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<String>,

    /// A file that holds the access token and nothing else; - is standard input.
    ///
    /// Without --token and --token-file the environment variable KEYBOUND_TOKEN is used, if set.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl fmt::Debug for TokenArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenArgs").field("token_file", &self.token_file).finish_non_exhaustive()
    }
}

impl TokenArgs {
    /// Whether it is read from standard input, so that nothing else can be.
    pub fn is_on_stdin(&self) -> bool {
        self.token_file.as_deref().is_some_and(is_dash)
    }

    /// The token, if one was given.
    ///
    /// # Errors
    /// The file cannot be read, or holds no token.
    pub fn load(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        let (text, source) = if let Some(token) = &self.token {
            (Zeroizing::new(token.clone()), "--token".to_owned())
        } else if let Some(file) = &self.token_file {
            let cannot_read = || format!("cannot read the token file {}", file.display());
            let bytes = read(file).with_context(cannot_read)?;
            let text = std::str::from_utf8(&bytes).ok().context("it is not text").with_context(cannot_read)?;
            (Zeroizing::new(text.to_owned()), file.display().to_string())
        } else {
            match env::var(TOKEN_VARIABLE) {
                Ok(token) => (Zeroizing::new(token), TOKEN_VARIABLE.to_owned()),
                Err(env::VarError::NotPresent) => return Ok(None),
                Err(env::VarError::NotUnicode(_)) => bail!("{TOKEN_VARIABLE} is not text"),
            }
        };
        let token = text.trim();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!(
                "{source}: expected one access token, found {}",
                if token.is_empty() { "nothing" } else { "other text" }
            );
        }
        Ok(Some(Zeroizing::new(token.to_owned())))
    }
}

/// Which proof key.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The private key that signs the DPoP proof: PEM (PKCS#8, SEC1, PKCS#1) or JWK; `keybound key` makes one.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,

    /// What an RSA key signs with: PS256 (the default), PS384, PS512, RS256, RS384 or RS512.
    ///
    /// Other keys fit one algorithm only.
    #[arg(long, value_name = "ALGORITHM", requires = "key")]
    algorithm: Option<Algorithm>,
}

impl KeyArgs {
    /// The key, if one was given.
    ///
    /// # Errors
    /// The file cannot be read, or holds no usable key.
    pub fn load(&self) -> anyhow::Result<Option<ProofKey>> {
        let Some(file) = &self.key else { return Ok(None) };
        let text = read(file).with_context(|| format!("cannot read the key file {}", file.display()))?;
        let key = ProofKey::read(&text).and_then(|key| match self.algorithm {
            Some(algorithm) => key.with_algorithm(algorithm),
            None => Ok(key),
        });
        key.map(Some).with_context(|| format!("cannot use the key file {}", file.display()))
    }
}

/// A whole file that may be secret; `-` is standard input.
///
/// # Errors
/// What the system says, or that it is too large.
pub fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // A buffer that grows leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let limit = MAX_FILE_BYTES + 1;
    if is_dash(file) {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}
