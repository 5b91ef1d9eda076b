use http::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::refusal::Reason;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn ours(address: IpAddr) -> bool {
    address.to_string().starts_with("10.")
}

fn client(lines: &[(&'static str, &str)]) -> Result<Option<String>, Reason> {
    let told = x_forwarded(&headers(lines), ours).map_err(|refusal| refusal.reason())?;
    Ok(told.client.map(|address| address.to_string()))
}

#[test]
fn a_list_is_read_from_its_end_and_no_further_than_the_first_stranger() {
    const FOR: &str = "x-forwarded-for";
    assert_eq!(client(&[(FOR, "1.1.1.1, 192.0.2.7, 10.0.0.1")]), Ok(Some("192.0.2.7".to_owned())));
    assert_eq!(client(&[(FOR, "what a liar writes, 192.0.2.7")]), Ok(Some("192.0.2.7".to_owned())));
    assert_eq!(client(&[(FOR, "192.0.2.8"), (FOR, "192.0.2.7,10.0.0.1")]), Ok(Some("192.0.2.7".to_owned())));
    assert_eq!(client(&[(FOR, "10.0.0.2, 10.0.0.1")]), Ok(Some("10.0.0.2".to_owned())));
    assert_eq!(client(&[(FOR, "[2001:db8::1]:4711")]), Ok(Some("2001:db8::1".to_owned())));
    assert_eq!(client(&[(FOR, "::ffff:192.0.2.7")]), Ok(Some("192.0.2.7".to_owned())));
    assert_eq!(client(&[]), Ok(None));
    for wrong in ["", "192.0.2.7,", "localhost", "192.0.2.7 192.0.2.8", "999.0.2.7"] {
        assert_eq!(client(&[(FOR, wrong)]), Err(Reason::HopMalformed), "{wrong:?}");
    }
}

#[test]
fn scheme_and_host_are_said_once() {
    let told = x_forwarded(&headers(&[("x-forwarded-proto", "wss"), ("x-forwarded-host", "RS.example:8443")]), ours);
    let told = told.unwrap();
    assert_eq!((told.scheme, told.host), (Some(ListenerScheme::Https), Host::parse(b"rs.example:8443")));
    for lines in [
        &[("x-forwarded-proto", "https,http")][..],
        &[("x-forwarded-proto", "https"), ("x-forwarded-proto", "https")],
        &[("x-forwarded-proto", "ftp")],
        &[("x-forwarded-host", "a.example, b.example")],
        &[("x-forwarded-host", "a.example"), ("x-forwarded-host", "a.example")],
        &[("x-forwarded-host", "")],
        &[("x-forwarded-host", "a.example/x")],
    ] {
        assert_eq!(client(lines), Err(Reason::HopMalformed), "{lines:?}");
    }
}

#[test]
fn the_fields_of_rfc_7239() {
    let read = |text: &str| {
        let told = rfc_7239(&headers(&[("forwarded", text)]), ours).map_err(|refusal| refusal.reason())?;
        Ok((told.client.map(|address| address.to_string()), told.scheme, told.host))
    };
    let known = |text: &str| Some(text.to_owned());
    let https = Some(ListenerScheme::Https);
    // The examples of section 4 and 7.1.
    assert_eq!(read("For=\"[2001:db8:cafe::17]:4711\""), Ok((known("2001:db8:cafe::17"), None, None)));
    assert_eq!(
        read("for=192.0.2.60;proto=http;by=203.0.113.43"),
        Ok((known("192.0.2.60"), Some(ListenerScheme::Http), None))
    );
    assert_eq!(read("for=192.0.2.43, for=198.51.100.17"), Ok((known("198.51.100.17"), None, None)));
    assert_eq!(read("for=_mdn"), Ok((None, None, None)));
    assert_eq!(read("for=unknown;host=rs.example"), Ok((None, None, Host::parse(b"rs.example"))));
    // What counts is what the first trusted hop said of the first stranger.
    assert_eq!(
        read(
            "for=1.1.1.1;host=liar.example, for=192.0.2.7;host=rs.example;proto=https, for=10.0.0.1;host=inner.example"
        ),
        Ok((known("192.0.2.7"), https, Host::parse(b"rs.example")))
    );
    assert_eq!(
        read("for=\"192.0.2.7:_x\";host=\"rs.example:8443\""),
        Ok((known("192.0.2.7"), None, Host::parse(b"rs.example:8443")))
    );
    for wrong in [
        "for",
        "for=",
        "for=192.0.2.7 proto=https",
        "for=\"192.0.2.7",
        "for=192.0.2.7;for=192.0.2.8",
        "for=a b",
        "=x",
        "proto=gopher",
        "host=\"a.example, b.example\"",
        "for=192.0.2.7;;proto=https",
    ] {
        assert_eq!(read(wrong), Err(Reason::HopMalformed), "{wrong}");
    }
}

#[test]
fn the_request_that_is_asked_about() {
    let complete = [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "rs.example"),
        ("x-forwarded-uri", "/a?b=c"),
    ];
    let (method, uri) = x_forwarded_request(&headers(&complete)).unwrap();
    assert_eq!((method, uri.to_string()), (Method::POST, "/a?b=c".to_owned()));
    for left_out in 0..complete.len() {
        let mut lines = complete.to_vec();
        lines.remove(left_out);
        assert!(x_forwarded_request(&headers(&lines)).is_err(), "{:?}", complete[left_out]);
        lines.extend([complete[left_out], complete[left_out]]);
        assert!(x_forwarded_request(&headers(&lines)).is_err(), "twice {:?}", complete[left_out]);
    }
    let url = [("x-original-method", "GET"), ("x-original-url", "https://rs.example/x")];
    assert!(x_original_request(&headers(&url)).is_ok() && x_original_request(&headers(&url[..1])).is_err());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\t]{0,80}", other in "[ -~]{0,30}") {
        let lines = headers(&[
            ("forwarded", &text),
            ("x-forwarded-for", &text),
            ("x-forwarded-proto", &other),
            ("x-forwarded-host", &text),
            ("x-forwarded-method", &other),
            ("x-forwarded-uri", &text),
            ("x-original-method", &other),
            ("x-original-url", &text),
        ]);
        let _ = (x_forwarded(&lines, ours), rfc_7239(&lines, ours));
        let _ = (x_forwarded_request(&lines), x_original_request(&lines));
    }

    /// Whatever a client writes before, its own address is what the proxy saw.
    #[test]
    fn a_client_cannot_choose_its_address(lie in "[ -~]{0,40}") {
        let text = format!("{lie}, 192.0.2.7, 10.0.0.1");
        prop_assert_eq!(client(&[("x-forwarded-for", &text)]), Ok(Some("192.0.2.7".to_owned())));
    }
}
