//! Which app a resource belongs to.
//!
//! What it does: finds the app whose `services` and `match` fit a resource's attributes, the most specific one.
//! What it refuses to know: how attributes are encoded, and who sends them. Invariants: an app fits if one of its
//! services does (or it names none) and all of its `match` attributes do, and it names at least one of the two; an
//! attribute that can be read in two ways settles nothing; the cost of a lookup depends on what fits nearly, not on
//! how many apps there are.
//!
//! Of several apps that fit, the most specific owns the resource. It is the one with, in this order: more `match`
//! attributes; more of them without a wildcard; a literal service name before a pattern before none; more text before
//! the pattern's first wildcard; more text in the pattern altogether; and at last the app that lies beneath the other.
//! `rivals` finds the apps that this leaves undecided.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Glob, NodeId, Prefixes, Tree};

/// The resource attribute that `services` speak of (OpenTelemetry semantic conventions, "Service").
pub(crate) const SERVICE_NAME: &str = "service.name";

/// What a resource says under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    Absent,
    Text(Cow<'a, str>),
    /// Readers could take it differently: given more than once, oddly encoded, or no text.
    Ambiguous,
}

/// How specific a rule is; the greater wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Rank {
    marks: usize,
    literal_marks: usize,
    /// 2: a literal service name, 1: a pattern, 0: none.
    service: u8,
    prefix_bytes: usize,
    literal_bytes: usize,
}

/// One service pattern of an app with all its `match` attributes; an app without services is one rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub node: NodeId,
    /// Which of the app's services, counted from 0.
    pub place: Option<usize>,
    pub service: Option<Glob>,
    pub marks: Vec<(String, Glob)>,
    pub rank: Rank,
}

/// The rules of a whole tree.
#[derive(Debug, Default)]
pub(crate) struct Ownership {
    watched: Vec<Box<str>>,
    rules: Vec<Rule>,
    services: Filed,
    /// Rules without services, each under the first attribute that it names.
    marks: BTreeMap<String, Filed>,
}

/// Rules by the pattern for one attribute.
#[derive(Debug, Default)]
struct Filed {
    literal: ahash::HashMap<String, Vec<usize>>,
    patterns: Prefixes<usize>,
    /// The most specific one; none: nothing is filed here.
    highest: Option<Claim>,
}

/// How strongly a rule claims what it fits. Of equally specific rules the greater node wins: those that fit the same
/// resource lie on one path from the root (`rivals`), and beneath means a greater number.
type Claim = (Rank, NodeId);

/// The app that owns a resource, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner<'a> {
    pub node: NodeId,
    /// The service pattern that fits, as written; none: the app is told by its `match` alone.
    pub service: Option<&'a str>,
    /// The `match` attributes, which fit.
    pub marks: &'a [(String, Glob)],
}

/// An attribute that decides is `Ambiguous`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unclear;

/// What was found so far.
#[derive(Default)]
struct OwnerSearch<'a> {
    best: Option<&'a Rule>,
    /// The most specific rule that an ambiguous attribute might fit.
    doubt: Option<Claim>,
}

