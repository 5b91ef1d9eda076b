//! What files may hold, and what is said of those that may not.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::pkcs8::PrivateKeyInfoRef;
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use super::{ClientTrust, LoadError, ServerCertificate, load_roots};
use crate::accept::tests::pki::{authority, revocation_list, server_pem};
use crate::time::UnixTime;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A problem with its file's name and without the folder.
fn told(error: &LoadError) -> String {
    let name = error.path.file_name().unwrap().to_str().unwrap();
    assert_eq!(error.to_string(), format!("{}: {}", error.path.display(), error.problem));
    format!("{name}: {}", error.problem)
}

/// The one problem there is.
fn only(errors: Vec<LoadError>) -> LoadError {
    let [error] = <[LoadError; 1]>::try_from(errors).expect("one problem");
    error
}

fn pair() -> (String, String) {
    server_pem(&authority("server authority"), &["RS.example", "*.rs.example", "192.0.2.7", "2001:db8::7"])
}

#[test]
fn a_certificate_tells_its_names_and_its_end() {
    let (certificate, key) = pair();
    let loaded = ServerCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    assert_eq!(loaded.names(), ["rs.example", "*.rs.example", "192.0.2.7", "2001:db8::7"]);
    // 4096-01-01, where rcgen's patience ends.
    assert_eq!(loaded.expires(), UnixTime::from_secs(67_090_118_400));
    assert!(!format!("{loaded:?}").contains("PRIVATE"));
}

#[test]
fn certificate_and_key_may_share_a_file() {
    let folder = Folder::new();
    let (certificate, key) = pair();
    let both = folder.write("both.pem", format!("{key}{certificate}"));
    ServerCertificate::load(&both, &both).unwrap();
}

#[test]
fn keys_may_be_pkcs8_pkcs1_or_sec1() {
    let ec = KeyPair::generate().unwrap();
    let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    for (key, label) in
        [(&ec, "PRIVATE KEY"), (&ec, "EC PRIVATE KEY"), (&rsa, "RSA PRIVATE KEY"), (&ed25519, "PRIVATE KEY")]
    {
        let certificate = CertificateParams::default().self_signed(key).unwrap().pem();
        let pkcs8 = key.serialize_der();
        // The older forms are what PKCS#8 wraps.
        let inner = PrivateKeyInfoRef::try_from(&pkcs8[..]).unwrap().private_key.as_bytes();
        let pem = pem(label, if label == "PRIVATE KEY" { &pkcs8 } else { inner });
        ServerCertificate::from_pem(certificate.as_bytes(), pem.as_bytes()).expect(label);
    }
    let error = ServerCertificate::from_pem(pair().0.as_bytes(), rsa.serialize_pem().as_bytes()).unwrap_err();
    assert_eq!(error, "key: expected the private key of the first certificate, found another key");
}

#[test]
fn a_bad_key_file_is_explained_and_not_quoted() {
    let folder = Folder::new();
    let (certificate, key) = pair();
    let certificate_file = folder.write("tls.crt", &certificate);
    let cut = key.split_inclusive('\n').take(3).collect::<String>();
    let damaged = key.replacen("MI", "M!", 1);
    let expected = "expected a PEM private key (PKCS#8, PKCS#1 or SEC1), found";
    let unfit = "expected an RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519 private key, \
        found another or a damaged one";
    let hollow = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned();
    let encrypted = hollow.replace("PRIVATE", "ENCRYPTED PRIVATE");
    // As `openssl ec -aes256` writes it (RFC 1421).
    let header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,C76BA2B3DA0D94E43E8F9A6B71A9AD5F\n\n";
    let older = hollow.replace("PRIVATE", "EC PRIVATE").replacen("-----\n", &format!("-----\n{header}"), 1);
    for (content, problem) in [
        (older.into_bytes(), format!("{expected} an encrypted private key: decrypt it first")),
        (certificate.clone().into_bytes(), format!("{expected} a certificate")),
        (b" \n".to_vec(), format!("{expected} an empty file")),
        (b"secret: hunter2".to_vec(), format!("{expected} no PEM")),
        (encrypted.into_bytes(), format!("{expected} an encrypted private key: decrypt it first")),
        (hollow.replace("PRIVATE", "PUBLIC").into_bytes(), format!("{expected} a public key")),
        (hollow.replace("PRIVATE KEY", "DH PARAMETERS").into_bytes(), format!("{expected} another kind of PEM")),
        (KeyPair::generate().unwrap().serialize_der(), format!("{expected} binary data (DER): convert it to PEM")),
        (cut.into_bytes(), format!("{expected} PEM that breaks off")),
        (damaged.into_bytes(), format!("{expected} PEM with damaged base64")),
        (hollow.into_bytes(), unfit.to_owned()),
        (
            KeyPair::generate().unwrap().serialize_pem().into_bytes(),
            "expected the private key of the first certificate, found another key".to_owned(),
        ),
    ] {
        let key_file = folder.write("tls.key", &content);
        let error = only(ServerCertificate::load(&certificate_file, &key_file).unwrap_err());
        assert_eq!(told(&error), format!("tls.key: {problem}"));
    }
    ServerCertificate::load(&certificate_file, &folder.write("tls.key", key)).unwrap();
}

