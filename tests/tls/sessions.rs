//! Sessions that are resumed where they do not belong. A session stands for the certificate of the handshake that it began
//! with, at the listener, under the name and the trust of that handshake.

use std::fs;

use rcgen::CertifiedIssuer;

use crate::clients::{self, Visit, visit};
use crate::der;
use crate::ground::{Door, Ground, OTHER_HOST, authority, doors, issued, last};
use crate::stage::{Configuration, RELOADED, write};
use crate::support::Identity;

/// How a client remembers a session: a ticket, or a number that the gateway knows.
const KINDS: [(&str, &[&str]); 3] = [
    ("a ticket of TLS 1.3", &["-tls1_3"]),
    ("a ticket of TLS 1.2", &["-tls1_2"]),
    ("a number of TLS 1.2", &["-tls1_2", "-no_ticket"]),
];

const MINE: &[&str] = &["-cert", "mine.pem", "-key", "mine.key"];
const OTHERS: &[&str] = &["-cert", "others.pem", "-key", "others.key"];

/// A client with a certificate, and a session that began with it or without.
struct Client<'a> {
    ground: &'a Ground,
    kind: &'static [&'static str],
    mine: Identity,
    others: Identity,
}

impl<'a> Client<'a> {
    fn of(ground: &'a Ground, kind: &'static [&'static str], mine: Identity) -> Self {
        let others = issued(&ground.clients, |_| {});
        clients::write(ground, "mine", &mine);
        clients::write(ground, "others", &others);
        Self { ground, kind, mine, others }
    }

    /// Begins a session, showing this; it is resumed at once, to see that it can be.
    async fn begins(&self, door: Door, shows: &[&str], status: u16) {
        let bytes = last(&self.ground.call(&self.mine));
        let first = visit(self.ground, door, &[self.kind, shows, &["-sess_out", "session"]].concat(), &bytes).await;
        assert_eq!((first.reused, first.status), (Some(false), Some(status)), "{}", first.output);
        let second = self.comes_back(door, &[], &self.mine).await;
        assert_eq!((second.reused, second.status), (Some(true), Some(status)), "{}", second.output);
    }

    /// Offers the session, with the token of this holder.
    async fn comes_back(&self, door: Door, more: &[&str], token_of: &Identity) -> Visit {
        let bytes = last(&self.ground.call(token_of));
        visit(self.ground, door, &[self.kind, &["-sess_in", "session"], more].concat(), &bytes).await
    }

    async fn is_refused(&self, visit: &Visit, reused: bool, reason: &str) {
        assert_eq!((visit.reused, visit.status), (Some(reused), Some(401)), "{}", visit.output);
        assert_eq!(self.ground.reason(visit.request_id.as_ref().unwrap()).await, reason, "{}", visit.output);
    }
}

#[tokio::test]
async fn a_session_stands_for_the_certificate_that_it_began_with() {
    let ground = Ground::set().await;
    for (kind, arguments) in KINDS {
        let client = Client::of(&ground, arguments, Identity::self_signed());
        client.begins(Door::Any, MINE, 200).await;
        let seen = ground.stage.api.count();
        // Whatever is at hand now, nobody asks for it.
        let visit = client.comes_back(Door::Any, OTHERS, &client.others).await;
        client.is_refused(&visit, true, "certificate_mismatch").await;
        assert_eq!(ground.stage.api.count(), seen, "{kind}");
        let visit = client.comes_back(Door::Any, OTHERS, &client.mine).await;
        assert_eq!((visit.reused, visit.status), (Some(true), Some(200)), "{kind}: {}", visit.output);
        ground.is_well(kind).await;
    }
}

#[tokio::test]
async fn a_session_that_began_without_a_certificate_has_none() {
    let ground = Ground::set().await;
    for (kind, arguments) in KINDS {
        let client = Client::of(&ground, arguments, Identity::self_signed());
        let seen = ground.stage.api.count();
        client.begins(Door::Any, &[], 401).await;
        let visit = client.comes_back(Door::Any, MINE, &client.mine).await;
        client.is_refused(&visit, true, "certificate_missing").await;
        assert_eq!(ground.stage.api.count(), seen, "{kind}");
        let visit =
            clients::visit(&ground, Door::Any, &[arguments, MINE].concat(), &last(&ground.call(&client.mine))).await;
        assert_eq!(visit.status, Some(200), "{kind}");
        assert_eq!(ground.stage.api.count(), seen + 1, "{kind}");
    }
}

#[tokio::test]
async fn a_session_of_one_listener_is_none_at_another() {
    let ground = Ground::set().await;
    for (kind, arguments) in KINDS {
        // Who is trusted at one door only: a ticket must not carry that to another.
        for (from, mine) in [(Door::Any, Identity::self_signed()), (Door::Authorities, issued(&ground.clients, |_| {}))]
        {
            let client = Client::of(&ground, arguments, mine);
            client.begins(from, MINE, 200).await;
            let seen = ground.stage.api.count();
            for to in [Door::Any, Door::Authorities, Door::Silent].into_iter().filter(|to| *to != from) {
                let visit = client.comes_back(to, &[], &client.mine).await;
                client.is_refused(&visit, false, "certificate_missing").await;
            }
            let failed = ground.failures().len();
            let visit = client.comes_back(Door::Required, &[], &client.mine).await;
            assert!(visit.reused != Some(true) && visit.status.is_none(), "{kind}: {}", visit.output);
            assert!(ground.failure(failed).await.contains("no certificates"), "{kind}");
            if from == Door::Any {
                let visit = client.comes_back(Door::Authorities, MINE, &client.mine).await;
                assert!(visit.reused != Some(true) && visit.status.is_none(), "{kind}: {}", visit.output);
                assert!(ground.failure(failed + 1).await.contains("UnknownIssuer"), "{kind}");
            }
            assert_eq!(ground.stage.api.count(), seen, "{kind}");
            let visit = client.comes_back(from, &[], &client.mine).await;
            assert_eq!((visit.reused, visit.status), (Some(true), Some(200)), "{kind}: {}", visit.output);
        }
    }
}

#[tokio::test]
async fn a_session_under_one_name_is_none_under_another() {
    let ground = Ground::set().await;
    for (kind, arguments) in KINDS {
        let client = Client::of(&ground, arguments, Identity::self_signed());
        client.begins(Door::Any, MINE, 200).await;
        let seen = ground.stage.api.count();
        let mut call = ground.call(&client.mine);
        call.host = Some(OTHER_HOST.to_owned());
        for name in [OTHER_HOST, "unknown.example"] {
            let arguments = [arguments, &["-sess_in", "session", "-servername", name]].concat();
            let visit = visit(&ground, Door::Any, &arguments, &last(&call)).await;
            assert_eq!(visit.reused, Some(false), "{kind}, {name}: {}", visit.output);
            // The default certificate is not that of the authority.
            let status = if name == OTHER_HOST { 401 } else { 421 };
            assert_eq!((visit.status, ground.stage.api.count()), (Some(status), seen), "{kind}: {}", visit.output);
        }
        let visit = client.comes_back(Door::Any, &[], &client.mine).await;
        assert_eq!((visit.reused, visit.status), (Some(true), Some(200)), "{kind}: {}", visit.output);
    }
}

/// Another configuration comes into force.
async fn reload(ground: &Ground, times: usize, change: impl FnOnce(&mut Configuration)) {
    let mut configuration = ground.stage.configuration();
    change(&mut configuration);
    write(&ground.stage.file("keybound.yaml"), &configuration.text());
    ground.gateway.program.signal("HUP");
    ground.gateway.said(RELOADED, times).await;
}

#[tokio::test]
async fn a_session_ends_with_the_trust_that_it_began_under() {
    for (kind, arguments) in KINDS {
        let ground = Ground::set().await;
        let client = Client::of(&ground, arguments, issued(&ground.clients, |_| {}));
        client.begins(Door::Authorities, MINE, 200).await;
        let seen = ground.stage.api.count();
        let next: CertifiedIssuer<'_, _> = authority("next authority");
        write(&ground.stage.file("clients.pem"), &next.pem());
        ground.gateway.said(RELOADED, 1).await;
        let visit = client.comes_back(Door::Authorities, &[], &client.mine).await;
        client.is_refused(&visit, false, "certificate_missing").await;
        let failed = ground.failures().len();
        let visit = client.comes_back(Door::Authorities, MINE, &client.mine).await;
        assert!(visit.reused != Some(true) && visit.status.is_none(), "{kind}: {}", visit.output);
        assert!(ground.failure(failed).await.contains("UnknownIssuer"), "{kind}");
        assert_eq!(ground.stage.api.count(), seen, "{kind}");
        let successor = Client::of(&ground, arguments, issued(&next, |_| {}));
        successor.begins(Door::Authorities, MINE, 200).await;
    }
}

#[tokio::test]
async fn a_session_without_a_certificate_ends_when_one_is_required() {
    for (kind, arguments) in KINDS {
        let ground = Ground::set().await;
        let client = Client::of(&ground, arguments, Identity::self_signed());
        client.begins(Door::Any, &[], 401).await;
        reload(&ground, 1, |configuration| doors(configuration, "mode: require")).await;
        let failed = ground.failures().len();
        let visit = client.comes_back(Door::Any, &[], &client.mine).await;
        assert!(visit.reused != Some(true) && visit.status.is_none(), "{kind}: {}", visit.output);
        assert!(ground.failure(failed).await.contains("no certificates"), "{kind}");
        let visit = client.comes_back(Door::Any, MINE, &client.mine).await;
        assert_eq!((visit.reused, visit.status), (Some(false), Some(200)), "{kind}: {}", visit.output);
    }
}

/// OpenSSL keeps a session as DER; [10] is the ticket.
fn bend(session: &[u8], at: fn(usize) -> usize) -> Vec<u8> {
    const TICKET: u8 = 0xA0 | 10;
    let parts = der::parts(session).into_iter().map(|part| {
        if part[0] != TICKET {
            return part.to_vec();
        }
        let mut ticket = der::content(der::content(part)).to_vec();
        let at = at(ticket.len());
        ticket[at] ^= 1;
        der::element(TICKET, &der::element(4, &ticket))
    });
    let bent = der::element(der::SEQUENCE, &parts.collect::<Vec<_>>().concat());
    assert_eq!(bent.len(), session.len());
    assert_ne!(bent, session);
    bent
}

#[tokio::test]
async fn a_bent_ticket_is_none() {
    const LABEL: &str = "SSL SESSION PARAMETERS";
    let ground = Ground::set().await;
    for (kind, arguments) in &KINDS[..2] {
        let client = Client::of(&ground, arguments, Identity::self_signed());
        client.begins(Door::Any, MINE, 200).await;
        let seen = ground.stage.api.count();
        let good = der::from_pem(LABEL, &fs::read_to_string(ground.stage.file("session")).unwrap());
        // The name of the key, the nonce or what is encrypted, and the tag.
        for at in [|_| 0, |length| length / 2, |length| length - 1] as [fn(usize) -> usize; 3] {
            fs::write(ground.stage.file("session"), der::pem(LABEL, &bend(&good, at))).unwrap();
            let visit = client.comes_back(Door::Any, &[], &client.mine).await;
            client.is_refused(&visit, false, "certificate_missing").await;
        }
        assert_eq!(ground.stage.api.count(), seen, "{kind}");
        fs::write(ground.stage.file("session"), der::pem(LABEL, &good)).unwrap();
        let visit = client.comes_back(Door::Any, &[], &client.mine).await;
        assert_eq!((visit.reused, visit.status), (Some(true), Some(200)), "{kind}: {}", visit.output);
    }
}
