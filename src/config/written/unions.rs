//! Values that are written in more than one way.

use serde_json::{Value as Json, json};

use super::{
    AccessSample, AnyCertificate, Authorities, CertificateField, CertificateName, KeyTableLimits, NoKeyTables,
};
use crate::config::document::{Node, Value};
use crate::config::reading::{Field, Reading, Written};
use crate::config::schema::{Definitions, Schema};

/// Which client certificates pass the handshake.
#[derive(Debug)]
pub enum Trust {
    Any,
    Authorities(Authorities),
}

impl Schema for Trust {
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [AnyCertificate::schema(definitions), Authorities::schema(definitions)] })
    }
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

impl Schema for CertificateHeader {
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [CertificateName::schema(definitions), CertificateField::schema(definitions)] })
    }
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

/// Whether keys that come again have tables.
#[derive(Debug)]
pub enum KeyTables {
    Off,
    Within(KeyTableLimits),
}

impl Schema for KeyTables {
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [NoKeyTables::schema(definitions), KeyTableLimits::schema(definitions)] })
    }
}

impl Written for KeyTables {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Written::read(node, path, reading).map(Self::Within),
            Value::Text(_) => NoKeyTables::read(node, path, reading).map(|NoKeyTables::Off| Self::Off),
            _ => reading.mismatch(node, path, "`off` or a mapping with `memory`"),
        }
    }
}

/// Which requests leave a line.
#[derive(Debug)]
pub enum AccessLog {
    AllOrNone(bool),
    Sample(AccessSample),
}

impl Schema for AccessLog {
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [bool::schema(definitions), AccessSample::schema(definitions)] })
    }
}

impl Written for AccessLog {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => Written::read(node, path, reading).map(Self::Sample),
            Value::Bool(_) | Value::Text(_) => Written::read(node, path, reading).map(Self::AllOrNone),
            _ => reading.mismatch(node, path, "`true`, `false` or a mapping with `sample`"),
        }
    }
}

/// One file, or several in an order that matters.
#[derive(Debug)]
pub struct Files(pub Vec<Field<String>>);

impl Schema for Files {
    fn schema(definitions: &mut Definitions) -> Json {
        json!({ "anyOf": [String::schema(definitions), Vec::<Field<String>>::schema(definitions)] })
    }
}

impl Written for Files {
    fn read(node: &Node, path: &str, reading: &mut Reading<'_>) -> Option<Self> {
        match &node.value {
            Value::List(_) => Written::read(node, path, reading).map(Self),
            Value::Text(_) => Some(Self(vec![Field::of(node, path.to_owned(), reading)])),
            _ => reading.mismatch(node, path, "a file, or a list of files"),
        }
    }
}
