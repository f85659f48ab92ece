//! YAML files that people write: read strictly, with every mistake reported at once and in its place.
//!
//! What it does: turns a text into a typed value, first checking the text's whole structure against the
//! type's own JSON schema, so that unknown, duplicate and missing keys, wrong kinds and unknown words are
//! all named together. What it refuses to know: what any file is for.
//! Invariants: a value exists only if nothing was found; no diagnostic repeats a scalar, except a word
//! where a closed list of words was expected; bytes, depth, nodes and findings are bounded, and aliases,
//! tags and merge keys are refused.
//!
//! A type may carry advice for an author who writes something else in its place:
//! `#[schemars(extend("x-hint" = "write …"))]`.

mod diagnostic;
mod file;
pub(crate) mod quantity;
mod shape;
mod spanned;
mod suggest;
mod tree;
mod walk;

pub use diagnostic::Diagnostic;
pub(crate) use diagnostic::{Severity, name, names, path};
pub(crate) use file::{ReadFault, read, read_any, text};
pub(crate) use spanned::{Entries, Spanned};
pub(crate) use suggest::nearest;

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// The JSON schema (2020-12) of what `T` reads, as `load` checks it and editors may use it.
pub(crate) fn schema_of<T: JsonSchema>() -> serde_json::Value {
    schemars::SchemaGenerator::default()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Reads `text`, which stands in `file` (only named, never opened). `Err`: all mistakes, in the file's
/// order, at least one.
pub fn load<T: DeserializeOwned + JsonSchema>(
    file: &Path,
    text: &str,
) -> Result<T, Vec<Diagnostic>> {
    let tree = tree::read(file, text)?;
    let found = walk::check(file, &tree, &schema_of::<T>());
    if !found.is_empty() {
        return Err(found);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: tree::DEPTH_LIMIT + 1, max_nodes: tree::NODE_LIMIT + 1 },
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        // The reader's own words may repeat the value, so only the place is taken from them.
        let (line, column) = error
            .location()
            .map_or((0, 0), |place| (place.line(), place.column()));
        vec![Diagnostic::error(
            file,
            line,
            column,
            "this value cannot be read as what is expected here",
        )]
    })
}

#[cfg(test)]
mod tests;
