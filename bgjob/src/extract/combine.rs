//! Extractors made of others: `Option<E>` and tuples.

use std::convert::Infallible;

use super::{FromContext, JobContext, Needs};
use crate::BoxError;

/// `None` where the extractor fails; a dispatcher need not have what it needs.
impl<E: FromContext> FromContext for Option<E> {
    type Error = Infallible;

    async fn from_context(ctx: &JobContext) -> Result<Self, Infallible> {
        Ok(E::from_context(ctx).await.ok())
    }
}

/// Each in turn; the first that fails is the error.
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
