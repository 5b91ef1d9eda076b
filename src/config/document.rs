//! A YAML text as a tree whose nodes can be found again in the text.
//!
//! The parser tells a place only along with an error. So every node gets a number in the order of the walk,
//! and whoever wants to know where number *n* stands walks again and fails there.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

/// More than any configuration holds; bounds what a text full of aliases can grow to.
const MAX_NODES: usize = 200_000;

/// More brackets in brackets than the parser's own limit on nesting admits.
const MAX_BRACKETS: usize = 1000;

/// One value, or one name of a mapping.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number in the order of the walk.
    pub number: usize,
    /// What it holds.
    pub value: Value,
}

/// Two nodes are equal when they say the same, wherever they stand.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// What a node holds. A mapping keeps every entry in order, the same name twice too.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Why a text is no YAML document, and at which byte.
#[derive(Debug)]
pub struct Broken {
    pub offset: usize,
    pub problem: String,
}

/// Reads a text. An empty one is [`Value::Null`].
///
/// # Errors
/// The first place where the text is not YAML, or is YAML that no configuration needs.
pub fn parse(text: &str) -> Result<Node, Broken> {
    if let Some((offset, found)) = text.char_indices().find(|(_, c)| is_forbidden(*c)) {
        return Err(Broken {
            offset,
            problem: format!("the character U+{:04X} cannot stand in YAML", u32::from(found)),
        });
    }
    if let Some(offset) = too_deep(text) {
        return Err(Broken { offset, problem: TOO_DEEP.to_owned() });
    }
    walk(text, None).map_err(|error| broken(text, &error))
}

/// The parser takes quadratic time for brackets in brackets before anybody counts them. Those inside of texts and
/// comments count here too, which no configuration notices.
fn too_deep(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut offsets = text.bytes().enumerate().filter(|(_, byte)| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > MAX_BRACKETS
    });
    offsets.next().map(|(offset, _)| offset)
}

/// The byte at which a node begins.
pub fn locate(text: &str, number: usize) -> usize {
    let stopped = walk(text, Some(number)).err();
    stopped.and_then(|error| error.location()).map_or(0, |at| text.floor_char_boundary(at.index()))
}

/// The parser knows no place for these.
fn is_forbidden(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || matches!(c, '\u{FEFF}' | '\u{FFFE}' | '\u{FFFF}')
}

fn walk(text: &str, stop_at: Option<usize>) -> Result<Node, serde_yaml::Error> {
    Walk { next: 0, stop_at }.deserialize(serde_yaml::Deserializer::from_str(text))
}

fn broken(text: &str, error: &serde_yaml::Error) -> Broken {
    let told = error.to_string();
    let offset = error.location().map_or(0, |at| at.index());
    let (offset, problem) = match told.as_str() {
        told if told.contains("more than one document") => {
            let second = text.rfind("\n---").map_or(0, |newline| newline + 1);
            (second, "a second document begins; one file is one document")
        }
        told if told.contains("recursion limit") => (offset, TOO_DEEP),
        told if told.contains("repetition limit") => (offset, "aliases repeat too much"),
        told if told.contains(NOT_NEEDED) => (offset, NOT_NEEDED),
        told if told.contains(TOO_LARGE) => (offset, TOO_LARGE),
        // The parser's own place follows; ours is shown anyway.
        told => (offset, told.split(" at line ").next().unwrap_or_default()),
    };
    Broken { offset, problem: problem.to_owned() }
}

const NOT_NEEDED: &str = "a tag has no meaning here";
const TOO_DEEP: &str = "this is nested too deeply";
const TOO_LARGE: &str = "this holds too many values";

/// The walk through a text: numbers every node, and fails at one of them if told to.
struct Walk {
    next: usize,
    stop_at: Option<usize>,
}

impl Walk {
    fn enter<E: Error>(&mut self) -> Result<usize, E> {
        let number = self.next;
        self.next += 1;
        if Some(number) == self.stop_at {
            return Err(E::custom("here"));
        }
        if number >= MAX_NODES {
            return Err(E::custom(TOO_LARGE));
        }
        Ok(number)
    }

    fn leaf<E: Error>(&mut self, value: Value) -> Result<Node, E> {
        Ok(Node { number: self.enter()?, value })
    }
}

impl<'de> DeserializeSeed<'de> for &mut Walk {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Walk {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.leaf(Value::Null)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.leaf(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.leaf(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.leaf(Value::Integer(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.leaf(Value::Integer(value.into()))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Node, E> {
        self.leaf(Value::Integer(value))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Node, E> {
        self.leaf(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.leaf(Value::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.leaf(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let number = self.enter()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(&mut *self)? {
            list.push(item);
        }
        Ok(Node { number, value: Value::List(list) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let number = self.enter()?;
        let mut map = Vec::new();
        while let Some(name) = entries.next_key_seed(&mut *self)? {
            map.push((name, entries.next_value_seed(&mut *self)?));
        }
        Ok(Node { number, value: Value::Map(map) })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        Err(A::Error::custom(NOT_NEEDED))
    }
}
