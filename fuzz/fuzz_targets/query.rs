//! The parser of group queries: `cargo +nightly fuzz run query`.
//!
//! No panic and no endless loop; what is read is printed as something that
//! reads back as itself; an error points into the text or just behind it.

#![no_main]

use lamplighter_domain::group::{Document, Language, Query};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Query::parse(text, Language::Extended) {
        Ok(parsed) => {
            let printed = parsed.query.to_string();
            let again = Query::parse(&printed, Language::Extended)
                .unwrap_or_else(|error| panic!("{text:?} is printed as {printed:?}: {error}"));
            assert_eq!(again.query, parsed.query, "{text:?} is printed as {printed:?}");
            parsed.query.explain(&Document::default());
        }
        Err(error) => assert!(error.at <= text.chars().count(), "{text:?}: {error}"),
    }
});
