//! The differences between two JSON values, one a line: `metadata.email is "a", not "b"`.

use serde_json::Value;

/// How `is` differs from `wanted`, field by field.
pub(super) fn differences(path: &str, is: &Value, wanted: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(path, Some(is), Some(wanted), &mut found);
    found
}

fn compare(path: &str, is: Option<&Value>, wanted: Option<&Value>, found: &mut Vec<String>) {
    match (is, wanted) {
        (Some(is), Some(wanted)) if is == wanted => {}
        (Some(Value::Object(is)), Some(Value::Object(wanted))) => {
            for (key, wanted) in wanted {
                compare(&format!("{path}.{key}"), is.get(key), Some(wanted), found);
            }
            for (key, is) in is.iter().filter(|(key, _)| !wanted.contains_key(*key)) {
                compare(&format!("{path}.{key}"), Some(is), None, found);
            }
        }
        (Some(Value::Array(is)), Some(Value::Array(wanted))) => {
            for place in 0..is.len().max(wanted.len()) {
                let path = format!("{path}[{place}]");
                compare(&path, is.get(place), wanted.get(place), found);
            }
        }
        (Some(is), Some(wanted)) => found.push(format!("{path} is {is}, not {wanted}")),
        (Some(is), None) => found.push(format!("{path} is {is}, and should not be there")),
        (None, Some(wanted)) => found.push(format!("{path} is missing, not {wanted}")),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "reads better")]
    fn check(is: Value, wanted: Value, expected: &[&str]) {
        assert_eq!(differences("it", &is, &wanted), expected);
    }

    #[test]
    fn each_difference_is_told_by_its_path() {
        check(json!({"a": 1, "b": [1]}), json!({"b": [1], "a": 1}), &[]);
        check(json!(1), json!("1"), &["it is 1, not \"1\""]);
        check(
            json!({"a": {"b": 1, "c": 2}, "d": [1, 2]}),
            json!({"a": {"b": 2, "e": null}, "d": [1, 3, 4]}),
            &[
                "it.a.b is 1, not 2",
                "it.a.e is missing, not null",
                "it.a.c is 2, and should not be there",
                "it.d[1] is 2, not 3",
                "it.d[2] is missing, not 4",
            ],
        );
        check(
            json!({"a": [1]}),
            json!({"a": {}}),
            &["it.a is [1], not {}"],
        );
    }
}
