//! Source files, read without what comments and literals say.

use std::fs;
use std::path::Path;

/// A text file of the project.
pub struct Source {
    /// From the project's folder on, with `/`.
    pub path: String,
    pub text: String,
    /// The text with comments and literals blanked; every byte stands where it stood.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Source { path: path.to_owned(), text: text.to_owned(), code: blanked(text) }
    }

    /// A message about the byte `at`.
    pub fn place(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, 1 + self.text[..at].matches('\n').count())
    }
}

/// Every text file of the project, but for what is built.
pub fn read_all() -> Vec<Source> {
    let mut sources = Vec::new();
    read_folder(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut sources);
    sources
}

fn read_folder(folder: &Path, prefix: &str, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().unwrap();
        if [".git", "target"].contains(&name.as_str()) || kind.is_symlink() {
            continue;
        } else if kind.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), sources);
        } else if let Ok(text) = String::from_utf8(fs::read(entry.path()).unwrap()) {
            sources.push(Source::new(&path, &text));
        }
    }
}

/// Where `pattern` stands in `code` as whole words.
pub fn matches(code: &str, pattern: &str) -> impl Iterator<Item = usize> {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (first, last) = (word(pattern.chars().next()), word(pattern.chars().last()));
    let whole = move |&at: &usize| {
        let (before, after) = (code[..at].chars().last(), code[at + pattern.len()..].chars().next());
        !(first && word(before) || last && word(after))
    };
    code.match_indices(pattern).map(|(at, _)| at).filter(whole)
}

/// What stands before the `{` that the byte `at` is inside of.
pub fn enclosing(code: &str, at: usize) -> Option<&str> {
    let mut closed = 0;
    for (i, c) in code[..at].char_indices().rev() {
        match c {
            '}' => closed += 1,
            '{' if closed > 0 => closed -= 1,
            '{' => return code[..i].rsplit(['{', '}', ';']).next(),
            _ => {}
        }
    }
    None
}

fn blanked(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    while let Some(c) = text[code.len()..].chars().next() {
        let rest = &text[code.len()..];
        match opaque(rest) {
            0 => code.push(c),
            len => code.extend(rest[..len].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' })),
        }
    }
    code
}

/// Length of the comment or literal that `rest` begins with, 0 if it begins with neither.
fn opaque(rest: &str) -> usize {
    let until = |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    let hashes = rest.bytes().skip(1).take_while(|&byte| byte == b'#').count();
    let mut chars = rest.chars();
    match (chars.next(), chars.next(), chars.next()) {
        (Some('/'), Some('/'), _) => rest.find('\n').unwrap_or(rest.len()),
        (Some('/'), Some('*'), _) => until(2, "*/"),
        (Some('r'), ..) if rest[1 + hashes..].starts_with('"') => {
            until(2 + hashes, &format!("\"{}", "#".repeat(hashes)))
        }
        (Some('"'), ..) => quoted(rest, '"'),
        (Some('\''), Some('\\'), _) => quoted(rest, '\''),
        (Some('\''), Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Length of the literal that `rest` begins with, up to the next `quote` that no backslash precedes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_blanked() {
    let cases = [
        ("a // b\nc", "a     \nc"),
        ("a /* b\n */ c", "a     \n    c"),
        (r#"a("b\"c", d)"#, "a(      , d)"),
        (r##"r#"a" b"# c"##, "          c"),
        (r"'a' '\'' 'a: b", "         'a: b"),
        ("'é'", "    "),
    ];
    for (text, code) in cases {
        assert_eq!(blanked(text), code, "{text}");
    }
}
