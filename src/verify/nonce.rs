//! Nonces that the gateway hands out (RFC 9449 §8, §9): they show that a proof was made after a certain moment.
//!
//! Nobody remembers them. A nonce is the moment at which it was made and a MAC over it, so every replica that knows
//! the secret agrees on it, and after a rotation for as long as the old secret is listed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;

use super::base64url;
use crate::time::UnixTime;

/// What the MAC covers before the moment: a secret that is used elsewhere too makes no nonces there.
const CONTEXT: &[u8] = b"keybound DPoP-Nonce\0";

/// Milliseconds since the epoch: 48 bits last until the year 10889.
const MOMENT: usize = 6;

/// Half of an HMAC-SHA-256 (RFC 2104 §5).
const MAC: usize = 16;

/// The secrets that make and recognize nonces, and how long a nonce is good.
#[derive(Clone)]
pub struct Nonces {
    /// The first one makes nonces, all of them recognize them.
    secrets: Arc<[hmac::Key]>,
    /// How old a nonce may be.
    pub lifetime: Duration,
}

/// Why a text is no nonce of ours that is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadNonce {
    /// We did not make it, or with a secret that is not listed any more.
    Unknown,
    /// It is older than its lifetime.
    Expired,
    /// It was made too far in the future: by a replica whose clock is wrong.
    Future,
}

impl Nonces {
    /// The shortest acceptable secret in bytes: as long as the MAC's hash (RFC 2104 §3).
    pub const SHORTEST_SECRET: usize = 32;

    /// From secrets of at least [`Self::SHORTEST_SECRET`] bytes, the one that makes nonces first. `None` when there is
    /// no secret, or one is too short.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s [u8]>, lifetime: Duration) -> Option<Self> {
        let key =
            |secret: &[u8]| (secret.len() >= Self::SHORTEST_SECRET).then(|| hmac::Key::new(hmac::HMAC_SHA256, secret));
        let secrets: Arc<[hmac::Key]> = secrets.into_iter().map(key).collect::<Option<_>>()?;
        (!secrets.is_empty()).then_some(Self { secrets, lifetime })
    }

    /// A nonce of this moment: characters of RFC 9449 §8.1 only. `None` without a secret, which [`Self::new`] rules out.
    pub fn mint(&self, now: UnixTime) -> Option<String> {
        let moment = moment(now);
        let mut nonce = [0; MOMENT + MAC];
        nonce[..MOMENT].copy_from_slice(&moment);
        nonce[MOMENT..].copy_from_slice(&mac(self.secrets.first()?, moment));
        Some(base64url::encode(&nonce))
    }

    /// When a nonce was made, if it is good at `now`. `ahead` is how far the clocks of replicas may differ.
    ///
    /// # Errors
    /// [`BadNonce`].
    pub fn minted(&self, nonce: &str, now: UnixTime, ahead: Duration) -> Result<UnixTime, BadNonce> {
        let bytes = base64url::decode(nonce).ok_or(BadNonce::Unknown)?;
        let (moment, shown) = bytes.split_first_chunk::<MOMENT>().ok_or(BadNonce::Unknown)?;
        // Every listed secret is asked, whatever the first one says; the comparison takes the same time for every text.
        let known = self.secrets.iter().fold(false, |known, secret| {
            known | (shown.len() == MAC && bool::from(subtle::ConstantTimeEq::ct_eq(&mac(secret, *moment)[..], shown)))
        });
        if !known {
            return Err(BadNonce::Unknown);
        }
        let minted = moment.iter().fold(0, |millis: i64, byte| millis << 8 | i64::from(*byte));
        let minted = UnixTime::from_millis(minted);
        if minted > now + ahead {
            return Err(BadNonce::Future);
        }
        if now > minted + self.lifetime {
            return Err(BadNonce::Expired);
        }
        Ok(minted)
    }

    /// Whether a nonce of `minted` is so old that a good answer brings a new one: half of `lifetime`.
    pub fn is_half_over(minted: UnixTime, lifetime: Duration, now: UnixTime) -> bool {
        now > minted + lifetime / 2
    }
}

fn moment(now: UnixTime) -> [u8; MOMENT] {
    let [_, _, moment @ ..] = now.millis().max(0).to_be_bytes();
    moment
}

