//! Whether upstreams can be reached as requests will reach them.

use futures_util::future::join_all;
use keybound::clock::{Clock as _, SystemClock};
use keybound::forward::{Upstream, UpstreamSettings};

use super::Circumstances;
use super::certificates;
use super::finding::{Finding, Subject};

const HERE: Subject = Subject::Upstreams;

/// What there is to say about one upstream: the gateway's own certificate there, and each endpoint.
pub async fn check(mut settings: UpstreamSettings, circumstances: &Circumstances) -> Vec<Finding> {
    settings.connect_timeout = settings.connect_timeout.min(circumstances.patience);
    if let Some(health) = &mut settings.health_check {
        health.timeout = health.timeout.min(circumstances.patience);
    }
    let mut findings = Vec::new();
    if let Some(own) = &settings.tls.certificate {
        let what = format!("{}, the gateway's own certificate", settings.name);
        findings.push(certificates::validity(HERE, &what, "", &own.cert, SystemClock.now()));
    }
    let hosts: Vec<String> = settings.endpoints.iter().map(|endpoint| endpoint.host().to_owned()).collect();
    let urls: Vec<String> = settings.urls().collect();
    let upstream = match Upstream::new(settings) {
        Ok(upstream) => upstream,
        Err(error) => {
            let what = urls.join(", ");
            findings.push(HERE.fail(what, "an upstream that can be set up", error.to_string(), "name its `ca_file`"));
            return findings;
        }
    };
    let looks = urls.iter().zip(&hosts).enumerate().map(|(index, (url, host))| {
        let upstream = &upstream;
        async move {
            if circumstances.is_lost(host) {
                return vec![HERE.skip(url, Circumstances::LOST)];
            }
            endpoint(upstream, index, url).await
        }
    });
    findings.extend(join_all(looks).await.into_iter().flatten());
    findings
}

async fn endpoint(upstream: &Upstream, index: usize, url: &str) -> Vec<Finding> {
    let Some(probe) = upstream.probe(index).await else { return Vec::new() };
    let mut findings = vec![match &probe.reached {
        Ok(chain) if chain.is_empty() => HERE.ok(url, "can be reached"),
        Ok(chain) => certificates::validity(HERE, url, "can be reached, certificate ", chain, SystemClock.now()),
        Err(error) => {
            let error = error.to_string();
            let advice = certificates::advice(&error);
            HERE.fail(url, "a connection", error, advice)
        }
    }];
    let path = upstream.settings().health_check.as_ref().map(|check| check.path.as_str()).unwrap_or_default();
    findings.extend(probe.health.map(|health| match health {
        Ok(()) => HERE.ok(format!("{url}{path}"), "well"),
        Err(found) => {
            let advice = "see the API's log, or correct `health_check.path`";
            HERE.fail(format!("{url}{path}"), "a status of 2xx", found, advice)
        }
    }));
    findings
}
