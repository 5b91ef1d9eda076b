//! Certificates that clients should not have, and some that they may.

use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData, RsaKeySize, SignatureAlgorithm};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::der::{self, from_pem, version_1};
use crate::ground::{Authority, authority, issued, issued_to};
use crate::support::Identity;

/// What must become of it where it is shown.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    Passes,
    /// The handshake fails, and the log says this of it.
    Fails(&'static str),
}

use Verdict::{Fails, Passes};

pub struct Odd {
    pub name: &'static str,
    pub identity: Identity,
    /// Where any certificate will do.
    pub any: Verdict,
    /// Where an authority must vouch for it.
    pub authorities: Verdict,
    /// curl and OpenSSL would not load it, so that rustls shows it.
    pub malformed: bool,
}

fn odd(name: &'static str, identity: Identity, any: Verdict, authorities: Verdict) -> Odd {
    Odd { name, identity, any, authorities, malformed: false }
}

fn malformed(name: &'static str, identity: Identity, any: Verdict, authorities: Verdict) -> Odd {
    Odd { malformed: true, ..odd(name, identity, any, authorities) }
}

/// A public key that the library would not make.
struct Short(Vec<u8>);

impl PublicKeyData for Short {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

/// What OpenSSL says.
fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// RSA with 1024 bits; neither rcgen nor rustls would touch it.
fn rsa_1024(authority: &Authority) -> Identity {
    let key = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, &key).unwrap();
    let public = openssl(&["rsa", "-in", file.to_str().unwrap(), "-RSAPublicKey_out"]);
    let public = Short(from_pem("RSA PUBLIC KEY", &public));
    let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let chain = vec![params.signed_by(&public, authority).unwrap().der().clone()];
    Identity { chain, key: PrivateKeyDer::Pkcs8(from_pem("PRIVATE KEY", &key).into()) }
}

/// A certificate at the end of so many authorities, each issued by the one before.
fn at_the_end_of(authorities: usize, root: &Authority) -> Identity {
    let mut between: Vec<Authority> = Vec::new();
    for number in 0..authorities {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("authority {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        between.push(CertifiedIssuer::signed_by(params, key, between.last().unwrap_or(root)).unwrap());
    }
    let mut identity = issued(between.last().unwrap_or(root), |_| {});
    identity.chain.extend(between.iter().rev().map(|authority| authority.der().clone()));
    identity
}

/// With an extension of this size, of which nobody knows what it means.
fn of_size(authority: &Authority, size: usize, critical: bool) -> Identity {
    issued(authority, |params| {
        let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], vec![5; size]);
        extension.set_criticality(critical);
        params.custom_extensions = vec![extension];
    })
}

fn changed(authority: &Authority, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Identity {
    let mut identity = issued(authority, |_| {});
    identity.chain = vec![CertificateDer::from(change(&identity.chain[0]))];
    identity
}

/// Keys of all kinds, each certified as it should be.
fn keys(authority: &Authority) -> Vec<Odd> {
    let with = |key: &KeyPair| issued_to(key, authority, |_| {});
    let of = |algorithm| with(&KeyPair::generate_for(algorithm).unwrap());
    let rsa = |size| with(&KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap());
    // The library's own form of such a key is one that OpenSSL cannot read.
    let ed25519 = KeyPair::from_pem(&openssl(&["genpkey", "-algorithm", "ed25519"])).unwrap();
    vec![
        odd("P-256", of(&rcgen::PKCS_ECDSA_P256_SHA256), Passes, Passes),
        odd("P-384", of(&rcgen::PKCS_ECDSA_P384_SHA384), Passes, Passes),
        odd("P-521", of(&rcgen::PKCS_ECDSA_P521_SHA512), Passes, Passes),
        odd("Ed25519", with(&ed25519), Passes, Passes),
        odd("RSA-2048", rsa(RsaKeySize::_2048), Passes, Passes),
        odd("RSA-4096", rsa(RsaKeySize::_4096), Passes, Passes),
        odd("RSA-1024", rsa_1024(authority), Fails("BadSignature"), Fails("BadSignature")),
    ]
}

/// What a certificate says of itself, and who vouches for it.
fn claims(authority: &Authority) -> Vec<Odd> {
    type Params = CertificateParams;
    let with = |change: fn(&mut Params)| issued(authority, change);
    let other = crate::ground::authority("client authority");
    let mut named_alike = CertificateParams::default();
    named_alike.distinguished_name.push(DnType::CommonName, "client authority");
    let alike = KeyPair::generate().unwrap();
    let alike = Identity {
        chain: vec![named_alike.self_signed(&alike).unwrap().der().clone()],
        key: PrivateKeyDer::try_from(alike.serialize_der()).unwrap(),
    };
    let purposes = |purposes: Vec<ExtendedKeyUsagePurpose>| issued(authority, |it| it.extended_key_usages = purposes);
    let usages = |usages: Vec<KeyUsagePurpose>| issued(authority, |it| it.key_usages = usages);
    let first = issued(authority, |_| {});
    let first = Identity { chain: vec![version_1(&first.chain[0], authority.key())], ..first };
    vec![
        odd(
            "expired",
            with(|it| it.not_after = rcgen::date_time_ymd(2021, 1, 1)),
            Passes,
            Fails("certificate expired"),
        ),
        odd(
            "not valid yet",
            with(|it| it.not_before = rcgen::date_time_ymd(2999, 1, 1)),
            Passes,
            Fails("certificate not valid yet"),
        ),
        odd(
            "valid before it is valid",
            with(|it| {
                it.not_before = rcgen::date_time_ymd(2099, 1, 1);
                it.not_after = rcgen::date_time_ymd(2098, 1, 1);
            }),
            Passes,
            Fails("Expired"),
        ),
        odd("for servers", purposes(vec![ExtendedKeyUsagePurpose::ServerAuth]), Passes, Fails("extended key usage")),
        odd("for any purpose", purposes(vec![ExtendedKeyUsagePurpose::Any]), Passes, Fails("extended key usage")),
        odd("for no purpose in particular", purposes(Vec::new()), Passes, Passes),
        odd(
            "for clients and servers",
            purposes(vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]),
            Passes,
            Passes,
        ),
        odd(
            "a key for encryption",
            usages(vec![KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyAgreement]),
            Passes,
            Fails("InvalidPurpose"),
        ),
        odd(
            "a key for certificates",
            usages(vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]),
            Passes,
            Fails("InvalidPurpose"),
        ),
        odd("a key for no use in particular", usages(Vec::new()), Passes, Passes),
        odd(
            "an authority",
            with(|it| it.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
            Passes,
            Fails("CaUsedAsEndEntity"),
        ),
        odd("X.509 version 1", first, Fails("UnsupportedCertVersion"), Fails("UnsupportedCertVersion")),
        odd("self-signed, with the authority's name", alike, Passes, Fails("BadSignature")),
        odd("of another authority of that name", issued(&other, |_| {}), Passes, Fails("BadSignature")),
        odd("self-signed", Identity::self_signed(), Passes, Fails("UnknownIssuer")),
        odd(
            "with an extension that must be understood",
            of_size(authority, 8, true),
            Fails("UnsupportedCriticalExtension"),
            Fails("UnsupportedCriticalExtension"),
        ),
    ]
}

