//! How pages show the data they load: a placeholder first, then a view of the data, or the error.

use super::banner::{PageError, SectionError};
use crate::model::ApiError;
use leptos::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

/// What a page loads with. Created with the page, never within a `Suspend`: the server may run a `Suspend` several times, and
/// a request of a discarded run would keep the page from ending.
pub type Loading<T> = Resource<Result<T, ApiError>>;

/// A whole page: an error takes its place.
pub fn page_view<T, Fut>(
    loading: Loading<T>,
    placeholder: fn() -> AnyView,
    view: impl Fn(T) -> Fut + Copy + Send + Sync + 'static,
) -> impl IntoView
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = AnyView> + Send + 'static,
{
    resource_view(loading, placeholder, view, |error| view! { <PageError error/> }.into_any())
}

/// A section of a page: an error is shown in its place, with a retry.
pub fn section_view<T, Fut>(
    loading: Loading<T>,
    placeholder: fn() -> AnyView,
    view: impl Fn(T) -> Fut + Copy + Send + Sync + 'static,
) -> impl IntoView
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = AnyView> + Send + 'static,
{
    let failed = move |error| view! { <SectionError error retry=move || loading.refetch()/> }.into_any();
    resource_view(loading, placeholder, view, failed)
}

/// The same with a view of the error.
pub fn resource_view<T, Fut>(
    loading: Loading<T>,
    placeholder: fn() -> AnyView,
    view: impl Fn(T) -> Fut + Copy + Send + Sync + 'static,
    error_view: impl Fn(ApiError) -> AnyView + Copy + Send + Sync + 'static,
) -> impl IntoView
where
    T: Clone + Serialize + DeserializeOwned + Send + Sync + 'static,
    Fut: Future<Output = AnyView> + Send + 'static,
{
    view! {
        <Transition fallback=placeholder>
            {move || Suspend::new(async move {
                match loading.await {
                    Ok(value) => view(value).await,
                    Err(error) => error_view(error),
                }
            })}
        </Transition>
    }
}
