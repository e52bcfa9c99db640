//! What is no longer declared goes, unless devices use it.

use super::plans::{NOW, applied, check_change, name, nothing};
use super::*;

/// Everything of the base catalog but what it names nowhere else.
fn reduced(section: &'static str) -> impl FnOnce(&mut Value) {
    move |catalog| catalog[section] = json!([])
}

#[test]
fn what_is_no_longer_declared_goes() {
    check_change(
        reduced("dynamicGroups"),
        nothing,
        false,
        &["- dynamic group old"],
    );
    check_change(
        |c| {
            c["dynamicGroups"] = json!([]);
            c["jobTemplates"] = json!([]);
        },
        nothing,
        false,
        &["- dynamic group old", "- job template update"],
    );
    let gone = [
        "- attachment light to milan",
        "- profile spring",
        "- group navigli",
        "- group milan",
        "- billing group bill",
        "- policy light",
    ];
    let nothing_of_it = |c: &mut Value| {
        for section in ["groups", "policies", "billingGroups", "profiles"] {
            c[section] = json!([]);
        }
    };
    let left = check_change(nothing_of_it, nothing, false, &gone);
    assert_eq!(left.owned.len(), 3);
    // Taken away by hand already, and made by somebody else meanwhile.
    check_change(reduced("profiles"), |s| s.profiles.clear(), false, &[]);
    check_change(
        nothing,
        |s| drop(s.groups.insert(name("theirs"), GroupSeen::default())),
        false,
        &[],
    );
}

fn used(kind: ItemKind, name: &str) -> impl Fn(&mut Observed) {
    let owned = Owned::new(kind, name);
    move |seen| {
        let users = (0..12).map(|i| format!("light-{i:02}")).collect();
        seen.users.insert(owned.clone(), Users::all(users, true));
    }
}

#[test]
fn what_is_in_use_is_refused_with_its_users_or_drained() {
    let without = |c: &mut Value| {
        c["profiles"] = json!([]);
        c["groups"] = json!([c["groups"][1]]);
    };
    let (mut catalog, mut seen) = (base(), applied(&base()));
    without(&mut catalog);
    let catalog = parse(&catalog).unwrap();
    let asked: Vec<_> = looks(&catalog, &seen).into_iter().map(|o| o.name).collect();
    assert_eq!(asked, ["navigli"]);
    used(ItemKind::Group, "navigli")(&mut seen);
    let refused = plan(&catalog, &seen, false, NOW).refused;
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].reason.contains("light-09 and more than 2 more"),
        "{refused:?}"
    );
    assert_eq!(
        refused[0].users.as_ref().map(|u| (u.first.len(), u.count)),
        Some((10, 12))
    );
    check_change(
        without,
        used(ItemKind::Group, "navigli"),
        true,
        &["- profile spring", "> group navigli", "- group navigli"],
    );
    let mut moved = base();
    moved["groups"][0] = json!({"name": "navigli", "policies": ["light"]});
    let moved = parse(&moved).unwrap();
    let [refused] = &plan(&moved, &seen, true, NOW).refused[..] else {
        panic!()
    };
    assert!(refused.reason.contains("cannot move"), "{refused:?}");
}