fn mac(secret: &hmac::Key, moment: [u8; MOMENT]) -> [u8; MAC] {
    let mut context = hmac::Context::with_key(secret);
    context.update(CONTEXT);
    context.update(&moment);
    let tag = context.sign();
    let mut mac = [0; MAC];
    mac.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    mac
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secrets, lifetime } = self;
        f.debug_struct("Nonces").field("secrets", &secrets.len()).field("lifetime", lifetime).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const LIFE: Duration = Duration::from_mins(5);
    const AHEAD: Duration = Duration::from_secs(30);
    const ONE: &[u8] = &[1; 32];
    const TWO: &[u8] = &[2; 32];

    fn nonces(secrets: &[&'static [u8]]) -> Nonces {
        Nonces::new(secrets.iter().copied(), LIFE).unwrap()
    }

    fn ask(nonces: &Nonces, nonce: &str, at: UnixTime) -> Result<UnixTime, BadNonce> {
        nonces.minted(nonce, at, AHEAD)
    }

    #[test]
    fn a_nonce_is_good_for_its_lifetime() {
        let nonces = nonces(&[ONE]);
        let nonce = nonces.mint(NOW).unwrap();
        let ms = Duration::from_millis(1);
        for at in [NOW, NOW + LIFE, NOW - AHEAD] {
            assert_eq!(ask(&nonces, &nonce, at), Ok(NOW), "{at:?}");
        }
        assert_eq!(ask(&nonces, &nonce, NOW + LIFE + ms), Err(BadNonce::Expired));
        assert_eq!(ask(&nonces, &nonce, NOW - AHEAD - ms), Err(BadNonce::Future));
        assert!(!Nonces::is_half_over(NOW, LIFE, NOW + LIFE / 2));
        assert!(Nonces::is_half_over(NOW, LIFE, NOW + LIFE / 2 + ms));
    }

    #[test]
    fn secrets_rotate_without_a_refusal() {
        let [old, both, new] = [nonces(&[ONE]), nonces(&[ONE, TWO]), nonces(&[TWO, ONE])];
        let (of_one, of_two) = (old.mint(NOW).unwrap(), new.mint(NOW).unwrap());
        assert_eq!(both.mint(NOW).unwrap(), of_one);
        assert_ne!(of_one, of_two);
        for agreeing in [&both, &new] {
            assert_eq!(ask(agreeing, &of_one, NOW), Ok(NOW));
            assert_eq!(ask(agreeing, &of_two, NOW), Ok(NOW));
        }
        assert_eq!(ask(&old, &of_two, NOW), Err(BadNonce::Unknown));
        assert_eq!(ask(&nonces(&[TWO]), &of_one, NOW), Err(BadNonce::Unknown));
    }

    /// Replicas of different versions must agree.
    #[test]
    fn the_form_of_a_nonce_is_fixed() {
        assert_eq!(nonces(&[ONE]).mint(NOW).unwrap(), "AaMYXFAAnIHEx4s6lK1dqclFvddHVg");
    }

    #[test]
    fn a_secret_that_is_too_short_is_none() {
        assert!(Nonces::new([&[1_u8; 31][..]], LIFE).is_none());
        assert!(Nonces::new([ONE, &[1_u8; 31][..]], LIFE).is_none());
        assert!(Nonces::new([], LIFE).is_none());
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", nonces(&[ONE, TWO]));
        assert_eq!(shown, "Nonces { secrets: 2, lifetime: 300s }");
    }

    proptest! {
        #[test]
        fn one_changed_bit_is_no_nonce(bit in 0..(MOMENT + MAC) * 8, millis in 0..1_i64 << 47) {
            let (nonces, now) = (nonces(&[ONE]), UnixTime::from_millis(millis));
            let nonce = nonces.mint(now).unwrap();
            // RFC 9449 §8.1: NQCHAR.
            prop_assert!(nonce.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)));
            prop_assert_eq!(ask(&nonces, &nonce, now), Ok(now));
            let mut bytes = base64url::decode(&nonce).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(ask(&nonces, &base64url::encode(&bytes), now), Err(BadNonce::Unknown));
            let shorter = base64url::encode(&bytes[..bit / 8]);
            prop_assert_eq!(ask(&nonces, &shorter, now), Err(BadNonce::Unknown));
        }

        #[test]
        fn any_other_text_is_no_nonce(text in "\\PC{0,60}") {
            prop_assert_eq!(ask(&nonces(&[ONE]), &text, NOW), Err(BadNonce::Unknown));
        }
    }
}
