//! Definitions checked one by one, and with all others that they live with:
//! those of their catalog, or those of the registry.

use std::collections::BTreeSet;

use super::advice::Warning;
use super::definition::{Definition, Materialize, check_query};
use crate::failure::Failure;
use crate::membership::Definitions;
use crate::names::GroupName;

/// AWS: "Maximum number of dynamic groups" of an account.
const MOST_NATIVE: usize = 100;

impl Definition {
    /// Checks it; `all` are the definitions that there will be, it included. A
    /// failure's field begins with `path`. What it may not mean is told.
    ///
    /// # Errors
    /// `Invalid`, with the field at fault.
    pub fn check(&self, path: &str, all: &[Self]) -> Result<Vec<Warning>, Failure> {
        let warnings = check_query(&format!("{path}query"), self)?;
        if let Some(parent) = &self.parent
            && !all.iter().any(|other| other.name == *parent)
        {
            return Err(Failure::invalid(
                &format!("{path}parent"),
                format!("there is no dynamic group {parent}"),
                "Declare the dynamic group, or correct the name.",
            ));
        }
        if self.is_above_itself(all) {
            return Err(Failure::invalid(
                &format!("{path}parent"),
                format!("the dynamic group {} is above itself", self.name),
                "Break the circle of parents.",
            ));
        }
        if self.materialize == Materialize::Native {
            self.native_is_possible(path)?;
        }
        Ok(warnings)
    }

    fn is_above_itself(&self, all: &[Self]) -> bool {
        let parent = |name: &GroupName| {
            let declared = all.iter().find(|other| other.name == *name);
            declared.and_then(|declared| declared.parent.clone())
        };
        let mut seen = BTreeSet::from([self.name.clone()]);
        let mut next = self.parent.clone();
        while let Some(above) = next {
            if !seen.insert(above.clone()) {
                return above == self.name;
            }
            next = parent(&above);
        }
        false
    }

    /// AWS's own dynamic groups neither compare versions nor nest.
    fn native_is_possible(&self, path: &str) -> Result<(), Failure> {
        let (field, what) = match (&self.parent, self.semver) {
            (_, true) => ("semver", "compare versions"),
            (Some(_), _) => ("parent", "look into each other"),
            (None, false) => return Ok(()),
        };
        Err(Failure::invalid(
            &format!("{path}{field}"),
            format!("AWS's own dynamic groups do not {what}"),
            "Materialise it as static, or not at all.",
        ))
    }
}

/// Checks a catalog's definitions together: each query may be read, and yet one
/// of them depend on itself.
pub(super) fn check_together(all: &[Definition]) -> Result<(), Failure> {
    check_native(all)?;
    let refused = Definitions::compile(0, all.iter().cloned()).refused;
    let Some((name, failure)) = refused.into_iter().next() else {
        return Ok(());
    };
    let at = all.iter().position(|one| one.name.as_str() == name);
    let path = format!("dynamicGroups[{}].query", at.unwrap_or_default());
    Err(failure.field(&path))
}

fn check_native(all: &[Definition]) -> Result<(), Failure> {
    let native = |one: &&Definition| one.materialize == Materialize::Native;
    let count = all.iter().filter(native).count();
    if count > MOST_NATIVE {
        return Err(Failure::invalid(
            "dynamicGroups",
            format!("{count} dynamic groups are to be AWS's own"),
            format!("AWS allows {MOST_NATIVE} in an account; materialise the rest as static."),
        ));
    }
    Ok(())
}

/// Checks a definition that is put among those of the registry, which take its
/// place in `all`. Two catalogs may have put in what does not go together; that
/// is no fault of this one.
///
/// # Errors
/// `Invalid`, with the field at fault.
pub fn check_put(definition: &Definition, all: &[Definition]) -> Result<Vec<Warning>, Failure> {
    let warnings = definition.check("", all)?;
    if definition.materialize == Materialize::Native {
        check_native(all)?;
    }
    let without = all.iter().filter(|one| one.name != definition.name);
    let refused = |all: Vec<Definition>| Definitions::compile(0, all).refused;
    let before: BTreeSet<_> = refused(without.cloned().collect())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let mut new = refused(all.to_vec()).into_iter();
    match new.find(|(name, _)| !before.contains(name)) {
        Some((_, failure)) => Err(failure.field("query")),
        None => Ok(warnings),
    }
}

/// The refusal of a name that a static group has.
pub fn is_static(path: &str, name: &GroupName) -> Failure {
    Failure::invalid(
        &format!("{path}name"),
        format!("{name} is a static group"),
        "Choose another name: what is materialised is a group of the same name.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn definition(name: &str, extra: &Value) -> Definition {
        let mut text = json!({"name": name, "query": "attributes.city:milan", "semver": true});
        let fields = text.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn what_is_put_is_checked_with_what_is_there() {
        let circle = json!({"query": "dynamicGroupNames:b"});
        let nested = json!({"query": "dynamicGroupNames:a"});
        let nothing = json!({});
        for (a, b, field) in [
            (&nothing, &nothing, None),
            (&nothing, &nested, None),
            (&circle, &nested, Some("query")),
            (&circle, &nothing, None),
            (&json!({"parent": "b"}), &nothing, None),
            (&json!({"parent": "none"}), &nothing, Some("parent")),
            (&json!({"parent": "a"}), &nothing, Some("parent")),
            (&json!({"parent": "b"}), &nested, Some("query")),
            (&json!({"query": "AND"}), &nothing, Some("query")),
            (&json!({"materialize": "native"}), &nothing, Some("semver")),
            // Somebody else's circle is no fault of this one.
            (&nothing, &json!({"query": "dynamicGroupNames:b"}), None),
        ] {
            let put = definition("a", a);
            let found = check_put(&put, &[put.clone(), definition("b", b)]);
            let refused = found.err().and_then(|failure| failure.field);
            assert_eq!(refused.as_deref(), field, "{a} {b}");
        }
    }
}
