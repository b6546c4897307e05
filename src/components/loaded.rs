//! What a page is rendered with, and asks for anew when its source changes.

use crate::model::ApiError;
use leptos::prelude::*;

pub type Loaded<T> = Resource<Result<T, ApiError>>;

/// Asks at once, on the server too, where the answer travels with the page. Never within a `Suspend`: the server may go
/// through that several times, and what was begun by a run that is dropped would keep the page from its end.
pub fn load<S, T, Fut>(
    source: impl Fn() -> S + Send + Sync + 'static,
    ask: impl Fn(S) -> Fut + Send + Sync + 'static,
) -> Loaded<T>
where
    S: PartialEq + Clone + Send + Sync + 'static,
    T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = Result<T, ApiError>> + Send + 'static,
{
    Resource::new(source, ask)
}
