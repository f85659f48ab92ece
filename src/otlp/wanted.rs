//! The resource attributes whose values may be asked for, and what was found of them.
//!
//! What it does: finds a wanted name by one look-up, however many are wanted; keeps what each resource group says under
//! them, and the texts that had to be unescaped for it. What it refuses to know: encodings, and what the names are for.
//! Invariants: one attribute costs one look-up when it is read; an answer costs one look-up and a search among what the
//! group says, whose length is the smaller of the wanted names and the group's attributes; a name is kept once per group.

use std::ops::Range;
use std::sync::Arc;

use super::group::Found;
use super::span::Span;
use super::stamp::length_bit;

/// Names of resource attributes, each with its place in the list.
#[derive(Debug, Default)]
pub struct Wanted {
    places: ahash::HashMap<Box<[u8]>, u32>,
    /// Bit n: some name is n bytes long (63: that or longer). Most other names are told apart by it.
    lengths: u64,
}

impl Wanted {
    /// Names that stand twice count once.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Arc<Wanted> {
        let mut wanted = Wanted::default();
        for name in names {
            let next = wanted.places.len() as u32;
            wanted.places.entry(name.as_bytes().into()).or_insert(next);
            wanted.lengths |= length_bit(name.as_bytes());
        }
        Arc::new(wanted)
    }

    #[inline]
    pub(super) fn place(&self, name: &[u8]) -> Option<u32> {
        if self.lengths & length_bit(name) == 0 {
            return None;
        }
        #[cfg(test)]
        work::add(work::LOOK_UP);
        self.places.get(name).copied()
    }
}

/// What a resource says under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttributeSaid {
    /// A text, at this range of the body.
    Text(Span),
    /// A text that was unescaped, at this range of the kept texts.
    Kept(Span),
    Other,
    Ambiguous,
}

#[derive(Debug)]
pub(super) struct AttributeValue {
    name: u32,
    said: AttributeSaid,
}

/// What all groups say, in order: each group's lie between the end of the one before it and its own.
#[derive(Debug, Default)]
pub(super) struct Values {
    wanted: Arc<Wanted>,
    values: Vec<AttributeValue>,
    /// For each wanted name, behind its latest value; one from before `first` is of another group.
    latest: Vec<u32>,
    /// Where the present group's begin.
    first: usize,
    /// Texts that were unescaped.
    texts: String,
}

impl Values {
    pub(crate) fn new(wanted: &Arc<Wanted>) -> Values {
        Values {
            wanted: wanted.clone(),
            latest: vec![0; wanted.places.len()],
            ..Values::default()
        }
    }

    #[inline]
    pub(crate) fn place(&self, name: &[u8]) -> Option<u32> {
        self.wanted.place(name)
    }

    /// Keeps a text that was unescaped.
    pub(crate) fn keep(&mut self, text: &str) -> Span {
        let start = self.texts.len();
        self.texts.push_str(text);
        (start..self.texts.len()).into()
    }

    pub(crate) fn kept(&self, span: Span) -> &[u8] {
        self.texts.as_bytes().get(span.range()).unwrap_or_default()
    }

    /// Notes what the present group says under a wanted name. A second value of the same name says the same text, or
    /// makes the name ambiguous.
    pub(crate) fn note(&mut self, body: &[u8], name: u32, said: AttributeSaid) {
        let before = self
            .latest
            .get(name as usize)
            .map_or(0, |behind| *behind as usize);
        let earlier = before.checked_sub(1).filter(|place| *place >= self.first);
        match earlier.and_then(|place| Some((place, self.values.get(place)?.said))) {
            None => {
                self.values.push(AttributeValue { name, said });
                if let Some(latest) = self.latest.get_mut(name as usize) {
                    *latest = self.values.len() as u32;
                }
            }
            Some((place, earlier)) => {
                let text = |said| self.text(body, said);
                let is_same = text(earlier).is_some() && text(earlier) == text(said);
                if let Some(value) = self.values.get_mut(place)
                    && !is_same
                {
                    value.said = AttributeSaid::Ambiguous;
                }
            }
        }
    }

    fn text<'a>(&'a self, body: &'a [u8], said: AttributeSaid) -> Option<&'a [u8]> {
        match said {
            AttributeSaid::Text(span) => body.get(span.range()),
            AttributeSaid::Kept(span) => Some(self.kept(span)),
            AttributeSaid::Other | AttributeSaid::Ambiguous => None,
        }
    }

    /// The present group's end, as `found` wants it; the next one begins.
    pub(crate) fn end_group(&mut self) -> u32 {
        if let Some(of_group) = self.values.get_mut(self.first..) {
            of_group.sort_unstable_by_key(|value| value.name);
        }
        self.first = self.values.len();
        self.first as u32
    }

    /// What the group whose values lie here says.
    pub(crate) fn found<'a>(
        &'a self,
        body: &'a [u8],
        of_group: Range<usize>,
        name: &str,
    ) -> Found<'a> {
        let Some(name) = self.wanted.place(name.as_bytes()) else {
            return Found::Absent;
        };
        let values = self.values.get(of_group).unwrap_or_default();
        let Some(value) = values
            .binary_search_by_key(&name, |value| value.name)
            .ok()
            .and_then(|at| values.get(at))
        else {
            return Found::Absent;
        };
        match value.said {
            AttributeSaid::Other => Found::Other,
            AttributeSaid::Ambiguous => Found::Ambiguous,
            said => match self
                .text(body, said)
                .and_then(|text| std::str::from_utf8(text).ok())
            {
                Some(text) => Found::Text(text.into()),
                None => Found::Ambiguous,
            },
        }
    }

    pub(crate) fn working_bytes(&self) -> usize {
        self.values.capacity() * size_of::<AttributeValue>()
            + self.latest.capacity() * 4
            + self.texts.capacity()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}

/// Counts what costs, so that tests can hold it against the size of a body.
#[cfg(test)]
pub(super) mod work {
    use std::cell::Cell;

    pub(crate) const LOOK_UP: usize = 0;
    pub(crate) const UNESCAPE: usize = 1;

    thread_local! {
        static DONE: Cell<[u64; 2]> = const { Cell::new([0; 2]) };
    }

    pub(crate) fn add(what: usize) {
        DONE.with(|done| {
            let mut counts = done.get();
            counts[what] += 1;
            done.set(counts);
        });
    }

    /// Look-ups and unescapes of this thread since the last question.
    pub(crate) fn done() -> [u64; 2] {
        DONE.with(Cell::take)
    }
}
