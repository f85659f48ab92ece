//! A YAML text as a tree in which every node knows its place.
//!
//! What it does: reads one document into mappings, lists and scalars, in the file's order, duplicates
//! included. What it refuses to know: what the keys mean, and which kind a scalar should have.
//! Invariants: bytes, depth and nodes are bounded; aliases, tags, merge keys and directives are refused
//! (an alias can make a small file large, and the others say things that a reader does not see); no
//! message holds a piece of a scalar.

use std::path::Path;

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::diagnostic::Diagnostic;

/// The largest file that is read, in bytes: a policy with ten thousand apps is far below it.
pub(super) const TEXT_LIMIT_BYTES: usize = 4 << 20;
/// The deepest nesting: thirty apps inside each other, at two levels each.
pub(crate) const DEPTH_LIMIT: usize = 64;
/// The most nodes (mappings, lists and scalars) in one file.
pub(crate) const NODE_LIMIT: usize = 250_000;

/// Where something stands; both count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub line: u64,
    pub column: u64,
}

impl Place {
    fn of(marker: Marker) -> Self {
        Place {
            line: marker.line() as u64,
            column: marker.col() as u64 + 1,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    pub place: Place,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    Scalar {
        text: String,
        /// Neither quoted nor a block: such text may also be a number or a boolean.
        plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Already complained about.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

/// Reads the tree. `Err` holds everything found up to and including what made reading on impossible, or,
/// if the text is well-formed, everything in it that is refused whatever its meaning.
pub(crate) fn read(file: &Path, text: &str) -> Result<Node, Vec<Diagnostic>> {
    if text.len() > TEXT_LIMIT_BYTES {
        let message = format!("the file is larger than {} MiB", TEXT_LIMIT_BYTES >> 20);
        return Err(vec![Diagnostic::error(file, 0, 0, message)]);
    }
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_LIMIT,
        block_nesting_limit: DEPTH_LIMIT,
    };
    let mut reader = Reader {
        file,
        parser: Parser::new_from_str_with_options(text, options),
        found: Vec::new(),
        nodes: 0,
    };
    let tree = match reader.document() {
        Ok(tree) => tree,
        Err(Stop(diagnostic)) => {
            reader.found.push(diagnostic);
            return Err(reader.found);
        }
    };
    if reader.found.is_empty() {
        Ok(tree)
    } else {
        Err(reader.found)
    }
}

/// Reading cannot go on.
struct Stop(Diagnostic);

struct Reader<'a> {
    file: &'a Path,
    parser: Parser<'a, StrInput<'a>>,
    found: Vec<Diagnostic>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    /// The only document; an empty file is an empty mapping, so that what it lacks is named.
    fn document(&mut self) -> Result<Node, Stop> {
        let mut tree = None;
        loop {
            let (event, place) = self.event()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                _ if tree.is_some() => {
                    return Err(self.stop(place, "only one document may stand in a file"));
                }
                event => tree = Some(self.node(event, place, 0)?),
            }
        }
        Ok(match tree {
            Some(Node {
                place,
                value: Value::Null,
            }) => Node {
                place,
                value: Value::Mapping(Vec::new()),
            },
            Some(tree) => tree,
            None => Node {
                place: Place { line: 1, column: 1 },
                value: Value::Mapping(Vec::new()),
            },
        })
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Node, Stop> {
        self.nodes += 1;
        if self.nodes > NODE_LIMIT {
            return Err(self.stop(
                place,
                format!("the file holds more than {NODE_LIMIT} values"),
            ));
        }
        if depth > DEPTH_LIMIT {
            return Err(self.stop(place, format!("nested deeper than {DEPTH_LIMIT} levels")));
        }
        if let Event::Scalar(.., Some(_))
        | Event::SequenceStart(.., Some(_))
        | Event::MappingStart(.., Some(_)) = &event
        {
            self.refuse(place, "a YAML tag (`!…`) is not read", "remove the tag");
        }
        let value = match event {
            Event::Scalar(text, style, ..) => {
                let plain = style == ScalarStyle::Plain;
                if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Value::Null
                } else {
                    Value::Scalar {
                        text: text.into_owned(),
                        plain,
                    }
                }
            }
            Event::SequenceStart(..) => self.list(depth)?,
            Event::MappingStart(..) => self.mapping(depth)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(
                    place,
                    "a YAML alias (`*…`) is not read",
                    "write the value out, or quote it if it is text",
                );
                Value::Broken
            }
            _ => return Err(self.stop(place, "the text is not well-formed YAML")),
        };
        Ok(Node { place, value })
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, place) = self.event()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            items.push(self.node(event, place, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries = Vec::new();
        loop {
            let (event, place) = self.event()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Value::Mapping(entries));
            }
            let key = self.node(event, place, depth + 1)?;
            let (event, value_place) = self.event()?;
            let value = self.node(event, value_place, depth + 1)?;
            match key.value {
                Value::Scalar { text, plain: true } if text == "<<" => {
                    self.refuse(
                        place,
                        "a YAML merge key (`<<`) is not read",
                        "write the merged keys out",
                    );
                }
                Value::Scalar { text, .. } if !text.is_empty() => entries.push(Entry {
                    key: text,
                    place,
                    value,
                }),
                Value::Broken => {}
                _ => self.refuse(
                    place,
                    "a key must be text that is not empty",
                    "quote the key",
                ),
            }
        }
    }

    fn event(&mut self) -> Result<(Event<'a>, Place), Stop> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, Place::of(span.start))),
            Some(Err(error)) => Err(self.broken(&error)),
            None => Err(self.stop(Place { line: 1, column: 1 }, "the text ends too early")),
        }
    }

    /// The parser's own words are fixed sentences; the one kind that repeats a character of the text is
    /// said without it.
    fn broken(&self, error: &ScanError) -> Stop {
        let place = Place::of(*error.marker());
        let message = match error.kind() {
            granit_parser::ErrorKind::UnexpectedCharacter { .. } => {
                "not well-formed YAML: unexpected character".into()
            }
            granit_parser::ErrorKind::DirectiveDisallowed => {
                "a YAML directive (`%…`) is not read".into()
            }
            granit_parser::ErrorKind::RecursionLimitExceeded => {
                format!("nested deeper than {DEPTH_LIMIT} levels")
            }
            kind => format!("not well-formed YAML: {kind}"),
        };
        self.stop(place, message)
    }

    fn stop(&self, place: Place, message: impl Into<String>) -> Stop {
        Stop(Diagnostic::error(
            self.file,
            place.line,
            place.column,
            message,
        ))
    }

    fn refuse(&mut self, place: Place, message: &str, hint: &str) {
        self.found
            .push(Diagnostic::error(self.file, place.line, place.column, message).with_hint(hint));
    }
}
