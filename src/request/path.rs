//! Paths, as we read them and as others might (RFC 3986 §6.2.2).

/// Whether every reader takes the path for what is written: it is normalized, and [`loosest`] says the same. Most are, and
/// one look at each byte is cheaper than a search for each thing that could be in them.
pub fn is_plain(path: &str) -> bool {
    let mut before = 0;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let plain = match byte {
                b'%' | b'\\' | b';' => false,
                // An empty segment, or perhaps one of dots.
                b'/' | b'.' => before != b'/',
                _ => byte.is_ascii_graphic(),
            };
            before = byte;
            plain
        })
}

/// RFC 3986 §6.2.2 for a path that has no dot segments; appends to `out`.
pub fn normalize_path(path: &str, out: &mut String) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("a path that does not begin with /");
    }
    if path.starts_with("//") {
        return Err("a path that begins with //");
    }
    let start = out.len();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let (Some(high), Some(low)) = (bytes.next().and_then(hex), bytes.next().and_then(hex)) else {
                    return Err("an incomplete percent-encoding");
                };
                push_decoded(high << 4 | low, out)?;
            }
            b'\\' => return Err("a backslash"),
            0x21..=0x7E => out.push(char::from(byte)),
            _ => return Err("a byte that a path cannot hold"),
        }
    }
    if out[start..].split('/').any(is_dot_segment) {
        return Err("a dot segment");
    }
    Ok(())
}

fn push_decoded(byte: u8, out: &mut String) -> Result<(), &'static str> {
    match byte {
        b'/' => return Err("an encoded slash"),
        b'\\' => return Err("an encoded backslash"),
        0x00..=0x1F | 0x7F => return Err("an encoded control byte"),
        // Never valid in UTF-8; some decoders read %C0%AE as a dot.
        0xC0 | 0xC1 => return Err("an overlong encoding"),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
        _ => {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 0xF)]));
        }
    }
    Ok(())
}

/// The value of a hexadecimal digit.
pub const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A normalized path as the most lenient server reads it; `None` when that is the same.
pub fn loosest(path: &str) -> Option<String> {
    if !path.contains(['%', ';']) && !path.contains("//") {
        return None;
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            // Escapes are complete: the path was normalized.
            b'%' => decoded.extend(bytes.next().and_then(hex).zip(bytes.next().and_then(hex)).map(|(h, l)| h << 4 | l)),
            _ => decoded.push(byte),
        }
    }
    let decoded = String::from_utf8_lossy(&decoded);
    let bare = decoded.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    let mut loosest: String = bare.filter(|segment| !segment.is_empty()).flat_map(|segment| ["/", segment]).collect();
    if loosest.is_empty() || decoded.ends_with('/') {
        loosest.push('/');
    }
    (loosest != path).then_some(loosest)
}

/// `.` and `..`, also before path parameters: some upstreams cut `..;x` at the semicolon.
fn is_dot_segment(segment: &str) -> bool {
    let bare = segment.split(';').next().unwrap_or_default();
    let bare = bare.split("%3B").next().unwrap_or_default();
    bare == "." || bare == ".."
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lenient_readers_see_other_paths() {
        for (path, lenient) in [
            ("/open//admin", "/open/admin"),
            ("/open/;/admin", "/open/admin"),
            ("/open/admin;x=1", "/open/admin"),
            ("/open/admin%3Bx", "/open/admin"),
            ("/open/users%3Aall", "/open/users:all"),
            ("/a//", "/a/"),
        ] {
            assert_eq!(loosest(path).as_deref(), Some(lenient), "{path}");
        }
        for path in ["/", "/open/admin", "/a/", "/a:b@c"] {
            assert_eq!(loosest(path), None, "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_read_by_all_alike() {
        for path in ["/", "/a", "/accounts/17", "/a/", "/a.b/c..", "/a:b@c,d=e", "/~ann/-_!$&'()*+"] {
            assert!(is_plain(path), "{path}");
        }
        for path in
            ["", "a", "//", "/a//b", "/.", "/a/..", "/a/.b", "/a;b", "/a%41", "/a\\b", "/a b", "/\u{e9}", "/\u{7f}"]
        {
            assert!(!is_plain(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_normalizing_is_idempotent(path in "/?[!-~]{0,40}|(/|/[ -.;%a]{1,3}){0,6}") {
            let mut once = String::new();
            let normalized = normalize_path(&path, &mut once);
            if is_plain(&path) {
                prop_assert_eq!(normalized, Ok(()));
                prop_assert_eq!(&once, &path);
                prop_assert_eq!(loosest(&once), None);
            }
            if normalized.is_ok() {
                let mut twice = String::new();
                prop_assert_eq!(normalize_path(&once, &mut twice), Ok(()));
                prop_assert_eq!(&once, &twice);
                let _ = loosest(&once);
            }
        }
    }
}