#[test]
fn a_bad_certificate_file_is_explained() {
    let folder = Folder::new();
    let (_, key) = pair();
    let key_file = folder.write("tls.key", &key);
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, problem) in [
        (key.as_str(), "expected PEM certificates, found a private key"),
        ("", "expected PEM certificates, found an empty file"),
        (hollow, "expected a certificate, found PEM around something else"),
    ] {
        let error = only(ServerCertificate::load(&folder.write("tls.crt", content), &key_file).unwrap_err());
        assert_eq!(told(&error), format!("tls.crt: {problem}"));
    }
    let error = only(ServerCertificate::load(Path::new("/nowhere/tls.crt"), &key_file).unwrap_err());
    assert!(told(&error).starts_with("tls.crt: cannot be read: No such file"), "{error}");
    let error = only(ServerCertificate::load(Path::new("/dev/zero"), &key_file).unwrap_err());
    assert_eq!(told(&error), "zero: larger than the 67108864 bytes that such a file may have");
}

#[test]
fn authorities_and_revocation_lists_are_read() {
    let folder = Folder::new();
    let (first, second) = (authority("first"), authority("second"));
    let ca_file = folder.write("ca.pem", format!("{}{}", first.pem(), second.pem()));
    let der = folder.write("first.crl", revocation_list(&first, &[1], 2100));
    let pem = revocation_list(&second, &[2], 2100);
    let pem = folder.write("second.crl", self::pem("X509 CRL", &pem));
    let ClientTrust::Authorities { roots, crls } = ClientTrust::load(&ca_file, &[der, pem]).unwrap() else {
        panic!("no authorities");
    };
    assert_eq!((roots.len(), crls.len()), (2, 2));
}

#[test]
fn bad_authorities_and_revocation_lists_are_explained() {
    let folder = Folder::new();
    let (certificate, key) = pair();
    let error = load_roots(&folder.write("ca.pem", key)).unwrap_err();
    assert_eq!(told(&error), "ca.pem: expected PEM certificates, found a private key");
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = load_roots(&folder.write("ca.pem", format!("{certificate}{hollow}"))).unwrap_err();
    assert!(told(&error).starts_with("ca.pem: expected authorities, found that certificate 2 is none"), "{error}");

    let ca_file = folder.write("ca.pem", authority("good").pem());
    for (content, problem) in [
        (certificate.into_bytes(), "expected certificate revocation lists, found a certificate"),
        (vec![0x30, 0x82, 0, 0], "expected a certificate revocation list of RFC 5280, found one with a flaw"),
    ] {
        let error = only(ClientTrust::load(&ca_file, &[folder.write("ca.crl", content)]).unwrap_err());
        assert!(told(&error).starts_with(&format!("ca.crl: {problem}")), "{error}");
    }
}

#[test]
fn every_file_that_cannot_be_used_is_told_at_once() {
    let folder = Folder::new();
    let (certificate, key) = pair();
    let swapped = (folder.write("tls.crt", key), folder.write("tls.key", certificate));
    assert_eq!(ServerCertificate::load(&swapped.0, &swapped.1).unwrap_err().len(), 2);
    let crls = [folder.write("a.crl", "x"), folder.write("b.crl", "y")];
    assert_eq!(ClientTrust::load(&swapped.0, &crls).unwrap_err().len(), 3);
}
