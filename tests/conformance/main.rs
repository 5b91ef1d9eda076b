//! The conformance checklist as tests. Every test that stands for numbered cases begins its name with them: `neg_042_…`,
//! `pos_07_…`; `README.md` beside this file maps all numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod access_token;
mod binding;
mod cors;
mod decision;
mod detours;
mod differential;
mod explain;
mod extraction;
mod fixtures;
mod hops;
mod identity;
mod introspection;
mod limits;
mod metadata;
mod mtls;
mod nonce;
mod observe;
mod pass;
mod positive;
mod proof_key;
mod proof_request;
mod proof_structure;
mod proxying;
mod replay;
mod support;
mod target;
mod upstreams;
