//! Where a request stands among others (W3C Trace Context, level 1). Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Names the trace, and the caller's step in it.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems tell each other; ours adds nothing and reads nothing.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A step in a trace, as its maker tells the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// Names the whole trace; not all zero.
    pub trace_id: [u8; 16],
    /// Names the step; not all zero.
    pub parent_id: [u8; 8],
    /// Whether its maker records it.
    pub sampled: bool,
}

/// What the upstream is told of a request's trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Onward {
    /// The step that calls it.
    pub parent: TraceParent,
    /// Whether that is a step of the client's own trace, so that its `tracestate` goes on as well.
    pub continues: bool,
}

impl TraceParent {
    /// Version, trace, parent and flags, with hyphens in between (§3.2.2).
    const LENGTH: usize = 55;

    /// What a message says; `None`: nothing, something invalid, or more than one thing.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let line = lines.next().filter(|_| lines.next().is_none())?;
        Self::parse(line.as_bytes())
    }

    /// Reads a field's value. Later versions may say more behind what version 00 says (§3.2.4).
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (known, more) = value.split_at_checked(Self::LENGTH)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = bytes(parts.next()?)?;
        let (trace_id, parent_id) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
        let [flags] = bytes(parts.next()?)?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => matches!(more.first(), None | Some(b'-')),
        };
        let names_something = trace_id != [0; 16] && parent_id != [0; 8];
        let parent = Self { trace_id, parent_id, sampled: flags & 1 == 1 };
        (fits && names_something && parts.next().is_none()).then_some(parent)
    }

    /// The field's value.
    pub fn value(&self) -> Option<HeaderValue> {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let flags = [u8::from(self.sampled)];
        for (from, part) in [(3, &self.trace_id[..]), (36, &self.parent_id[..]), (53, &flags[..])] {
            for (room, digit) in text.iter_mut().skip(from).zip(digits(part)) {
                *room = digit;
            }
        }
        HeaderValue::from_bytes(&text).ok()
    }

    /// The trace's name as people read it.
    pub fn trace_name(trace_id: &[u8; 16]) -> String {
        digits(trace_id).map(char::from).collect()
    }
}

/// Hexadecimal digits, lower case.
fn digits(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble & 0xf)];
    bytes.iter().flat_map(move |byte| [digit(byte >> 4), digit(*byte)])
}

/// What they stand for, if they are exactly as many as it takes; upper case is not allowed (§3.2.2).
fn bytes<const LENGTH: usize>(digits: &[u8]) -> Option<[u8; LENGTH]> {
    let nibble = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.len() != LENGTH || !rest.is_empty() {
        return None;
    }
    let mut out = [0; LENGTH];
    for (room, [high, low]) in out.iter_mut().zip(pairs) {
        *room = nibble(high)? << 4 | nibble(low)?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_one_is_read() {
        let parent = TraceParent::parse(VALID.as_bytes()).unwrap();
        assert_eq!((parent.trace_id[0], parent.parent_id[7], parent.sampled), (0x0a, 0x31, true));
        assert_eq!(parent.value().unwrap(), VALID);
        assert_eq!(TraceParent::trace_name(&parent.trace_id), "0af7651916cd43dd8448eb211c80319c");
        let unsampled = VALID.replace("-01", "-00");
        assert_eq!(TraceParent::parse(unsampled.as_bytes()), Some(TraceParent { sampled: false, ..parent }));
        // Flags and versions to come.
        for (text, sampled) in [
            (VALID.replace("-01", "-ff"), true),
            (VALID.replace("-01", "-fe"), false),
            (VALID.replacen("00", "01", 1), true),
            (VALID.replacen("00", "cc", 1) + "-what-the-future-holds", true),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), Some(TraceParent { sampled, ..parent }), "{text}");
        }
    }

    #[test]
    fn one_change_makes_it_invalid() {
        for text in [
            VALID.replacen("00", "ff", 1),
            VALID.replacen("00", "0", 1),
            VALID.replacen("00", "0g", 1),
            VALID.replacen("00", "cc", 1) + ".more",
            VALID.to_owned() + "-",
            VALID.to_owned() + " ",
            format!(" {VALID}"),
            format!("{VALID},{VALID}"),
            VALID.to_uppercase(),
            VALID.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            VALID.replace("b7ad6b7169203331", &"0".repeat(16)),
            VALID.replace("b7ad6b7169203331", "b7ad6b716920333"),
            VALID.replace('-', "_"),
            VALID.replacen("-", "", 1) + "0",
            VALID[..54].to_owned(),
            String::new(),
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn several_say_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceParent::of(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(TraceParent::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceParent::of(&headers), None);
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(trace_id in any::<[u8; 16]>(), parent_id in any::<[u8; 8]>(), sampled: bool) {
            prop_assume!(trace_id != [0; 16] && parent_id != [0; 8]);
            let parent = TraceParent { trace_id, parent_id, sampled };
            prop_assert_eq!(TraceParent::parse(parent.value().unwrap().as_bytes()), Some(parent));
        }

        #[test]
        fn nothing_makes_it_panic(value in any::<Vec<u8>>(), near in "[0-9a-f-]{50,60}") {
            TraceParent::parse(&value);
            TraceParent::parse(near.as_bytes());
        }
    }
}
