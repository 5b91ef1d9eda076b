//! Whether a field arrives at the gateway, which tells strangers nothing about the fields that it got.
//!
//! But it takes only so many of them (`limits.headers`), and answers 431 beyond. So as many fields are sent as just pass,
//! and then one more: if that is 431, it was counted, and so it arrived.

use http::{HeaderName, HeaderValue};

use super::asking::{Asker, Field};

/// More would be too many for whatever stands in front.
const MOST: usize = 400;

/// As many fields as just pass.
pub struct Counter(Vec<Field>);

impl Counter {
    /// Finds out how many fit. `limit` is what the gateway takes of all fields together. `None`: that cannot be found out,
    /// because something in front drops fields that it does not know, or takes fewer itself.
    pub async fn find(asker: &Asker, path: &str, limit: usize) -> Option<Self> {
        let (mut fits, mut beyond) = (0, Some(limit).filter(|limit| *limit <= MOST)?);
        let mut last = asked(asker, path, &fields(beyond)).await?;
        if last == Came::Through || asked(asker, path, &[]).await? != Came::Through {
            return None;
        }
        while beyond - fits > 1 {
            let half = usize::midpoint(fits, beyond);
            match asked(asker, path, &fields(half)).await? {
                Came::Through => fits = half,
                other => (beyond, last) = (half, other),
            }
        }
        // Else it is the front that takes no more.
        if last != Came::TooMany {
            return None;
        }
        Some(Self(fields(fits)))
    }

    /// Whether this field is counted. `None`: something else came than what tells.
    pub async fn arrives(&self, asker: &Asker, path: &str, field: Field) -> Option<bool> {
        let mut all = self.0.clone();
        all.push(field);
        match asked(asker, path, &all).await? {
            Came::Through => Some(false),
            Came::TooMany => Some(true),
            Came::Otherwise => None,
        }
    }
}

/// What became of many fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// The gateway took them all.
    Through,
    /// They were too many: for the gateway, unless something in front takes as few and says it in the same way.
    TooMany,
    /// Something in front refused them.
    Otherwise,
}

/// Fields that nobody knows.
fn fields(count: usize) -> Vec<Field> {
    let name = |number: usize| HeaderName::try_from(format!("x-doctor-{number}")).ok();
    (0..count).filter_map(|number| Some((name(number)?, HeaderValue::from_static("1")))).collect()
}

/// `None`: there was no answer.
async fn asked(asker: &Asker, path: &str, fields: &[Field]) -> Option<Came> {
    let answer = asker.ask(path, fields).await.ok()?;
    Some(match answer.status {
        431 => Came::TooMany,
        401 if answer.is_keybounds => Came::Through,
        _ => Came::Otherwise,
    })
}
