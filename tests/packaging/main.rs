//! What is shipped beside the program: the image, manifests, units, configurations, rules and dashboard of `deploy/`, checked
//! by the tools of those who will read them, and as far as possible run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on must fail")]
#![allow(clippy::pedantic, missing_docs, reason = "pedantry is for what ships")]

mod configurations;
mod image;
mod kubernetes;
mod systemd;
mod tools;
