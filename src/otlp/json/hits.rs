//! Where reserved names may stand in a text.
//!
//! What it does: finds the reserved prefix, and the only escape that could spell it otherwise: the prefix is
//! letters and a dot, which no escape but `\u` stands for. What it refuses to know: JSON. Invariant: a range
//! without a hit holds no reserved name, however it is written.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::{FindIter, Finder};

use crate::otlp::RESERVED;

static PREFIX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(RESERVED));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(br"\u"));

pub(super) struct Hits<'a> {
    plain: HitPlaces<'a>,
    escaped: HitPlaces<'a>,
}

impl<'a> Hits<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Hits<'a> {
        Hits {
            plain: HitPlaces::new(&PREFIX, text),
            escaped: HitPlaces::new(&ESCAPE, text),
        }
    }

    /// Whether there is one in this range. Ranges must be asked in the order of their starts.
    pub(crate) fn any_in(&mut self, range: Range<usize>) -> bool {
        self.plain.any_in(&range) | self.escaped.any_in(&range)
    }
}

struct HitPlaces<'a> {
    rest: FindIter<'a, 'static>,
    next: usize,
}

impl<'a> HitPlaces<'a> {
    fn new(finder: &'static Finder<'static>, text: &'a [u8]) -> HitPlaces<'a> {
        let mut rest = finder.find_iter(text);
        HitPlaces {
            next: rest.next().unwrap_or(usize::MAX),
            rest,
        }
    }

    fn any_in(&mut self, range: &Range<usize>) -> bool {
        while self.next < range.start {
            self.next = self.rest.next().unwrap_or(usize::MAX);
        }
        self.next < range.end
    }
}
