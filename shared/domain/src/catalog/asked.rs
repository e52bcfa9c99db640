//! What a request with a catalog asks for.

use crate::failure::Failure;
use crate::quote::quoted;

/// A request's query string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Only show what would be done.
    pub dry_run: bool,
    /// Take devices out of what is removed, instead of refusing its removal.
    pub drain: bool,
}

impl Asked {
    /// Reads a query string.
    ///
    /// # Errors
    /// `Invalid` for what it does not know: a misspelt `dryRun` must not apply
    /// anything.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let mut asked = Self::default();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part {
                "dryRun=true" => asked.dry_run = true,
                "drain=true" => asked.drain = true,
                "dryRun=false" | "drain=false" => {}
                _ => {
                    return Err(Failure::invalid(
                        "query",
                        format!("{} is no query of this route", quoted(part)),
                        "Use dryRun=true to plan only, drain=true to empty what is removed.",
                    ));
                }
            }
        }
        Ok(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_is_a_dry_run() {
        for (query, asked) in [
            ("", Some((false, false))),
            ("dryRun=true", Some((true, false))),
            ("dryRun=false", Some((false, false))),
            ("drain=true&dryRun=true", Some((true, true))),
            ("dryRun=1", None),
            ("dry=true", None),
            ("dryRun=true&drian=true", None),
        ] {
            let found = Asked::parse(query).ok().map(|a| (a.dry_run, a.drain));
            assert_eq!(found, asked, "{query}");
        }
    }
}
