//! Values that may be written in more than one form.

use super::{AnyCertificate, Authorities, CertificateField, CertificateName};
use crate::config::document::{Node, Value};
use crate::config::reading::{Field, Reading, Written};

/// Which client certificates pass the handshake.
#[derive(Debug)]
pub enum Trust {
    Any,
    Authorities(Authorities),
}

impl Written for Trust {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Written::read(node, path, reading).map(Self::Authorities),
            Value::Text(_) => AnyCertificate::read(node, path, reading).map(|AnyCertificate::Any| Self::Any),
            _ => reading.mismatch(node, path, "`any` or a mapping with `ca_file`"),
        }
    }
}

/// Which field of a proxy holds the client's certificate.
#[derive(Debug)]
pub enum CertificateHeader {
    Known(CertificateName),
    Named(CertificateField),
}

impl Written for CertificateHeader {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Written::read(node, path, reading).map(Self::Named),
            Value::Text(_) => CertificateName::read(node, path, reading).map(Self::Known),
            _ => reading.mismatch(
                node,
                path,
                "`client-cert`, `x-forwarded-client-cert` or a mapping with `name` and `encoding`",
            ),
        }
    }
}

/// One file, or several in an order that matters.
#[derive(Debug)]
pub struct Files(pub Vec<Field<String>>);

impl Written for Files {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Written::read(node, path, reading).map(Self),
            Value::Text(_) => Some(Self(vec![Field::of(node, path.to_owned(), reading)])),
            _ => reading.mismatch(node, path, "a file, or a list of files"),
        }
    }
}
