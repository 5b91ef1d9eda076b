//! Certificates that clients are shown, and those that the gateway shows.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A certificate that is good until that year, and its key.
fn until(year: i32) -> [(&'static str, String); 2] {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 2));
    [("tls.crt", params.self_signed(&key).unwrap().pem()), ("tls.key", key.serialize_pem())]
}

#[test]
fn an_expired_certificate_is_warned_of() {
    const FILES: &str = "certificate_file: tls.crt, key_file: tls.key";
    let listener = changed("listener", &format!("    tls: {{ {FILES} }}"));
    let upstream = format!("upstreams: {{ a: {{ endpoints: [https://x], tls: {{ {FILES} }} }} }}\n");
    let upstream = changed("http://127.0.0.1:8080", "a").replace("# top\n", &upstream);
    for (text, field) in
        [(listener, "listeners[0].tls.certificate_file"), (upstream, "upstreams.a.tls.certificate_file")]
    {
        let warned = |year| {
            let files = until(year);
            let (_, warnings) = read_beside(&files.each_ref().map(|(name, pem)| (*name, pem.as_str())), &text).unwrap();
            let told = |finding: &&Finding| is(finding, Severity::Warning, field, "the certificate expired at ");
            warnings.findings().iter().find(told).map(|finding| finding.message().to_owned())
        };
        assert!(warned(2021).is_some_and(|message| message.contains("2021-01-02T00:00:00")), "{field}");
        assert_eq!(warned(2100), None, "{field}");
    }
}
