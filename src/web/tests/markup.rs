//! A small reader of the HTML that we write: tags, attributes, and the rules that every page keeps.
//!
//! It knows our own dialect only (quoted attributes, everything else escaped) and complains about whatever is not that:
//! hostile text that got through shows as a tag, an attribute or a complaint.

/// An opening tag.
#[derive(Debug)]
pub(crate) struct Tag {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

const VOID: &[&str] = &["meta", "link", "input", "img"];

/// All opening tags, once everything closes as it should.
pub(crate) fn tags(html: &str) -> Result<Vec<Tag>, String> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    let mut found = Vec::new();
    let mut open: Vec<String> = Vec::new();
    while let Some((text, tail)) = rest.split_once('<') {
        if text.contains('>') {
            return Err(format!("a bare `>` in {text:?}"));
        }
        let (inside, after) = upto_end(tail)?;
        rest = after;
        if let Some(name) = inside.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let tag = read(inside)?;
        if !VOID.contains(&tag.name.as_str()) {
            open.push(tag.name.clone());
        }
        found.push(tag);
    }
    if !open.is_empty() || rest.contains('>') {
        return Err(format!("left open: {open:?}"));
    }
    Ok(found)
}

/// Up to the `>` outside of quotes.
fn upto_end(text: &str) -> Result<(&str, &str), String> {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return Ok((text.get(..at).unwrap(), text.get(at + 1..).unwrap())),
            '<' => {
                return Err(format!(
                    "a bare `<` in a tag: {:?}",
                    text.chars().take(80).collect::<String>()
                ));
            }
            _ => {}
        }
    }
    Err("a tag without an end".to_owned())
}

fn read(inside: &str) -> Result<Tag, String> {
    let (name, mut rest) = inside.split_once(' ').unwrap_or((inside, ""));
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    {
        return Err(format!("a tag of the name {name:?}"));
    }
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let end = rest.find(['=', ' ']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
            return Err(format!("an attribute of the name {name:?} in {inside:?}"));
        }
        let (value, tail) = match tail.strip_prefix("=\"") {
            Some(quoted) => quoted.split_once('"').ok_or("a value without an end")?,
            None => ("", tail),
        };
        attributes.push((name.to_owned(), value.to_owned()));
        rest = match tail.strip_prefix(' ') {
            Some(next) => next,
            None if tail.is_empty() => tail,
            None => return Err(format!("{tail:?} after an attribute")),
        };
    }
    Ok(Tag {
        name: name.to_owned(),
        attributes,
    })
}

/// What every page keeps to, whatever it shows; the first breach in words.
pub(crate) fn check(html: &str) -> Result<Vec<Tag>, String> {
    let tags = tags(html)?;
    let number = |name: &str| tags.iter().filter(|tag| tag.name == name).count();
    for (name, wanted) in [
        ("h1", 1),
        ("main", 1),
        ("html", 1),
        ("title", 1),
        ("style", 0),
        ("base", 0),
        ("iframe", 0),
        ("object", 0),
    ] {
        if number(name) != wanted {
            return Err(format!("{} <{name}>, not {wanted}", number(name)));
        }
    }
    let mut ids: Vec<&str> = tags.iter().filter_map(|tag| tag.get("id")).collect();
    ids.sort_unstable();
    if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two of the id {:?}", pair[0]));
    }
    for tag in &tags {
        rule(tag, &ids)?;
    }
    Ok(tags)
}

fn rule(tag: &Tag, ids: &[&str]) -> Result<(), String> {
    for (name, value) in &tag.attributes {
        let fault = match name.as_str() {
            "style" | "srcdoc" | "formaction" => true,
            "hx-on" | "hx-vals" | "hx-vars" | "hx-headers" | "hx-ext" => true,
            event if event.starts_with("on") || event.starts_with("hx-on") => true,
            "src" => !value.starts_with("/.lightkeeper/assets/"),
            "action" | "hx-get" => !value.starts_with("/.lightkeeper/"),
            "href" => {
                let web = ["https://", "http://"]
                    .iter()
                    .any(|scheme| value.starts_with(scheme));
                let ours = value.starts_with('/') && !value.starts_with("//");
                (web && tag.get("rel") != Some("noopener noreferrer"))
                    || !(web || ours || value == "#main")
            }
            "for" | "aria-labelledby" | "data-copy" => !ids.contains(&value.as_str()),
            "aria-describedby" => !value.split(' ').all(|id| ids.contains(&id)),
            _ => false,
        };
        if fault {
            return Err(format!("{name}={value:?} in <{}>", tag.name));
        }
    }
    let bare = tag.name == "script" && tag.get("src").is_none();
    if bare {
        Err("a script of the page's own".to_owned())
    } else {
        Ok(())
    }
}

#[test]
fn the_reader_bites() {
    let page = |inner: &str| {
        format!(
            "<!DOCTYPE html><html lang=\"en\"><title>t</title><main id=\"main\"><h1>h</h1>{inner}</main></html>"
        )
    };
    for (inner, fault) in [
        ("<p>a &lt;b&gt;</p>", ""),
        ("<a href=\"/apps\">a</a><input hidden name=\"a\">", ""),
        ("<script>alert(1)</script>", "own"),
        (
            "<script src=\"https://evil.example/a.js\"></script>",
            "src=",
        ),
        ("<a href=\"javascript:alert(1)\">a</a>", "href="),
        ("<a href=\"//evil.example\">a</a>", "href="),
        ("<a href=\"https://a.example\">a</a>", "href="),
        ("<p onclick=\"a\">a</p>", "onclick="),
        ("<p style=\"a\">a</p>", "style="),
        ("<p hx-on=\"a\">a</p>", "hx-on="),
        ("<p title=\"a\"b\">a</p>", "bare `<`"),
        ("<p title=\"a\"b>a</p>", "after an attribute"),
        ("<p>a</div>", "closes nothing"),
        ("<p>a > b</p>", "bare `>`"),
        ("<p id=\"main\"></p>", "two of the id"),
        ("<h1>again</h1>", "2 <h1>"),
        ("<img src=x>", "after an attribute"),
        ("<SCRIPT></SCRIPT>", "of the name"),
    ] {
        match check(&page(inner)) {
            Ok(_) => assert_eq!(fault, "", "{inner}"),
            Err(words) => assert!(
                !fault.is_empty() && words.contains(fault),
                "{inner}: {words}"
            ),
        }
    }
}