/// Chains that are long, wide or large.
fn chains(authority: &Authority) -> Vec<Odd> {
    let strangers = |name: &'static str| {
        (0..60).map(move |_| crate::ground::authority(name).der().clone()).collect::<Vec<CertificateDer<'static>>>()
    };
    let mut beside = issued(authority, |_| {});
    beside.chain.extend(strangers("somebody"));
    let mut alike = issued(&crate::ground::authority("client authority"), |_| {});
    alike.chain.extend(strangers("client authority"));
    let mut again = issued(authority, |_| {});
    again.chain = vec![again.chain[0].clone(); 60];
    let mut no_signer = Vec::new();
    for usages in [vec![KeyUsagePurpose::KeyCertSign], vec![KeyUsagePurpose::DigitalSignature]] {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "between");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = usages;
        let between = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), authority).unwrap();
        let mut identity = issued(&between, |_| {});
        identity.chain.push(between.der().clone());
        no_signer.push(identity);
    }
    let no_signer_last = no_signer.pop().unwrap();
    vec![
        odd("behind one authority", no_signer.pop().unwrap(), Passes, Passes),
        odd("behind one that may not sign certificates", no_signer_last, Passes, Fails("UnknownIssuer")),
        odd("behind 5 authorities", at_the_end_of(5, authority), Passes, Passes),
        odd("behind 50 authorities", at_the_end_of(50, authority), Passes, Fails("MaximumPathDepthExceeded")),
        odd("beside 60 authorities of strangers", beside, Passes, Passes),
        odd("beside 60 authorities of that name", alike, Passes, Fails("invalid peer certificate")),
        odd("60 times the same", again, Passes, Passes),
        odd("of 50 kB", of_size(authority, 50_000, false), Passes, Passes),
        odd("of 70 kB", of_size(authority, 70_000, false), Fails("TooLarge"), Fails("TooLarge")),
    ]
}

/// What is no DER, or no certificate.
fn damaged(authority: &Authority) -> Vec<Odd> {
    let bad = |name, change: fn(&[u8]) -> Vec<u8>| {
        malformed(name, changed(authority, change), Fails("BadEncoding"), Fails("BadEncoding"))
    };
    let twice = issued(authority, |params| {
        let extension = || CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0]);
        params.custom_extensions = vec![extension(), extension()];
    });
    vec![
        bad("truncated", |der| der[..der.len() - 1].to_vec()),
        bad("half of one", |der| der[..der.len() / 2].to_vec()),
        bad("a byte behind it", |der| [der, &[0]].concat()),
        bad("another behind it", |der| [der, der].concat()),
        bad("garbage of its length", |der| vec![0xA5; der.len()]),
        bad("zeros of its length", |der| vec![0; der.len()]),
        bad("nothing", |_| Vec::new()),
        bad("an empty sequence", |_| der::element(der::SEQUENCE, &[])),
        bad("a length without end", |der| [&[0x30, 0x80], der::content(der), &[0, 0]].concat()),
        bad("a length with a zero before it", |der| {
            let length = u32::try_from(der::content(der).len()).unwrap().to_be_bytes();
            [&[0x30, 0x83], &length[1..], der::content(der)].concat()
        }),
        bad("a length of 4 GiB", |der| [&[0x30, 0x84, 0xFF, 0xFF, 0xFF, 0xFF], der::content(der)].concat()),
        bad("a set instead of a sequence", |der| [&[0x31], &der[1..]].concat()),
        malformed("an extension twice", twice, Fails("invalid peer certificate"), Fails("invalid peer certificate")),
    ]
}

pub fn all(authority: &Authority) -> Vec<Odd> {
    [keys(authority), claims(authority), chains(authority), damaged(authority)].into_iter().flatten().collect()
}

/// Good, and large. Not as large as may be: the session's tickets hold it, and rustls as a client takes no larger ones.
pub fn large(authority: &Authority) -> Identity {
    of_size(authority, 20_000, false)
}

/// One whose chain costs as much as possible before it fails.
pub fn costly() -> Identity {
    let mut identity = issued(&authority("client authority"), |_| {});
    identity.chain.extend((0..60).map(|_| authority("client authority").der().clone()));
    identity
}
