//! "Did you mean": finds the known word nearest to an unknown one.

/// The candidate that is a few typing mistakes away from `word`, if any is.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // Up to a third of the letters may be wrong; with more the advice would be a guess.
    let limit = word.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, delete or replace to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Option<&str>) {
        let found = nearest(word, ["send_mail", "send_welcome", "é", "purge"]);
        assert_eq!(found, expected, "{word}");
    }

    #[test]
    fn what_is_near_is_found_and_what_is_far_is_not() {
        check("send_mial", Some("send_mail"));
        check("send_welcom", Some("send_welcome"));
        check("purge", Some("purge"));
        check("sendmail", Some("send_mail"));
        check("e", Some("é"));
        check("resize", None);
        check("", None);
    }
}
