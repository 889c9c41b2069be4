//! [`Job`] → tokens. Cannot fail.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Path, Type, ext::IdentExt, spanned::Spanned};

use crate::{
    literal::{Backoff, Shape},
    model::Job,
    options::Wait,
};

/// The handle, and all that registers the job:
///
/// ```text
/// pub async fn send_mail(mail: Mail) -> Result<(), MailError> { … }
/// →
/// pub struct send_mail { _private: () }
/// const _: () = {
///     impl send_mail { NAME, enqueue, enqueue_all, and perform in tests }
///     fn __run(ctx) -> HandlerFuture { decode, extract, send_mail(…).await, encode }
///     static __JOB: JobDescriptor = …;
///     impl JobItem for send_mail { … }
///     register!(&__JOB);
/// };
/// ```
pub(crate) fn whole(job: &Job) -> TokenStream {
    let Job {
        krate,
        ident,
        cfgs,
        name,
        ..
    } = job;
    let handle = handle(job);
    let methods = methods(job, &quote!(&__JOB));
    let descriptor = descriptor(job);
    let (body, register) = match job.options.signature {
        Some(_) => (bounds(job), quote!(register_signature)),
        None => {
            let (run, needs) = (run(job), needs(job));
            (quote!(#run #needs), quote!(register))
        }
    };
    quote! {
        #handle

        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            #methods
            #body
            #descriptor

            #[automatically_derived]
            impl #krate::JobItem for #ident {
                const NAME: &'static ::core::primitive::str = #name;

                fn descriptor() -> &'static #krate::registry::JobDescriptor {
                    &__JOB
                }
            }

            #krate::__private::#register!(&__JOB);
        };
    }
}

/// The requirements that a body would make on the types of a signature.
fn bounds(job: &Job) -> TokenStream {
    let Job {
        krate,
        metadata,
        returns,
        ..
    } = job;
    let metadata = quote_spanned! {metadata.span()=>
        const _: () = #krate::__private::is_metadata::<#metadata>();
    };
    let returns = quote_spanned! {returns.span()=>
        const _: () = #krate::__private::is_result::<#returns>();
    };
    quote!(#metadata #returns)
}

/// Only the handle, for a job whose attribute is wrong: code that uses the handle gets no errors of
/// its own.
pub(crate) fn stub(job: &Job) -> TokenStream {
    let Job { cfgs, .. } = job;
    let handle = handle(job);
    let methods = methods(job, &quote!(loop {}));
    quote! {
        #handle

        #(#cfgs)*
        #[allow(deprecated, unreachable_code)]
        const _: () = { #methods };
    }
}

/// `pub struct send_mail { _private: () }`: with braces the handle is only in the type namespace,
/// so the function keeps its own name there.
fn handle(job: &Job) -> TokenStream {
    let Job {
        vis,
        ident,
        cfgs,
        handle_attrs,
        summary,
        name,
        ..
    } = job;
    let plain = ident.unraw();
    let about = if job.options.signature.is_some() {
        format!(" The job `{name}`, which another program runs.")
    } else if *ident == plain {
        format!(" The job `{name}`, as [`{plain}()`] handles it.")
    } else {
        format!(" The job `{name}`.")
    };
    let about = if summary.is_empty() {
        quote!(#[doc = #about])
    } else {
        quote!(#(#[doc = #summary])* #[doc = ""] #[doc = #about])
    };
    quote! {
        #about
        #(#cfgs)*
        #(#handle_attrs)*
        #[allow(non_camel_case_types, dead_code, missing_debug_implementations)]
        #vis struct #ident {
            _private: (),
        }
    }
}

/// The methods that users call. Their names carry the function's span: "go to definition" leads
/// there.
fn methods(job: &Job, descriptor: &TokenStream) -> TokenStream {
    let Job {
        krate,
        ident,
        name,
        metadata,
        returns,
        ..
    } = job;
    let enqueue = format_ident!("enqueue", span = ident.span());
    let enqueue_all = format_ident!("enqueue_all", span = ident.span());
    // Without a body there is nothing to perform.
    let perform = job.options.signature.is_none().then(|| {
        let perform = format_ident!("perform", span = ident.span());
        quote!(#krate::__private::perform!(#perform, #metadata, #returns, #descriptor);)
    });
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #ident {
            /// The name that stored jobs carry.
            pub const NAME: &'static ::core::primitive::str = #name;

            /// Enqueues one job, once the answer is awaited.
            pub fn #enqueue(
                manager: &#krate::JobManager,
                metadata: #metadata,
            ) -> #krate::Enqueue<#metadata, #returns> {
                #krate::Enqueue::new(manager, #descriptor, metadata)
            }

            /// Enqueues many jobs in one batch, once the answer is awaited.
            pub fn #enqueue_all(
                manager: &#krate::JobManager,
                metadata: impl ::core::iter::IntoIterator<Item = #metadata>,
            ) -> #krate::EnqueueAll<#metadata, #returns> {
                #krate::EnqueueAll::new(manager, #descriptor, metadata)
            }

            #perform
        }
    }
}

