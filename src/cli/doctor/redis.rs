//! Whether the Redis that replicas share answers, and keeps what it is given.

use std::sync::Arc;
use std::time::Duration;

use keybound::clock::{Clock, SystemClock};
use keybound::replay::{Address, Examination, RedisSettings, Server, Topology, examine};
use tokio::time::{Instant, sleep, timeout_at};

use super::Circumstances;
use super::finding::{Finding, Subject};

const HERE: Subject = Subject::Redis;

/// The first version that knows `SET … PXAT`.
const OLDEST: (u32, u32) = (6, 2);

/// Where a cluster says what it lacks.
const CLUSTER: &str = "see `CLUSTER INFO` and `CLUSTER NODES`";

/// Between two looks, where the first one was too slow.
const AGAIN: Duration = Duration::from_millis(300);

/// What a gateway does not believe, and what is worth a word, in seconds.
const CLOCK_LIMIT: f64 = 2.0;
const CLOCK_WARNING: f64 = 1.0;

/// What there is to say about the store.
pub async fn check(settings: &RedisSettings, circumstances: &Circumstances) -> Vec<Finding> {
    let lost: Vec<&Address> = settings.servers.iter().filter(|server| circumstances.is_lost(&server.host)).collect();
    if lost.len() == settings.servers.len() {
        return lost.into_iter().map(|server| HERE.skip(server.to_string(), Circumstances::LOST)).collect();
    }
    let examination = match examination(settings, circumstances).await {
        Ok(examination) => examination,
        Err(error) => {
            let (what, expected) = match &settings.topology {
                Topology::Sentinel { master, .. } => (format!("Sentinels of {master}"), "more than half that agree"),
                Topology::Cluster => ("cluster".to_owned(), "more than half of its masters"),
                Topology::Single => ("Redis".to_owned(), "an answer"),
            };
            return vec![HERE.fail(what, expected, error.clone(), advice(&error))];
        }
    };
    let mut findings = Vec::new();
    if settings.topology == Topology::Cluster {
        let (held, all) = examination.slots;
        findings.push(if held == all {
            HERE.ok("cluster", format!("all {all} slots have a master"))
        } else {
            let found = format!("{held} with a master");
            HERE.fail("cluster", format!("{all} slots"), found, CLUSTER)
        });
    }
    for (address, answer) in examination.servers {
        match answer {
            Ok(server) => findings.extend(one(&address, &server)),
            Err(error) => {
                let advice = advice(&error);
                findings.push(HERE.fail(address.to_string(), "an answer to INFO and TIME", error, advice));
            }
        }
    }
    findings
}

/// A gateway asks three times a second, so one answer that is late says nothing yet.
async fn examination(settings: &RedisSettings, circumstances: &Circumstances) -> Result<Examination, String> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let end = Instant::now() + circumstances.patience;
    loop {
        let late = || format!("no answer within {}", humantime::format_duration(circumstances.patience));
        let examined = timeout_at(end, examine(settings, &clock)).await.map_err(|_| late())?;
        if !is_late(&examined) || Instant::now() + AGAIN >= end {
            return examined;
        }
        sleep(AGAIN).await;
    }
}

/// Whether somebody answers, and not in time.
fn is_late(examined: &Result<Examination, String>) -> bool {
    let late = |error: &String| error.contains("no answer within");
    match examined {
        Err(error) => late(error),
        Ok(Examination { servers, .. }) => servers.iter().any(|(_, server)| match server {
            Err(error) => late(error),
            Ok(server) => server.takes_keys.as_ref().is_err_and(late),
        }),
    }
}

fn advice(error: &str) -> &'static str {
    if error.contains("WRONGPASS") || error.contains("NOAUTH") || error.to_ascii_lowercase().contains("password") {
        "compare `username` and `password_file` with the server's ACL"
    } else if error.contains("NOPERM") {
        "give the user +set +info +time; README, \"More than one gateway\""
    } else {
        "start it, or correct `urls` and firewall"
    }
}

fn one(address: &Address, server: &Server) -> Vec<Finding> {
    let what = |about: &str| format!("{address}, {about}");
    let mut findings = Vec::new();
    let role = if server.role == "master" {
        HERE.ok(address.to_string(), format!("answers, a master of version {}", server.version))
    } else {
        let advice = "name the master, or its Sentinels";
        HERE.fail(what("role"), "master", &server.role, advice)
    };
    findings.push(role);
    if is_old(&server.version) {
        let expected = format!("at least {}.{} (SET with PXAT)", OLDEST.0, OLDEST.1);
        findings.push(HERE.fail(what("version"), expected, &server.version, "install a newer one"));
    }
    let policy = format!("maxmemory-policy {}", server.policy);
    findings.push(match (server.policy == "noeviction", server.maxmemory) {
        (true, _) => HERE.ok(what("memory"), policy),
        (false, 0) => {
            let advice = "set `maxmemory-policy noeviction`: with a `maxmemory`, spent proofs would be forgotten";
            HERE.warn(what("memory"), format!("{policy}, and no maxmemory"), advice)
        }
        (false, bytes) => {
            let advice = "set `maxmemory-policy noeviction`: spent proofs must not be forgotten";
            let found = format!("{policy} with a maxmemory of {bytes} bytes");
            HERE.fail(what("memory"), "maxmemory-policy noeviction", found, advice)
        }
    });
    let off = server.clock_off.abs();
    let found = format!("{off:.1} s {} this host's", if server.clock_off > 0.0 { "ahead of" } else { "behind" });
    let advice = "set both by a time service (NTP)";
    findings.push(if off > CLOCK_LIMIT {
        HERE.fail(what("clock"), format!("at most {CLOCK_LIMIT} s apart"), found, advice)
    } else if off > CLOCK_WARNING {
        HERE.warn(what("clock"), found, advice)
    } else {
        HERE.ok(what("clock"), "as this host's")
    });
    // A replica takes none anyway.
    if server.role == "master" {
        findings.push(match &server.takes_keys {
            Ok(()) => HERE.ok(what("keys"), "taken"),
            Err(error) => HERE.fail(what("keys"), "OK to SET … NX PXAT", error, advice_for_keys(error)),
        });
    }
    findings
}

fn advice_for_keys(error: &str) -> &'static str {
    if error.contains("NOPERM") {
        "give the user +set, and ~ with the `key_prefix`"
    } else if error.contains("OOM") {
        "give it more memory (`maxmemory`)"
    } else if error.contains("CLUSTERDOWN") {
        CLUSTER
    } else {
        "see the server's log"
    }
}

/// Words that are no version are not judged.
fn is_old(version: &str) -> bool {
    let mut parts = version.split('.').map(str::parse::<u32>);
    matches!((parts.next(), parts.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST)
}

#[cfg(test)]
mod tests {
    use super::is_old;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, old) in [("6.0.16", true), ("5.0", true), ("6.2.0", false), ("10.0.1", false), ("unknown", false)]
        {
            assert_eq!(is_old(version), old, "{version}");
        }
    }
}
