//! Functions in SQL and in shell scripts.

use super::source::Function;

/// The functions that a file of SQL creates, from `CREATE` to the semicolon behind the body.
pub(crate) fn sql_functions(text: &str) -> Vec<Function> {
    // The place of the schema's name looks like the beginning of a quoted text.
    let text = text.replace("$schema$.", "");
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < text.len() {
        let rest = &text[at..];
        let first = rest.len() - rest.trim_start().len();
        let is_comment = rest.trim_start().starts_with("--");
        let end = if is_comment {
            first
                + rest[first..]
                    .find('\n')
                    .map_or(rest.len() - first, |end| end + 1)
        } else {
            first + statement(&rest[first..])
        };
        let code = &rest[first..end];
        let begins = line + newlines(&rest[..first]);
        let name = ["CREATE FUNCTION ", "CREATE OR REPLACE FUNCTION "]
            .iter()
            .find_map(|head| code.strip_prefix(head))
            .and_then(|code| code.split('(').next());
        found.extend(name.map(|name| Function {
            name: name.to_owned(),
            line: begins,
            lines: newlines(code) + 1,
        }));
        at += end;
        line += newlines(&rest[..end]);
    }
    found
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

/// How many bytes the statement takes that begins here, its semicolon included.
fn statement(text: &str) -> usize {
    let mut at = 0;
    while let Some(next) = text[at..].find([';', '\'', '$', '-']) {
        at += next;
        let rest = &text[at..];
        if rest.starts_with(';') {
            return at + 1;
        }
        let Some((open, close)) = quote(rest) else {
            at += 1;
            continue;
        };
        at += open.len();
        let end = text[at..].find(close).map(|end| end + close.len());
        at = end.map_or(text.len(), |end| at + end);
    }
    text.len()
}

/// How the comment or quoted text that begins here begins and ends.
fn quote(text: &str) -> Option<(&str, &str)> {
    if text.starts_with("--") {
        return Some(("--", "\n"));
    }
    if text.starts_with('\'') {
        return Some(("'", "'"));
    }
    let tag = text.strip_prefix('$')?.split('$').next()?;
    let is_tag = tag.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    let quote = is_tag.then(|| text.get(..tag.len() + 2))??;
    quote.ends_with('$').then_some((quote, quote))
}

/// The functions of a shell script, from their names to their closing braces. They stand at the
/// beginning of a line.
pub(crate) fn shell_functions(text: &str) -> Vec<Function> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some((name, body)) = line.split_once("()") else {
            continue;
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(is_name) || !body.trim_start().starts_with('{') {
            continue;
        }
        // One on a single line may have a comment behind it.
        let is_open = body.trim() == "{" || body.trim_start_matches([' ', '{']).starts_with('#');
        let rest = lines[at..].iter().position(|line| line.starts_with('}'));
        found.push(Function {
            name: name.to_owned(),
            line: at + 1,
            lines: match is_open {
                true => rest.map_or(lines.len() - at, |end| end + 1),
                false => 1,
            },
        });
    }
    found
}

#[test]
fn functions_of_scripts_are_seen() {
    let name = |name: &str, line, lines| Function {
        name: name.to_owned(),
        line,
        lines,
    };
    let text = "-- It's here; see?
CREATE TABLE $schema$.t(a int);

CREATE FUNCTION $schema$.a(b int) RETURNS int LANGUAGE sql AS
    'SELECT 1;
     SELECT $1';
CREATE OR REPLACE FUNCTION $schema$.c() RETURNS void AS $$
BEGIN -- It's
    EXECUTE $x$ DROP TABLE ';' $x$;
END $$;
CREATE FUNCTION d() AS $do$
; -- $
 $$ ; $$
$do$;";
    let expected = [name("a", 4, 3), name("c", 7, 4), name("d", 11, 4)];
    assert_eq!(sql_functions(text), expected);

    let text = "#!/bin/sh
a() { b; }

c() { # as said
  if d; then
    e
  fi
}
f()g
";
    assert_eq!(shell_functions(text), [name("a", 2, 1), name("c", 4, 5)]);
}
