//! What a URL says beyond what sqlx reads.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use bgjob_core::{Error, Result};

use super::options::PostgresOptions;

/// The prefix of bgjob's own options in a URL. All others are options of the connection.
const PREFIX: &str = "bgjob.";

/// Options of bgjob without the prefix, or by the names of other programs. sqlx would ignore them.
const OTHERS: &[(&str, &str)] = &[
    ("schema", "bgjob.schema"),
    ("currentschema", "bgjob.schema"),
    ("search_path", "bgjob.schema"),
    ("connections", "bgjob.connections"),
    ("connection_limit", "bgjob.connections"),
    ("max_connections", "bgjob.connections"),
    ("pool_size", "bgjob.connections"),
    ("migrate", "bgjob.migrate"),
    ("pooler", "bgjob.pooler=transaction"),
    ("pgbouncer", "bgjob.pooler=transaction"),
];

/// Reads a URL; see [`PostgresOptions::from_url`].
pub(super) fn parse(url: &str) -> Result<PostgresOptions> {
    let wrong = || {
        Error::invalid(
            "this is no URL of a PostgreSQL database: it is \
             `postgres://user:password@host/database`",
        )
    };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong());
    }
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut ours, mut theirs, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let name = decoded(name).ok_or_else(wrong)?;
        let low = name.to_ascii_lowercase();
        if low.starts_with("bgjob") {
            ours.push((name, decoded(value).ok_or_else(wrong)?));
        } else if let Some((_, meant)) = OTHERS.iter().find(|(other, _)| *other == low) {
            return Err(Error::invalid(format!(
                "a `postgres:` URL has no option `{low}`: bgjob's own begin with `{PREFIX}`, as in \
                 `?{meant}`"
            )));
        } else {
            if low.starts_with("ssl") {
                files.push((low, decoded(value).ok_or_else(wrong)?));
            }
            theirs.push(option);
        }
    }
    let url = if theirs.is_empty() {
        address.to_owned()
    } else {
        format!("{address}?{}", theirs.join("&"))
    };
    // The cause may quote the URL, and with it the password.
    let connect = PgConnectOptions::from_str(&url).map_err(|_| wrong())?;
    let connect = files.iter().fold(connect, in_place);
    ours.iter()
        .try_fold(PostgresOptions::new(connect), |this, (name, value)| {
            set(this, name, value)
        })
}

/// Makes the path of a file absolute: files are read at each connect, also after the program has
/// changed its folder.
fn in_place(connect: PgConnectOptions, (name, file): &(String, String)) -> PgConnectOptions {
    let Ok(path) = std::path::absolute(file) else {
        return connect;
    };
    match name.as_str() {
        // The option may hold the content of the file instead of a path.
        _ if file.contains("-----BEGIN") => connect,
        "sslrootcert" | "ssl-root-cert" | "ssl-ca" => connect.ssl_root_cert(path),
        "sslcert" | "ssl-cert" => connect.ssl_client_cert(path),
        "sslkey" | "ssl-key" => connect.ssl_client_key(path),
        _ => connect,
    }
}

fn set(options: PostgresOptions, name: &str, value: &str) -> Result<PostgresOptions> {
    match (name.strip_prefix(PREFIX).unwrap_or(name), value) {
        ("schema", name) => Ok(options.schema(name)),
        ("connections", count) => count
            .parse()
            .map(|count| options.connections(count))
            .map_err(|_| Error::invalid("`bgjob.connections` is a number from 1 to 1000")),
        ("migrate", "on") => Ok(options.migrate(true)),
        ("migrate", "off") => Ok(options.migrate(false)),
        ("migrate", _) => Err(Error::invalid("`bgjob.migrate` is `on` or `off`")),
        ("pooler", "off") => Ok(options),
        ("pooler", "transaction") => Ok(options.behind_pooler()),
        ("pooler", _) => Err(Error::invalid("`bgjob.pooler` is `off` or `transaction`")),
        (unknown, _) => Err(Error::invalid(
            "a `postgres:` URL has the options `bgjob.schema`, `bgjob.connections`, \
             `bgjob.migrate` and `bgjob.pooler`, and those of the connection",
        )
        .with("option", unknown.escape_debug())),
    }
}

/// A part of a URL with its percent-encoding (`%41`) decoded. `None` if that fails.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            let code = after.get(..2).filter(|code| code.is_ascii())?;
            let code = std::str::from_utf8(code).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_however_they_are_spelled() {
        let options = parse("postgres://h/d?bgjob%2Eschema=a%5fb&bgjob.connections=3");
        let options = options.expect("it is right");
        assert_eq!((&*options.schema, options.connections), ("a_b", 3));
    }

    #[test]
    fn files_stay_where_they_are() {
        let options = parse("postgres://h/d?sslrootcert=a%2Fca.pem&sslcert=c.pem&ssl-key=k.pem");
        let connect = format!("{:?}", options.expect("it is right").connect);
        let here = std::env::current_dir().expect("it is there");
        for file in ["a/ca.pem", "c.pem", "k.pem"] {
            let path = format!("{:?}", here.join(file));
            assert!(connect.contains(&path), "{path} in {connect}");
        }
        let options = parse("postgres://h/d?sslrootcert=-----BEGIN%20CERTIFICATE-----");
        let connect = format!("{:?}", options.expect("it is right").connect);
        assert!(!connect.contains(&*here.to_string_lossy()), "{connect}");
    }

    #[test]
    fn what_others_call_them_is_refused_with_the_right_name() {
        for (option, meant) in OTHERS {
            let error = parse(&format!("postgres://me:hidden@h/d?{option}=x"));
            let error = error.expect_err("it would be ignored").to_string();
            assert!(error.contains(meant), "{error}");
            assert!(!error.contains("hidden"), "{error}");
        }
        for wrong in [
            "BGJOB.schema=a",
            "bgjob=1",
            "bgjob%2Enothing=1",
            "bgjobs.schema=a",
        ] {
            let error = parse(&format!("postgres://h/d?{wrong}"));
            let error = error.expect_err("it would be ignored").to_string();
            assert!(error.contains("bgjob.schema"), "{error}");
        }
    }
}
