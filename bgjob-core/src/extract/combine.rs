//! Extractors made of other extractors: `Option<E>` and tuples.

use std::convert::Infallible;

use super::{FromContext, JobContext, Needs};
use crate::BoxError;

/// `None` if the extractor fails. A dispatcher starts even without the services it needs.
impl<E: FromContext> FromContext for Option<E> {
    type Error = Infallible;

    async fn from_context(ctx: &JobContext) -> Result<Self, Infallible> {
        Ok(E::from_context(ctx).await.ok())
    }
}

/// Extracts each element in turn and returns the first error.
macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: FromContext),*> FromContext for ($($name,)*) {
            type Error = BoxError;

            async fn from_context(ctx: &JobContext) -> Result<Self, BoxError> {
                Ok(($($name::from_context(ctx).await.map_err(Into::into)?,)*))
            }

            fn needs(needs: &mut Needs) {
                $($name::needs(needs);)*
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
