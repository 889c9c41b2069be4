//! The checkout as the rules see it: files, and Rust code as tokens. Comments, doc comments and
//! literals are no code: a rule about `sleep` does not fire on a sentence about it.

use std::{collections::BTreeMap, fs, path::Path};

use super::rules::LAYERED;
use proc_macro2::{Delimiter, LineColumn, Spacing, TokenStream, TokenTree};

/// A text file of the checkout.
#[derive(Debug)]
pub(crate) struct File {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_sql(&self) -> bool {
        self.path.ends_with(".sql")
    }

    pub(crate) fn is_shell(&self) -> bool {
        let first = self.text.lines().next().unwrap_or_default();
        self.path.ends_with(".sh") || (first.starts_with("#!/") && first.ends_with("sh"))
    }

    /// The module of the layered crates it is part of: `job` for `bgjob-core/src/job/end.rs`.
    pub(crate) fn module(&self) -> Option<&str> {
        let mut crates = LAYERED.iter().filter(|_| self.is_rust());
        let inside = crates.find_map(|src| self.path.strip_prefix(src))?;
        let end = inside.find(['/', '.'])?;
        Some(&inside[..end])
    }

    /// Its code; panics on a file that is no Rust.
    pub(crate) fn code(&self) -> Code {
        Code::parse(&self.text).unwrap_or_else(|e| panic!("{} can't be read: {e}", self.path))
    }
}

/// One token, a delimiter being a token of its own.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// The tokens of a file, in order.
#[derive(Debug, Default)]
pub(crate) struct Code(pub(crate) Vec<Token>);

/// A function and how many lines it takes, from its first word to the end of its body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

impl Code {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let stream: TokenStream = text.parse().map_err(|e| format!("{e}"))?;
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Ok(Self(tokens))
    }

    /// Its parts that are built for users, and those that are built for tests only.
    pub(crate) fn split_tests(self) -> (Self, Self) {
        let (mut code, mut tests) = (Self::default(), Self::default());
        let mut rest = &self.0[..];
        while !rest.is_empty() {
            let is_test = ["# [ cfg ( test )", "# [ cfg ( all ( test"]
                .iter()
                .any(|pattern| matches(rest, pattern));
            let (part, n) = if is_test {
                (&mut tests, item(rest))
            } else {
                (&mut code, 1)
            };
            part.0.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
        }
        (code, tests)
    }

    /// The lines on which this row of tokens begins, written with spaces: `std :: fs`.
    pub(crate) fn find(&self, pattern: &str) -> Vec<usize> {
        (0..self.0.len())
            .filter(|&at| matches(&self.0[at..], pattern))
            .map(|at| self.0[at].line)
            .collect()
    }

    /// Every function with a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for (at, pair) in self.0.windows(2).enumerate() {
            let named = pair[1]
                .text
                .starts_with(|c: char| c.is_alphabetic() || c == '_');
            if pair[0].text != "fn" || !named {
                continue;
            }
            let end = item(&self.0[at..]);
            let last = &self.0[at + end - 1];
            if last.text == "}" {
                found.push(Function {
                    name: pair[1].text.clone(),
                    line: pair[0].line,
                    lines: last.line - pair[0].line + 1,
                });
            }
        }
        found
    }

    /// What is named straight under `crate::`, with the line: `use crate::{a::B, c}` is `a`, `c`.
    /// `super` is the same in a file at the top of the crate.
    pub(crate) fn names_of_crate(&self, is_top: bool) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for at in 0..self.0.len() {
            let rest = &self.0[at..];
            let from_crate = matches(rest, "crate ::") && (at == 0 || self.0[at - 1].text != "$");
            if from_crate || (is_top && matches(rest, "super ::")) {
                found.extend(heads(&rest[2..]));
            }
        }
        found
    }

    /// `pub use module::{Name, ..}` of `lib.rs`: from each name to its module.
    pub(crate) fn reexports(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for at in 0..self.0.len() {
            let rest = &self.0[at..];
            if matches(rest, "use") && rest.get(2).is_some_and(|t| t.text == "::") {
                let names = rest[3..].iter().take_while(|t| t.text != ";");
                found.extend(names.map(|t| (t.text.clone(), rest[1].text.clone())));
            }
        }
        found
    }
}

/// Every text file below the root that is not built or fetched.
pub(crate) fn files() -> Vec<File> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<File>) {
    for entry in fs::read_dir(folder)
        .expect("the folder was just listed")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !matches!(&*name, "target" | ".git") => {
                walk(&entry.path(), &format!("{path}/"), found);
            }
            // What is no UTF-8 is no text. `.git` is a file in a worktree.
            Ok(kind) if kind.is_file() && !matches!(&*name, "Cargo.lock" | ".git") => {
                found.extend(fs::read_to_string(entry.path()).map(|text| File { path, text }));
            }
            _ => {}
        }
    }
}

fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
    let token = |text: &str, at: LineColumn| Token {
        text: text.to_owned(),
        line: at.line,
    };
    let mut is_path = false;
    for tree in stream {
        let start = tree.span().start();
        match tree {
            TokenTree::Punct(p) if p.as_char() == ':' => {
                let joint = p.spacing() == Spacing::Joint;
                match (is_path, joint) {
                    (true, _) => tokens.push(token("::", start)),
                    (false, true) => {}
                    (false, false) => tokens.push(token(":", start)),
                }
                is_path = !is_path && joint;
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                tokens.push(token(open, group.span_open().start()));
                flatten(group.stream(), tokens);
                tokens.push(token(close, group.span_close().start()));
            }
            other => tokens.push(token(&other.to_string(), start)),
        }
    }
}

fn matches(tokens: &[Token], pattern: &str) -> bool {
    let mut pattern = pattern.split(' ');
    let mut tokens = tokens.iter();
    pattern.all(|word| tokens.next().is_some_and(|t| t.text == word))
}

/// How many tokens the item takes that begins here: to its body's end, or to its semicolon.
fn item(tokens: &[Token]) -> usize {
    let mut depth = 0usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" => depth -= 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            ";" if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

/// The first segment of each path of a `use` tree.
fn heads(tokens: &[Token]) -> Vec<(String, usize)> {
    let Some(first) = tokens.first() else {
        return Vec::new();
    };
    if first.text != "{" {
        return vec![(first.text.clone(), first.line)];
    }
    let (mut depth, mut fresh, mut found) = (0usize, false, Vec::new());
    for token in tokens {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                fresh = depth == 1;
            }
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => fresh = depth == 1,
            name if fresh => {
                found.push((name.to_owned(), token.line));
                fresh = false;
            }
            _ => {}
        }
    }
    found
}
