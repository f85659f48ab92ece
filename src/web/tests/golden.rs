//! Every page as text, held by golden files; `LIGHTKEEPER_BLESS=1` writes them anew.
//!
//! What it does: compares whole pages. What it refuses to know: whether a page is right; that is for the person who reads the
//! difference.

use std::path::{Path, PathBuf};

use super::{rendered, samples};
use crate::web::assets::File;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/golden")
}

/// The names of files of ours change with every change of theirs; pages do not.
fn named_plainly(html: &str) -> String {
    let mut html = html.to_owned();
    for (file, plain) in [
        (File::Style, "site.css"),
        (File::Script, "site.js"),
        (File::Htmx, "htmx.min.js"),
        (File::Mark, "lighthouse.svg"),
    ] {
        html = html.replace(&file.url(), &format!("/.lightkeeper/assets/{plain}"));
    }
    // One tag on a line: a difference is shown where it is. Only before tags that stand between blocks.
    for tag in [
        "<head", "<meta", "<title", "<link", "<script", "<body", "<header", "<main", "<footer",
        "<section", "<tr", "<td", "<th ", "<li", "<h1", "<h2", "<h3", "<form", "<dt", "<details",
        "<table", "<p",
    ] {
        html = html.replace(tag, &format!("\n{tag}"));
    }
    html + "\n"
}

#[test]
fn pages_are_as_they_were() {
    let mut differing = Vec::new();
    for (name, frame, page) in samples::all() {
        let html = named_plainly(&rendered(&frame, &page));
        differing
            .extend(testkit::golden::check(&folder().join(format!("{name}.html")), &html).err());
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn every_golden_file_has_its_page() {
    let known: Vec<String> = samples::all()
        .iter()
        .map(|(name, _, _)| format!("{name}.html"))
        .collect();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} belongs to no page");
    }
}
