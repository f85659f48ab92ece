//! Reads Rust source as text: blanks what is no code, leaves out what is only compiled for tests, and
//! finds words, paths and functions in the rest.
//!
//! What it refuses to know: which rule asks, and what a name means (it is no parser: the compiler has
//! already accepted these files). Invariant: blanking keeps every newline, so line numbers stay true.

/// The same text with comments, strings and character literals blanked; newlines stay.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        match end {
            Some(end) => {
                blank(&mut out, at, end);
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment, string or character that starts at `at` ends; `None` if none starts there.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest));
    }
    if rest[0] == b'"' {
        return Some(at + quoted(rest, b'"'));
    }
    if rest[0] == b'r'
        && (at == 0 || !is_word(bytes[at - 1]) || matches!(bytes[at - 1], b'b' | b'c'))
    {
        let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let mut close = vec![b'"'];
            close.resize(1 + hashes, b'#');
            let body = 2 + hashes;
            return Some(
                at + find(&rest[body..], &close).map_or(rest.len(), |i| body + i + close.len()),
            );
        }
    }
    // A quote opens a character unless it is a lifetime: `'a` not followed by another quote.
    if rest[0] == b'\'' {
        if rest.get(1) == Some(&b'\\') {
            return Some(at + quoted(rest, b'\''));
        }
        let text = String::from_utf8_lossy(&rest[1..rest.len().min(9)]).into_owned();
        let first = text.chars().next()?.len_utf8();
        if rest.get(1 + first) == Some(&b'\'') {
            return Some(at + first + 2);
        }
    }
    None
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b if b == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn blank(out: &mut [u8], from: usize, to: usize) {
    let to = to.min(out.len());
    for byte in &mut out[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Splits blanked code into what the product compiles and what only `#[cfg(test)]` items compile; each
/// half has the other's bytes blanked.
pub fn split_tests(code: &str) -> (String, String) {
    let mut product = code.as_bytes().to_vec();
    let mut tests = code.as_bytes().to_vec();
    let (mut at, attribute) = (0, b"#[cfg(test)]");
    while let Some(found) = find(&code.as_bytes()[at..], attribute) {
        let from = at + found;
        let to = item_end(code.as_bytes(), from + attribute.len());
        blank(&mut product, from, to);
        blank(&mut tests, at, from);
        at = to;
    }
    blank(&mut tests, at, code.len());
    (
        String::from_utf8_lossy(&product).into_owned(),
        String::from_utf8_lossy(&tests).into_owned(),
    )
}

/// Offsets and contents of the string literals that the product compiles.
pub fn product_strings(text: &str) -> Vec<(usize, String)> {
    let (product, tests) = split_tests(&code(text));
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = literal_end(bytes, at) else {
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        let literal = String::from_utf8_lossy(&bytes[at..end]).into_owned();
        // Of a test's item, the code round the literal stands in the tests' half: what stands last before it tells.
        let before = |half: &str| {
            half.as_bytes()[..at]
                .iter()
                .rposition(|byte| !byte.is_ascii_whitespace())
        };
        if bytes[at] != b'/' && before(&product) > before(&tests) {
            let quoted = literal.trim_start_matches('r').trim_matches('#');
            let inside = quoted.strip_prefix(['"', '\'']);
            let inside = inside.and_then(|rest| rest.strip_suffix(['"', '\'']));
            found.push((at, inside.unwrap_or(quoted).to_owned()));
        }
        at = end;
    }
    found
}

/// The end of the item that starts at `at`: its closing brace, or the semicolon of one without a body.
fn item_end(bytes: &[u8], at: usize) -> usize {
    let mut round = 0_i32;
    let mut square = 0_i32;
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'(' => round += 1,
            b')' => round -= 1,
            b'[' => square += 1,
            b']' => square -= 1,
            b';' if round == 0 && square == 0 => return at + offset + 1,
            b'{' if round == 0 && square == 0 => return closing(bytes, at + offset),
            _ => {}
        }
    }
    bytes.len()
}

/// One past the brace that closes the one at `open`.
fn closing(bytes: &[u8], open: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in bytes[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return open + offset + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// Offset and content of every plain string in what the product compiles. `code` and `product` are the blanked text and its
/// product's half.
pub fn strings<'t>(text: &'t str, code: &str, product: &str) -> Vec<(usize, &'t str)> {
    let bytes = text.as_bytes();
    let (code, product) = (code.as_bytes(), product.as_bytes());
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = literal_end(bytes, at) else {
            at += 1;
            continue;
        };
        // A string is blanked in both halves: what stands before it tells which one it is in.
        let before = code[..at]
            .iter()
            .rposition(|byte| !byte.is_ascii_whitespace());
        if bytes[at] == b'"' && before.is_some_and(|before| product[before] == code[before]) {
            found.extend(
                text.get(at + 1..end.saturating_sub(1))
                    .map(|content| (at, content)),
            );
        }
        at = end;
    }
    found
}

/// 1-based line of a byte offset.
pub fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}

/// Byte offsets at which `word` stands in the code with no identifier character on either side.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = at.checked_sub(1).is_none_or(|i| !is_word(bytes[i]));
            let last = at + word.len();
            before && (!is_word(bytes[last - 1]) || bytes.get(last).is_none_or(|b| !is_word(*b)))
        })
        .collect()
}

