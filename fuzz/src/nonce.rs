//! Nonces (RFC 9449 §8, §9): only what the secrets made is one, and only in its time. The first line is a text, the second
//! the moment that it is shown at.

use std::sync::LazyLock;
use std::time::Duration;

use keybound::time::UnixTime;
use keybound::verify::{BadNonce, Nonces};

use super::oracle;

const LIFETIME: Duration = Duration::from_mins(5);
const AHEAD: Duration = Duration::from_secs(5);

/// The first makes them, both are recognized.
static BOTH: LazyLock<Nonces> = LazyLock::new(|| nonces(&[&[1; 32], &[2; 32]]));
static EACH: LazyLock<[Nonces; 2]> = LazyLock::new(|| [nonces(&[&[1; 32]]), nonces(&[&[2; 32]])]);

fn nonces(secrets: &[&[u8]]) -> Nonces {
    Nonces::new(secrets.iter().copied(), LIFETIME).expect("secrets")
}

pub fn run(data: &[u8]) {
    let [text, moment] = oracle::lines::<2>(data);
    let (Ok(text), Ok(moment)) = (std::str::from_utf8(text), std::str::from_utf8(moment)) else { return };
    let Ok(millis) = moment.parse::<i64>() else { return };
    let now = UnixTime::from_millis(millis);
    if let Ok(minted) = BOTH.minted(text, now, AHEAD) {
        let made = EACH.iter().filter_map(|nonces| nonces.mint(minted));
        assert_eq!(made.filter(|made| made == text).count(), 1, "one of the secrets made it");
        assert!(minted <= now + AHEAD && now <= minted + LIFETIME, "in its time");
    }
    // Those of now: good, from half of the lifetime on due, and none once a character is another.
    if !(0..1 << 47).contains(&millis) {
        return;
    }
    for maker in &*EACH {
        let made = maker.mint(now).expect("a secret");
        assert_eq!(BOTH.minted(&made, now, AHEAD), Ok(now));
        assert_eq!(BOTH.minted(&made, now + LIFETIME + Duration::from_millis(1), AHEAD), Err(BadNonce::Expired));
        assert_eq!(BOTH.minted(&made, now - AHEAD - Duration::from_millis(1), AHEAD), Err(BadNonce::Future));
        if text != made {
            let common = text.bytes().zip(made.bytes()).take_while(|(one, other)| one == other).count();
            let mixed = format!("{}{}", &made[..common], text.get(common..).unwrap_or_default());
            assert_eq!(BOTH.minted(&mixed, now, AHEAD).is_ok(), mixed == made || is_minted_elsewhere(&mixed, now));
        }
    }
}

fn is_minted_elsewhere(text: &str, now: UnixTime) -> bool {
    BOTH.minted(text, now, AHEAD).is_ok_and(|minted| EACH.iter().any(|one| one.mint(minted).as_deref() == Some(text)))
}