impl Ownership {
    /// Collects the rules of all apps.
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut ownership = Ownership {
            watched: vec![SERVICE_NAME.into()],
            rules: rules(tree),
            ..Default::default()
        };
        for (number, rule) in ownership.rules.iter().enumerate() {
            for (name, _) in &rule.marks {
                if !ownership.watched.iter().any(|known| **known == **name) {
                    ownership.watched.push(name.as_str().into());
                }
            }
            let filed = match (&rule.service, rule.marks.first()) {
                (Some(service), _) => Some((&mut ownership.services, service)),
                (None, Some((name, pattern))) => {
                    Some((ownership.marks.entry(name.clone()).or_default(), pattern))
                }
                (None, None) => None,
            };
            if let Some((filed, pattern)) = filed {
                filed.file(pattern, number, rule.claim());
            }
        }
        ownership.services.patterns.settle();
        ownership
            .marks
            .values_mut()
            .for_each(|filed| filed.patterns.settle());
        ownership
    }

    /// The names of the attributes that tell apps apart: `service.name` first, then those of `match`, each once.
    pub(crate) fn watched(&self) -> &[Box<str>] {
        &self.watched
    }

    /// The owner of a resource with these attributes; `None`: no app claims it.
    pub(crate) fn owner<'m>(
        &self,
        marks: &dyn Fn(&str) -> Mark<'m>,
    ) -> Result<Option<Owner<'_>>, Unclear> {
        let mut search = OwnerSearch::default();
        self.search(&self.services, SERVICE_NAME, marks, &mut search);
        for (name, filed) in &self.marks {
            self.search(filed, name, marks, &mut search);
        }
        let Some(best) = search.best else {
            return if search.doubt.is_some() {
                Err(Unclear)
            } else {
                Ok(None)
            };
        };
        if search.doubt > Some(best.claim()) {
            return Err(Unclear);
        }
        let service = best.service.as_ref().map(Glob::as_str);
        Ok(Some(Owner {
            node: best.node,
            service,
            marks: &best.marks,
        }))
    }

    fn search<'a, 'm>(
        &'a self,
        filed: &'a Filed,
        name: &str,
        marks: &dyn Fn(&str) -> Mark<'m>,
        search: &mut OwnerSearch<'a>,
    ) {
        let Some(highest) = filed.highest else { return };
        match marks(name) {
            Mark::Absent => {}
            Mark::Ambiguous => search.doubt = search.doubt.max(Some(highest)),
            Mark::Text(text) => {
                let mut visit = |number: &usize| {
                    if let Some(rule) = self.rules.get(*number) {
                        search.consider(rule, name, &text, marks);
                    }
                };
                filed
                    .literal
                    .get(&*text)
                    .into_iter()
                    .flatten()
                    .for_each(&mut visit);
                filed.patterns.candidates(&text, &mut visit);
            }
        }
    }
}

impl Filed {
    fn file(&mut self, pattern: &Glob, rule: usize, claim: Claim) {
        match pattern.is_literal() {
            true => self
                .literal
                .entry(pattern.as_str().to_owned())
                .or_default()
                .push(rule),
            false => self.patterns.slot(pattern.prefix()).push(rule),
        }
        self.highest = self.highest.max(Some(claim));
    }
}

impl<'a> OwnerSearch<'a> {
    /// Takes the rule if it fits and is more specific than what was found; `name` is what it was filed under.
    fn consider<'m>(
        &mut self,
        rule: &'a Rule,
        name: &str,
        text: &str,
        marks: &dyn Fn(&str) -> Mark<'m>,
    ) {
        if self.best.is_some_and(|best| best.claim() >= rule.claim()) {
            return;
        }
        if rule
            .service
            .as_ref()
            .is_some_and(|service| !service.matches(text))
        {
            return;
        }
        let mut doubtful = false;
        for (wanted, pattern) in &rule.marks {
            // A rule without services was filed under its first attribute, whose value is at hand.
            let fits = if rule.service.is_none() && wanted == name {
                pattern.matches(text)
            } else {
                match marks(wanted) {
                    Mark::Absent => false,
                    Mark::Text(text) => pattern.matches(&text),
                    Mark::Ambiguous => {
                        doubtful = true;
                        true
                    }
                }
            };
            if !fits {
                return;
            }
        }
        if doubtful {
            self.doubt = self.doubt.max(Some(rule.claim()));
        } else {
            self.best = Some(rule);
        }
    }
}

/// All rules, in the tree's order.
pub(super) fn rules(tree: &Tree) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (node, app) in tree.nodes() {
        let rule = |place: Option<usize>, service: Option<&Glob>| Rule {
            node,
            place,
            service: service.cloned(),
            marks: app.marks.clone(),
            rank: Rank::of(service, &app.marks),
        };
        rules.extend(
            app.services
                .iter()
                .enumerate()
                .map(|(place, service)| rule(Some(place), Some(service))),
        );
        if app.services.is_empty() && !app.marks.is_empty() {
            rules.push(rule(None, None));
        }
    }
    rules
}

impl Rule {
    fn claim(&self) -> Claim {
        (self.rank, self.node)
    }
}

impl Rank {
    fn of(service: Option<&Glob>, marks: &[(String, Glob)]) -> Self {
        let literal_bytes =
            |glob: &Glob| glob.as_str().bytes().filter(|byte| *byte != b'*').count();
        Rank {
            marks: marks.len(),
            literal_marks: marks
                .iter()
                .filter(|(_, pattern)| pattern.is_literal())
                .count(),
            service: service.map_or(0, |service| 1 + u8::from(service.is_literal())),
            prefix_bytes: service.map_or(0, |service| service.prefix().len()),
            literal_bytes: service.map_or(0, literal_bytes),
        }
    }
}

#[cfg(test)]
mod tests;