/// Offsets and names of the modules that the code reaches through `crate::name` or `crate::{a, b::c}`.
pub fn crate_names(code: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for at in words(code, "crate") {
        let rest = code[at + "crate".len()..].trim_start();
        let Some(rest) = rest.strip_prefix("::") else {
            continue;
        };
        let rest = rest.trim_start();
        match rest.strip_prefix('{') {
            None => names.push((at, identifier(rest))),
            Some(group) => names.extend(group_names(group).into_iter().map(|name| (at, name))),
        }
    }
    names.retain(|(_, name)| !name.is_empty());
    names
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// The first segment of each member of a use group, of which `text` is what follows the brace.
fn group_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0_i32;
    let mut expecting = true;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expecting = true,
            c if c.is_whitespace() => {}
            _ if expecting && depth == 0 => {
                names.push(identifier(&text[at..]));
                expecting = false;
            }
            _ => {}
        }
    }
    names
}

/// Offsets of chains of `super::` and how many there are in each.
pub fn super_chains(code: &str) -> Vec<(usize, usize)> {
    let mut chains = Vec::new();
    let mut seen = 0;
    for at in words(code, "super") {
        if at < seen {
            continue;
        }
        let (mut count, mut end) = (0, at);
        while code[end..].starts_with("super::") {
            count += 1;
            end += "super::".len();
        }
        if count > 0 {
            chains.push((at, count));
        }
        seen = end.max(at + 1);
    }
    chains
}

/// Name, first line and length in lines of every function that has a body.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let name = identifier(code[at + 2..].trim_start());
        // A function pointer type has no name.
        if name.is_empty() {
            continue;
        }
        let end = item_end(bytes, at);
        if bytes.get(end.wrapping_sub(1)) == Some(&b'}') {
            let first = line_of(code, at);
            found.push((name, first, line_of(code, end) + 1 - first));
        }
    }
    found
}

/// Offsets and texts of the comments.
pub fn comments(text: &str) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some(end) = literal_end(bytes, at) else {
            at += 1;
            continue;
        };
        if bytes[at] == b'/' {
            found.extend(text.get(at..end).map(|comment| (at, comment)));
        }
        at = end;
    }
    found
}

/// Name and line of every type that is declared at the top of a file, and whether other files can see it.
pub fn types(code: &str) -> Vec<(String, usize, bool)> {
    let mut found = Vec::new();
    let mut depth = 0_i32;
    let mut start = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(byte, b';' | b'}') {
            start = at + 1;
        }
        let begins = at == 0 || !is_word(code.as_bytes()[at - 1]);
        if depth != 0 || !begins {
            continue;
        }
        for keyword in ["struct ", "enum ", "trait ", "type ", "union "] {
            if let Some(rest) = code[at..].strip_prefix(keyword) {
                let name = identifier(rest.trim_start());
                let is_shown = !words(&code[start..at], "pub").is_empty();
                if !name.is_empty() {
                    found.push((name, line_of(code, at), is_shown));
                }
            }
        }
    }
    found
}

/// What the code's `use` items bring in, as the name in this file and the path as written, and the code without these items.
/// A glob has the name `*`.
pub fn uses(code: &str) -> (Vec<(String, Vec<String>)>, String) {
    let mut rest = code.as_bytes().to_vec();
    let mut found = Vec::new();
    for at in words(code, "use") {
        let Some(end) = code[at..].find(';').map(|end| at + end) else {
            continue;
        };
        // `use` in a bound, `impl Trait + use<'a>`, is no item.
        let tree = &code[at + "use".len()..end];
        if tree.trim_start().starts_with('<') {
            continue;
        }
        use_tree(tree, &[], &mut found);
        blank(&mut rest, at, end);
    }
    (found, String::from_utf8_lossy(&rest).into_owned())
}

fn use_tree(tree: &str, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    let tree = tree.trim();
    if let Some((head, group)) = tree.split_once('{') {
        let head = head
            .split("::")
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        let before: Vec<String> = before.iter().cloned().chain(head).collect();
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut from) = (0_i32, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    use_tree(&group[from..at], &before, found);
                    from = at + 1;
                }
                _ => {}
            }
        }
        return use_tree(&group[from..], &before, found);
    }
    let (path, alias) = tree
        .split_once(" as ")
        .map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let written = path
        .split("::")
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned);
    let mut path: Vec<String> = before.iter().cloned().chain(written).collect();
    if tree.is_empty() || path.is_empty() {
        return;
    }
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
    found.push((name, path));
}

/// The paths of two segments or more in code.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    let bytes = code.as_bytes();
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let mut path = vec![identifier(&code[at..])];
        let mut end = at + path[0].len().max(1);
        while let Some(next) = code[end..].strip_prefix("::") {
            let name = identifier(next);
            if name.is_empty() {
                break;
            }
            end += 2 + name.len();
            path.push(name);
        }
        if path.len() > 1 && !code[..at].ends_with("::") {
            found.push(path);
        }
        at = end;
    }
    found
}
