//! Odd client certificates. Each comes with a token that is bound to it.

use crate::clients::{self, VERSIONS, Version};
use crate::ground::{Door, Ground};
use crate::odd::{self, Odd, Verdict};

/// Shows a certificate with a token that is bound to it.
async fn shown(ground: &Ground, odd: &Odd, door: Door, version: Version, verdict: Verdict) -> Result<(), String> {
    let (seen, failed) = (ground.stage.api.count(), ground.failures().len());
    let call = ground.call(&odd.identity);
    let status = if odd.malformed {
        clients::by_rustls(ground, door, version, &odd.identity, &call).await
    } else {
        clients::curl(ground, door, version, &odd.identity, &call).await
    };
    let arrived = ground.stage.api.count() - seen;
    match verdict {
        Verdict::Passes if (status, arrived) == (200, 1) => Ok(()),
        Verdict::Fails(reason) if (status, arrived) == (0, 0) => {
            let found = ground.failure(failed).await;
            ground.is_well(odd.name).await;
            if found.contains(reason) { Ok(()) } else { Err(format!("it failed for this: {found}")) }
        }
        _ => Err(format!("{status} was answered and {arrived} arrived; {:?}", ground.failures().get(failed))),
    }
}

#[tokio::test]
async fn odd_certificates_pass_or_fail_as_they_should() {
    let ground = Ground::set().await;
    let before = ground.gateway.program.memory("VmRSS");
    ground.gateway.program.forget_peak();
    let odd = odd::all(&ground.clients);
    crate::documented(&format!("{} certificates, each where", odd.len()));
    let mut wrong = Vec::new();
    for one in &odd {
        for (door, verdict) in [(Door::Any, one.any), (Door::Authorities, one.authorities)] {
            for version in VERSIONS {
                if let Err(found) = shown(&ground, one, door, version, verdict).await {
                    wrong.push(format!("{}, {door:?}, {version:?}: {verdict:?} was expected, {found}", one.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let grown = ground.gateway.program.memory("VmHWM").saturating_sub(before);
    println!("{} certificates, {} KiB more", odd.len(), grown / 1024);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
}
