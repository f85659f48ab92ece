//! The site's own files, under names that change with their content.
//!
//! What it does: carries the style sheet, two scripts and the mark in the program, and finds them by name. What it refuses
//! to know: pages, caching headers. Invariant: a name stands for one content forever, so that a browser may keep it.

use std::sync::LazyLock;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use crate::view::Asset;

/// Where the files are served.
const FOLDER: &str = "/.lightkeeper/assets/";

/// Bytes of the content's SHA-256 in a name: 48 bits tell our own releases apart.
const HASH_BYTES: usize = 6;

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    Style,
    Script,
    /// htmx 2, as published; its licence lies beside it.
    Htmx,
    Mark,
}

impl File {
    const ALL: [File; 4] = [File::Style, File::Script, File::Htmx, File::Mark];

    /// Name before and after the hash, and what it is.
    fn parts(self) -> (&'static str, &'static str, Asset) {
        const TEXT: &str = "text/javascript; charset=utf-8";
        let (stem, ending, content_type, body): (_, _, _, &'static [u8]) = match self {
            File::Style => (
                "site",
                "css",
                "text/css; charset=utf-8",
                include_bytes!("assets/site.css"),
            ),
            File::Script => ("site", "js", TEXT, include_bytes!("assets/site.js")),
            File::Htmx => ("htmx", "js", TEXT, include_bytes!("assets/htmx.min.js")),
            File::Mark => (
                "lighthouse",
                "svg",
                "image/svg+xml",
                include_bytes!("assets/lighthouse.svg"),
            ),
        };
        (stem, ending, Asset { content_type, body })
    }

    /// `/.lightkeeper/assets/site-0123456789ab.css`
    pub(crate) fn url(self) -> String {
        let name = NAMES
            .iter()
            .find(|(file, _)| *file == self)
            .map_or("", |(_, name)| name.as_str());
        format!("{FOLDER}{name}")
    }
}

static NAMES: LazyLock<Vec<(File, String)>> = LazyLock::new(|| {
    let name = |file: File| {
        let (stem, ending, asset) = file.parts();
        (file, hashed(stem, ending, asset.body))
    };
    File::ALL.into_iter().map(name).collect()
});

fn hashed(stem: &str, ending: &str, body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    let hash = HEXLOWER.encode(digest.as_ref().get(..HASH_BYTES).unwrap_or_default());
    format!("{stem}-{hash}.{ending}")
}

/// The file of this exact name.
pub(crate) fn find(name: &str) -> Option<Asset> {
    let (file, _) = NAMES.iter().find(|(_, known)| known == name)?;
    Some(file.parts().2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_with_the_content() {
        assert_ne!(hashed("site", "css", b"a"), hashed("site", "css", b"b"));
        assert_eq!(hashed("site", "css", b"a"), "site-ca978112ca1b.css");
        for file in File::ALL {
            let url = file.url();
            let name = url.strip_prefix(FOLDER).unwrap();
            let found = find(name).unwrap();
            let hash = name.split(['-', '.']).nth(1).unwrap();
            assert_eq!(hash.len(), 2 * HASH_BYTES, "{name}");
            assert!(!found.body.is_empty() && !found.content_type.is_empty());
            assert!(find(&name.replace(hash, "000000000000")).is_none());
        }
        for unknown in ["", "site.css", "../mod.rs", "htmx.LICENSE.txt"] {
            assert!(find(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn our_files_load_nothing() {
        for file in [File::Style, File::Script, File::Mark] {
            let (stem, _, asset) = file.parts();
            let text = std::str::from_utf8(asset.body)
                .unwrap()
                .replace("http://www.w3.org/2000/svg", "");
            for loader in [
                "url(",
                "@import",
                "http:",
                "https:",
                "innerHTML",
                "eval",
                "fetch(",
                "document.write",
            ] {
                assert!(!text.contains(loader), "{stem} says `{loader}`");
            }
        }
    }
}
