//! [`Needs`]: the services that handlers need from their dispatcher.

use std::{
    any::{Any, TypeId, type_name},
    sync::Arc,
};

use super::Services;

/// The services that handlers need from their dispatcher, gathered from
/// [`FromContext::needs`](super::FromContext::needs) and checked at the start.
#[derive(Debug, Default)]
pub struct Needs(Vec<Need>);

#[derive(Debug)]
struct Need {
    service: TypeId,
    /// The service in an `Arc`, as `.state(Arc::new(…))` gives it.
    in_arc: TypeId,
    name: &'static str,
}

impl Needs {
    /// Adds a service of this type, as `.state(…)` gives it to the dispatcher.
    pub fn service<T: Any + Send + Sync>(&mut self) {
        let service = TypeId::of::<T>();
        if !self.0.iter().any(|need| need.service == service) {
            self.0.push(Need {
                service,
                in_arc: TypeId::of::<Arc<T>>(),
                name: type_name::<T>(),
            });
        }
    }

    /// Advice for each missing service: "`State<Mailer>`: add `.state(mailer)`".
    #[doc(hidden)]
    pub fn missing(&self, services: &Services) -> Vec<String> {
        self.0
            .iter()
            .filter(|need| !services.contains_key(&need.service))
            .map(|need| {
                if services.contains_key(&need.in_arc) {
                    shared_advice(need.name)
                } else {
                    advice(need.name)
                }
            })
            .collect()
    }
}

/// The advice if `.state(…)` was given the service in an `Arc`.
fn shared_advice(type_name: &str) -> String {
    let short = without_paths(type_name);
    let value = snake_case(short.split('<').next().unwrap_or_default());
    format!(
        "`State<{short}>`, but was given an `Arc<{short}>`: write `.shared_state({value})` instead \
         of `.state({value})`"
    )
}

/// The name of a missing service and how to give it.
pub(super) fn advice(type_name: &str) -> String {
    let short = without_paths(type_name);
    let value = snake_case(short.split('<').next().unwrap_or_default());
    format!("`State<{short}>`: add `.state({value})`")
}

/// `app::db::Pool<app::Pg>` → `Pool<Pg>`
fn without_paths(type_name: &str) -> String {
    let mut short = String::new();
    for (place, part) in type_name.split("::").enumerate() {
        // The text before `::` is part of a path: remove it, back to where the path begins.
        if place > 0 {
            let end = short.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
            short.truncate(end.len());
        }
        short.push_str(part);
    }
    short
}

/// `HttpClient` → `http_client`; anything that is not a plain name → `…`
fn snake_case(name: &str) -> String {
    if name.is_empty() || !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return "…".to_owned();
    }
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(type_name: &str, expected: &str) {
        assert_eq!(advice(type_name), expected);
    }

    #[test]
    fn advice_is_short() {
        check("Mailer", "`State<Mailer>`: add `.state(mailer)`");
        check(
            "app::web::HttpClient",
            "`State<HttpClient>`: add `.state(http_client)`",
        );
        check(
            "sqlx::Pool<sqlx::pg::Postgres>",
            "`State<Pool<Postgres>>`: add `.state(pool)`",
        );
        check(
            "(alloc::string::String, [u8; 4])",
            "`State<(String, [u8; 4])>`: add `.state(…)`",
        );
        check(
            "alloc::sync::Arc<dyn app::Clock>",
            "`State<Arc<dyn Clock>>`: add `.state(arc)`",
        );
    }

    #[test]
    fn who_gave_an_arc_is_told_how_to_share() {
        struct Mailer;
        let mut needs = Needs::default();
        needs.service::<Mailer>();
        let mailer = Arc::new(Arc::new(Mailer));
        let services = Services::from([(TypeId::of::<Arc<Mailer>>(), mailer as _)]);
        let says = "`State<Mailer>`, but was given an `Arc<Mailer>`: write `.shared_state(mailer)` \
                    instead of `.state(mailer)`";
        assert_eq!(needs.missing(&services), [says]);
    }

    #[test]
    fn a_service_is_named_once() {
        let mut needs = Needs::default();
        needs.service::<u8>();
        needs.service::<u8>();
        needs.service::<u16>();
        let services = Services::default();
        assert_eq!(needs.missing(&services).len(), 2);
    }
}