/// The handler: decode → extract → run → outcome.
///
/// Bounds on the user's types are required by tokens with the span of the type, so that a mistake
/// is one error, in its place. Names that two such pieces share are the macro's own.
fn run(job: &Job) -> TokenStream {
    let Job {
        krate,
        ident,
        metadata,
        arguments,
        returns,
        options,
        ..
    } = job;
    let [ctx, value, returned] = ["__ctx", "__metadata", "__returned"].map(own);
    let descriptor = own("__JOB");
    let decode = quote_spanned! {metadata.span()=>
        let #value = match #krate::__private::metadata::<#metadata>(&#ctx, &#descriptor) {
            ::core::result::Result::Ok(__value) => __value,
            ::core::result::Result::Err(__outcome) => return __outcome,
        };
    };
    let names: Vec<_> = (0..arguments.len())
        .map(|place| own(&format!("__argument_{place}")))
        .collect();
    let extract = arguments.iter().zip(&names).map(|(ty, name)| {
        let extractor = extracted(krate, ty, &ctx);
        quote_spanned! {ty.span()=>
            let #name = match #extractor {
                ::core::result::Result::Ok(__value) => __value,
                ::core::result::Result::Err(__error) => {
                    return #krate::__private::not_extracted(__error);
                }
            };
        }
    });
    let call = quote!(#ident(#value #(, #names)*));
    let call = match options.blocking {
        Some(_) => quote!(#krate::__private::blocking(move || #call).await),
        None => quote!(#call.await),
    };
    let outcome = quote_spanned! {returns.span()=>
        #krate::__private::outcome::<#returns>(#returned)
    };
    quote! {
        fn __run(#ctx: #krate::JobContext) -> #krate::registry::HandlerFuture {
            ::std::boxed::Box::pin(async move {
                #decode
                #(#extract)*
                let #returned = #call;
                #outcome
            })
        }
    }
}

/// `<T as FromContext>::from_context(&ctx).await`. Its last token has the span of the type's last
/// one. The compiler says several times that `T` is no extractor: with this span all messages are
/// the same, in the same place, and the compiler prints them once.
fn extracted(krate: &Path, ty: &Type, ctx: &Ident) -> TokenStream {
    let last = ty.to_token_stream().into_iter().last();
    let end = match last.expect("a type has tokens") {
        TokenTree::Group(group) => group.span_close(),
        token => token.span(),
    };
    let function = quote_spanned!(ty.span()=> <#ty as #krate::FromContext>::from_context);
    let called = quote_spanned!(end=> (&#ctx).await);
    quote!(#function #called)
}

/// What the arguments need, for the check when a dispatcher starts.
fn needs(job: &Job) -> TokenStream {
    let Job {
        krate, arguments, ..
    } = job;
    if arguments.is_empty() {
        return TokenStream::new();
    }
    let all = own("__all");
    let needs = arguments.iter().map(|ty| {
        quote_spanned! {ty.span()=>
            <#ty as #krate::FromContext>::needs(#all);
        }
    });
    quote! {
        fn __needs(#all: &mut #krate::extract::Needs) {
            #(#needs)*
        }
    }
}

/// A name with the macro's own hygiene, wherever it is written.
fn own(name: &str) -> Ident {
    Ident::new(name, Span::call_site())
}

/// `static __JOB`: only what was given; the runtime has the defaults.
fn descriptor(job: &Job) -> TokenStream {
    let Job {
        krate,
        name,
        metadata,
        options,
        arguments,
        ..
    } = job;
    let mut with = quote!(.with_metadata(::core::any::type_name::<#metadata>));
    if !options.aliases.is_empty() {
        let aliases = &options.aliases;
        with.extend(quote!(.with_aliases(&[#(#aliases),*])));
    }
    if let Some(queue) = &options.queue {
        with.extend(quote!(.with_queue(#queue)));
    }
    if let Some(priority) = options.priority {
        let priority = format_ident!("{priority}");
        with.extend(quote!(.with_priority(#krate::Priority::#priority)));
    }
    let numbers = [
        ("with_max_attempts", options.max_attempts),
        ("with_max_crashes", options.max_crashes),
    ];
    for (method, number) in numbers {
        let method = format_ident!("{method}");
        with.extend(number.map(|number| quote!(.#method(#number))));
    }
    let spans = [
        ("with_timeout", options.timeout),
        ("with_expires", options.expires),
        ("with_deadline", options.deadline),
        ("with_retain", options.retain),
    ];
    for (method, span) in spans {
        let method = format_ident!("{method}");
        with.extend(span.map(duration).map(|span| quote!(.#method(#span))));
    }
    if let Some(wait) = &options.backoff {
        let backoff = backoff(job, wait);
        with.extend(quote!(.with_backoff(#backoff)));
    }
    if let Some(version) = options.version {
        let upgrade = upgrade(job);
        with.extend(quote!(.with_version(#version, #upgrade)));
    }
    if options.blocking.is_some() {
        with.extend(quote!(.with_blocking(true)));
    }
    if !arguments.is_empty() {
        with.extend(quote!(.with_needs(__needs)));
    }
    let new = match options.signature {
        Some(_) => quote!(signature(#name)),
        None => quote!(new(#name, __run)),
    };
    quote! {
        static __JOB: #krate::registry::JobDescriptor =
            #krate::registry::JobDescriptor::#new
                .with_read_back(#krate::__private::read_back!(#metadata))
                #with;
    }
}

/// `upgrade = path` → a function that boxes the error.
fn upgrade(job: &Job) -> TokenStream {
    let Job { krate, options, .. } = job;
    let Some(path) = &options.upgrade else {
        return quote!(::core::option::Option::None);
    };
    quote! {
        ::core::option::Option::Some(|__value, __version| {
            #krate::__private::upgrade(#path, __value, __version)
        })
    }
}

fn backoff(job: &Job, wait: &Wait) -> TokenStream {
    let krate = &job.krate;
    let Backoff { shape, jitter } = match wait {
        Wait::Function(path) => return quote!(#krate::Backoff::custom(#path)),
        Wait::Text(backoff) => backoff,
    };
    let shape = match shape {
        Shape::Constant(wait) => {
            let wait = duration(*wait);
            quote!(constant(#wait))
        }
        Shape::Linear(step, max) => {
            let (step, max) = (duration(*step), duration(*max));
            quote!(linear(#step, #max))
        }
        Shape::Exponential(first, max) => {
            let (first, max) = (duration(*first), duration(*max));
            quote!(exponential(#first, #max))
        }
        Shape::Steps(waits) => {
            let waits = waits.iter().copied().map(duration);
            quote!(steps(&[#(#waits),*]))
        }
    };
    let jitter = (!jitter).then(|| quote!(.without_jitter()));
    quote!(#krate::Backoff::#shape #jitter)
}

fn duration(span: Duration) -> TokenStream {
    let millis = u64::try_from(span.as_millis()).expect("a span has at most ten years");
    quote!(::core::time::Duration::from_millis(#millis))
}
