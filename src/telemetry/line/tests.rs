use proptest::prelude::*;
use serde_json::Value;

use super::*;

const TARGET: &str = "access";

fn line(form: Form, level: Level, fill: impl FnOnce(&mut Line<'_>)) -> String {
    let mut out = b"before".to_vec();
    let mut line = Line::begin(&mut out, form, UnixTime::from_millis(1_795_351_414_309), level, TARGET);
    fill(&mut line);
    line.end(TARGET);
    String::from_utf8(out).unwrap().strip_prefix("before").expect("what was there stays").to_owned()
}

#[test]
fn a_line_looks_like_its_form() {
    let fill = |line: &mut Line<'_>| {
        line.text("path", "/a\"b\n\x1b[2J");
        line.text_if("found", None);
        line.address("peer", [192, 0, 2, 10].into());
        line.address("other", "2001:db8::1".parse().unwrap());
        line.number("bytes", 100);
        line.millis("took", Duration::from_micros(1_500));
        line.millis_if("never", None);
    };
    assert_eq!(
        line(Form::Json, Level::WARN, fill),
        concat!(
            r#"{"timestamp":"2026-11-22T12:43:34.309Z","level":"WARN","path":"/a\"b\n\u001b[2J","peer":"192.0.2.10","#,
            r#""other":"2001:db8::1","bytes":100,"took":1.5,"target":"access"}"#,
            "\n"
        )
    );
    assert_eq!(
        line(Form::Text { colours: false }, Level::INFO, fill),
        concat!(
            r#"2026-11-22T12:43:34.309Z  INFO access: path="/a\"b\n\u{1b}[2J" peer=192.0.2.10 other=2001:db8::1"#,
            " bytes=100 took=1.5\n"
        )
    );
    let coloured = line(Form::Text { colours: true }, Level::WARN, fill);
    let plain =
        ["\x1b[0m", "\x1b[2m", "\x1b[3m", "\x1b[33m"].iter().fold(coloured, |text, code| text.replace(code, ""));
    assert_eq!(plain, line(Form::Text { colours: false }, Level::WARN, fill));
}

/// Whatever a text may hold, and what is awkward more often than by chance.
fn any_text() -> impl Strategy<Value = String> {
    let awkward = "[\\x00-\\x1f\"\\\\/\\x7f\u{80}-\u{9f}\u{2028}\u{feff}\u{fffd}é😀a]";
    let any = prop_oneof![
        any::<char>(),
        proptest::string::string_regex(awkward).unwrap().prop_map(|text| { text.chars().next().unwrap_or_default() })
    ];
    proptest::collection::vec(any, 0..60).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn every_line_of_json_says_what_went_in(one in any_text(), other in any_text(), number: u64, ip: std::net::IpAddr) {
        let line = line(Form::Json, Level::INFO, |line| {
            line.text("one", &one);
            line.number("number", number);
            line.text_if("other", Some(&other));
            line.address("ip", ip);
        });
        prop_assert_eq!(line.find('\n'), Some(line.len() - 1));
        let read: Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&read["one"], &one);
        prop_assert_eq!(&read["other"], &other);
        prop_assert_eq!(&read["number"], number);
        prop_assert_eq!(&read["ip"], &ip.to_string());
        let spelled = format!(r#","one":{},"#, serde_json::to_string(&one).unwrap());
        prop_assert!(line.contains(&spelled), "{} is not in {}", spelled, line);
    }

    #[test]
    fn a_text_cannot_forge_a_line_nor_command_a_terminal(text in any_text()) {
        let line = line(Form::Text { colours: false }, Level::INFO, |line| line.text("text", &text));
        prop_assert!(!line.trim_end_matches('\n').chars().any(char::is_control), "{:?}", line);
        prop_assert_eq!(line.matches('\n').count(), 1);
        let shown = format!(" text={text:?}\n");
        prop_assert!(line.ends_with(&shown));
    }

    #[test]
    fn milliseconds_are_spelled_as_other_writers_do(nanos in 0..100_000_000_000_000_u64, shift in 0..40_u32) {
        let took = Duration::from_nanos(nanos >> shift);
        let line = line(Form::Json, Level::INFO, |line| line.millis("took", took));
        let micros = (took.as_nanos() + 500) / 1000;
        let spelled = serde_json::to_string(&(micros as f64 / 1e3)).unwrap();
        prop_assert!(line.contains(&format!(r#""took":{spelled},"#)), "{} is not in {}", spelled, line);
    }
}
