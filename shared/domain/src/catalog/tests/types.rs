//! A thing type that is changed becomes another, and the one before goes.

use super::plans::{NOW, after, applied, check_change, lines};
use super::*;
use crate::time::Moment;

const LATER: Moment = Moment(NOW.0 + DEPRECATED_MILLIS);

fn name(text: &str) -> ThingTypeName {
    ThingTypeName::parse(text).unwrap()
}

fn changed(attributes: &Value) -> Catalog {
    let mut catalog = base();
    catalog["thingTypes"][0]["searchableAttributes"] = attributes.clone();
    parse(&catalog).unwrap()
}

fn used(seen: &mut Observed, thing_type: &str) {
    let owned = Owned::new(ItemKind::ThingType, thing_type);
    seen.users
        .insert(owned, Users::all(vec!["light-1".to_owned()], false));
}

#[test]
fn a_changed_type_becomes_another_and_its_things_with_it() {
    let attributes = json!(["wattage"]);
    let wanted = [
        "± thing type light searchableAttributes",
        "+ retained topics light-v2",
        "~ thing type light deprecated",
        "> thing type light",
    ];
    let seen = check_change(
        |c| c["thingTypes"][0]["searchableAttributes"] = attributes.clone(),
        |s| used(s, "light"),
        false,
        &wanted,
    );
    let row = &seen.type_rows[&name("light")];
    assert_eq!((row.current.as_str(), row.number), ("light-v2", 2));

    // The old one goes when AWS lets it; a change back is another change.
    let catalog = changed(&attributes);
    let early = plan(&catalog, &seen, false, Moment(LATER.0 - 1));
    assert_eq!((lines(&early), early.waiting.len()), (vec![], 1));
    let late = plan(&catalog, &seen, false, LATER);
    assert_eq!(lines(&late), ["- thing type light"]);
    let gone = after(&late.steps, seen.clone());
    let names: Vec<_> = gone.thing_types.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["light-v2"]);
    assert_eq!(lines(&plan(&catalog, &gone, false, LATER)), [] as [&str; 0]);
    let back = plan(&parse(&base()).unwrap(), &seen, false, NOW);
    assert_eq!(
        lines(&back),
        [
            "± thing type light searchableAttributes",
            "+ retained topics light-v3",
            "~ thing type light-v2 deprecated",
        ]
    );
}

#[test]
fn a_type_with_things_is_asked_about_and_not_deleted() {
    let mut seen = applied(&base());
    let same = parse(&base()).unwrap();
    let asked = |catalog: &Catalog, seen: &Observed| {
        looks(catalog, seen)
            .into_iter()
            .map(|o| o.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(&same, &seen), [] as [&str; 0]);
    let catalog = changed(&json!([]));
    assert_eq!(asked(&catalog, &seen), ["light"]);
    seen = after(&plan(&catalog, &seen, false, NOW).steps, seen);
    assert_eq!(asked(&catalog, &seen), ["light"]);
    used(&mut seen, "light");
    assert_eq!(
        lines(&plan(&catalog, &seen, false, LATER)),
        ["> thing type light"]
    );
    // Its deletion was not recorded.
    seen.users.clear();
    seen.thing_types.remove(&name("light"));
    let quiet = plan(&catalog, &seen, false, LATER);
    assert_eq!(lines(&quiet), [] as [&str; 0]);
    assert!(
        after(&quiet.steps, seen).type_rows[&name("light")]
            .retired
            .is_empty()
    );
}

#[test]
fn a_type_that_is_no_longer_declared_goes_when_it_may() {
    let mut catalog = base();
    catalog["thingTypes"] = json!([]);
    catalog["profiles"] = json!([]);
    let catalog = parse(&catalog).unwrap();
    let mut seen = applied(&base());
    used(&mut seen, "light");
    let refused = plan(&catalog, &seen, true, NOW).refused;
    assert!(refused[0].reason.contains("light-1"), "{refused:?}");
    seen.users.clear();
    let first = plan(&catalog, &seen, false, NOW);
    assert_eq!(
        lines(&first),
        ["~ thing type light deprecated", "- profile spring"]
    );
    assert_eq!(first.waiting.len(), 1);
    seen = after(&first.steps, seen);
    let last = plan(&catalog, &seen, false, LATER);
    assert_eq!(lines(&last), ["- thing type light"]);
    let gone = after(&last.steps, seen);
    assert!(gone.thing_types.is_empty() && gone.type_rows.is_empty());
    assert!(!gone.owned.iter().any(|o| o.kind == ItemKind::ThingType));
}

#[test]
fn a_name_that_is_taken_is_said() {
    let mut seen = applied(&base());
    seen.thing_types
        .insert(name("light-v2"), ThingTypeSeen::default());
    let refused = plan(&changed(&json!(["city"])), &seen, false, NOW).refused;
    assert!(refused[0].reason.contains("light-v2"), "{refused:?}");
    let long = TypeRow::first(&name(&"x".repeat(126)));
    assert!(long.next().is_err() && long.names().len() == 1);
}
