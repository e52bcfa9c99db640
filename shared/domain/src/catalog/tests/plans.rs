//! Plans carried out on what was seen: they converge, whatever broke off, and
//! leave alone what no catalog made.

use super::*;
use crate::time::Moment;

pub(super) const NOW: Moment = Moment(1_800_000_000_000);

/// What is there after one step.
#[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
fn done(item: &Item, seen: &mut Observed) {
    if let Some(made) = item.makes() {
        seen.owned.insert(made);
    }
    match item.clone() {
        Item::ThingType { made: t, .. } => {
            let made = ThingTypeSeen {
                description: t.description,
                searchable_attributes: t.searchable_attributes,
                ..ThingTypeSeen::default()
            };
            seen.thing_types.insert(t.name, made);
        }
        Item::Switch(row) => drop(seen.type_rows.insert(row.name.clone(), row)),
        Item::Deprecate(name, to) => {
            let found = seen.thing_types.get_mut(&name).unwrap();
            (found.deprecated, found.deprecated_at) = (to, to.then_some(NOW));
        }
        Item::Migrate { from, to } => {
            assert!(!seen.thing_types[&to].deprecated);
            assert!(
                seen.thing_types[&from].deprecated,
                "no new things come to it"
            );
            seen.users.remove(&Owned::new(ItemKind::ThingType, &from));
        }
        Item::DeleteType {
            name,
            declared,
            row,
        } => {
            seen.thing_types.remove(&name).unwrap();
            match row {
                Some(row) => drop(seen.type_rows.insert(declared, row)),
                None => drop(seen.type_rows.remove(&declared)),
            }
        }
        Item::Policy(p) | Item::PolicyVersion(p) => drop(seen.policies.insert(p.name, p.document)),
        Item::DeletePolicy(name) => {
            assert!(
                seen.groups
                    .values()
                    .all(|g| !g.policies.contains(name.as_str()))
            );
            seen.policies.remove(&name).unwrap();
        }
        Item::BillingGroup(b) | Item::UpdateBillingGroup { group: b, .. } => {
            let made = BillingGroupSeen {
                description: b.description,
                tags: b.tags,
            };
            seen.billing_groups.insert(b.name, made);
        }
        Item::DeleteBillingGroup(name) => drop(seen.billing_groups.remove(&name).unwrap()),
        Item::Group { group, depth } | Item::MoveGroup { group, depth } => {
            let parent = group.parent.map(|p| p.as_str().to_owned());
            let there = |p: &String| seen.groups.keys().any(|name| name.as_str() == p);
            assert!(parent.iter().all(there), "a parent is created first");
            let made = GroupSeen {
                parent,
                depth,
                description: group.description,
                attributes: group.attributes,
                ..GroupSeen::default()
            };
            seen.groups.insert(group.name, made);
        }
        Item::UpdateGroup { group, .. } => {
            let found = seen.groups.get_mut(&group.name).unwrap();
            found.description = group.description;
            found.attributes = group.attributes;
        }
        Item::DeleteGroup { name, .. } => {
            let found = seen.groups.remove(&name).unwrap();
            assert!(found.policies.is_empty());
            let child = |g: &GroupSeen| g.parent.as_deref() == Some(name.as_str());
            assert!(!seen.groups.values().any(child), "children go first");
        }
        Item::Attach { policy, group } => {
            assert!(seen.policies.contains_key(&policy));
            let found = seen.groups.get_mut(&group).unwrap();
            found.policies.insert(policy.as_str().to_owned());
        }
        Item::Detach { policy, group } => {
            assert!(
                seen.groups
                    .get_mut(&group)
                    .unwrap()
                    .policies
                    .remove(policy.as_str())
            );
        }
        Item::Topics { thing_type, topics } => drop(seen.topics.insert(thing_type, topics)),
        Item::Definition(d) => {
            let job = d.on_enter.job.as_ref();
            assert!(job.is_none_or(|job| seen.job_templates.contains_key(job)));
            seen.dynamic_groups.insert(d.name.clone(), d);
        }
        Item::ForgetDefinition(name) => drop(seen.dynamic_groups.remove(&name).unwrap()),
        Item::JobTemplate(t) => drop(seen.job_templates.insert(t.name.clone(), t)),
        Item::ForgetJobTemplate(name) => drop(seen.job_templates.remove(&name).unwrap()),
        Item::Profile(p) => drop(seen.profiles.insert(p.name.clone(), p)),
        Item::ForgetProfile(name) => drop(seen.profiles.remove(&name).unwrap()),
        Item::DrainGroup(name) => drop(seen.users.remove(&Owned::new(ItemKind::Group, name))),
        Item::DrainBillingGroup(name) => {
            seen.users.remove(&Owned::new(ItemKind::BillingGroup, name));
        }
        Item::Disown(_) => {}
    }
    if let Some(removed) = item.removes() {
        assert!(seen.owned.remove(&removed), "{removed:?}");
    }
}

pub(super) fn after(steps: &[Step], mut seen: Observed) -> Observed {
    for step in steps {
        done(&step.item, &mut seen);
    }
    seen
}

/// What is there once a catalog has been applied.
pub(super) fn applied(catalog: &Value) -> Observed {
    let steps = plan(&parse(catalog).unwrap(), &Observed::default(), false, NOW).steps;
    after(&steps, Observed::default())
}

/// A plan's lines: `+` made, `~` changed, `±` replaced, `>` moved or drained,
/// `-` gone; with the fields that differ.
pub(super) fn lines(plan: &CatalogPlan) -> Vec<String> {
    let changes = plan.steps.iter().filter_map(|step| step.change.as_ref());
    changes
        .map(|change| {
            let sign = match change.action {
                Action::Create => '+',
                Action::Update => '~',
                Action::Replace => '±',
                Action::Migrate | Action::Drain => '>',
                Action::Delete => '-',
            };
            let fields: Vec<_> = match change.action {
                Action::Update | Action::Replace => {
                    change.fields.iter().map(|f| f.field.as_str()).collect()
                }
                _ => Vec::new(),
            };
            let entry = &change.entry;
            let line = format!(
                "{sign} {} {} {}",
                entry.kind.name(),
                entry.name,
                fields.join(" ")
            );
            line.trim_end().to_owned()
        })
        .collect()
}

#[test]
fn a_plan_cut_off_anywhere_is_taken_up_again_and_a_repeat_changes_nothing() {
    let catalog = parse(&base()).unwrap();
    let whole = plan(&catalog, &Observed::default(), false, NOW);
    assert!(whole.refused.is_empty() && whole.unchanged.is_empty());
    assert_eq!((whole.steps.len(), stages(&whole.steps).count()), (10, 8));
    for cut in 0..=whole.steps.len() {
        let seen = after(&whole.steps[..cut], Observed::default());
        let rest = plan(&catalog, &seen, false, NOW);
        assert!(rest.refused.is_empty(), "{:?}", rest.refused);
        assert_eq!(rest.steps, whole.steps[cut..]);
        let again = plan(&catalog, &after(&rest.steps, seen), false, NOW);
        assert!(again.steps.is_empty() && again.refused.is_empty());
        assert_eq!(again.unchanged.len(), whole.steps.len());
    }
}

/// A change to what is there, or to what is declared, gives these lines; done,
/// nothing is left to do. Cut off anywhere it is taken up again.
pub(super) fn check_change(
    declared: impl FnOnce(&mut Value),
    there: impl FnOnce(&mut Observed),
    drain: bool,
    wanted: &[&str],
) -> Observed {
    let mut seen = applied(&base());
    there(&mut seen);
    let mut catalog = base();
    declared(&mut catalog);
    let catalog = parse(&catalog).unwrap();
    let planned = plan(&catalog, &seen, drain, NOW);
    assert_eq!(planned.refused, [], "{wanted:?}");
    assert_eq!(lines(&planned), wanted);
    for cut in 0..=planned.steps.len() {
        let part = after(&planned.steps[..cut], seen.clone());
        let rest = plan(&catalog, &part, drain, NOW);
        assert_eq!(rest.refused, [], "cut off after {cut}");
        let whole = after(&rest.steps, part);
        let again = plan(&catalog, &whole, drain, NOW);
        assert_eq!(lines(&again), [] as [&str; 0], "cut off after {cut}");
    }
    after(&planned.steps, seen)
}

pub(super) fn nothing<T>(_: &mut T) {}

pub(super) fn name(text: &str) -> GroupName {
    GroupName::parse(text).unwrap()
}

#[test]
fn what_is_declared_otherwise_is_changed() {
    type Case = (fn(&mut Value), &'static [&'static str]);
    let cases: [Case; 10] = [
        (
            |c| c["groups"][1]["attributes"]["city"] = "turin".into(),
            &["~ group milan attributes.city"],
        ),
        (
            |c| c["groups"][0]["description"] = "x".into(),
            &["~ group navigli description"],
        ),
        (
            |c| c["policies"][0]["document"]["Statement"][0]["Action"] = "iot:Publish".into(),
            &["~ policy light document.Statement[0].Action"],
        ),
        (
            |c| c["billingGroups"][0]["tags"] = json!({"city": "milan"}),
            &["~ billing group bill tags.city tags.cost-centre"],
        ),
        (
            |c| c["profiles"][0]["attributes"] = json!({}),
            &["~ profile spring attributes"],
        ),
        (
            |c| c["dynamicGroups"][0]["query"] = "x:2".into(),
            &["~ dynamic group old query"],
        ),
        (
            |c| c["jobTemplates"][0]["document"]["includeStdOut"] = "true".into(),
            &["~ job template update document.includeStdOut"],
        ),
        (
            |c| {
                let more = json!({"name": "more", "document": c["policies"][0]["document"]});
                c["policies"].as_array_mut().unwrap().push(more);
                c["groups"][1]["policies"] = json!(["more"]);
            },
            &[
                "+ policy more",
                "+ attachment more to milan",
                "- attachment light to milan",
            ],
        ),
        (
            |c| c["profiles"][0]["retainedTopics"] = json!(["new/{thingName}"]),
            &[
                "~ retained topics light topics",
                "~ profile spring retainedTopics",
            ],
        ),
        (
            |c| c["groups"][0] = json!({"name": "navigli", "policies": ["light"]}),
            &["± group navigli parent", "+ attachment light to navigli"],
        ),
    ];
    for (declared, wanted) in cases {
        check_change(declared, nothing, false, wanted);
    }
}

#[test]
fn what_was_changed_by_hand_is_put_back() {
    type Case = (fn(&mut Observed), &'static [&'static str]);
    let cases: [Case; 7] = [
        (
            |s| s.policies.values_mut().for_each(|p| p["Id"] = "x".into()),
            &["~ policy light document.Id"],
        ),
        (
            |s| {
                s.groups
                    .get_mut(&name("milan"))
                    .unwrap()
                    .policies
                    .extend(["more".to_owned()]);
            },
            &["- attachment more to milan"],
        ),
        (
            |s| s.groups.get_mut(&name("milan")).unwrap().policies.clear(),
            &["+ attachment light to milan"],
        ),
        (
            |s| drop(s.groups.remove(&name("navigli"))),
            &["+ group navigli"],
        ),
        (|s| s.billing_groups.clear(), &["+ billing group bill"]),
        (
            |s| s.thing_types.values_mut().for_each(|t| t.deprecated = true),
            &["~ thing type light deprecated"],
        ),
        (|s| s.thing_types.clear(), &["+ thing type light"]),
    ];
    for (there, wanted) in cases {
        check_change(nothing, there, false, wanted);
    }
}

#[test]
fn what_no_catalog_made_is_left_as_it_is() {
    type Case = (fn(&mut Observed), ItemKind, &'static str);
    let cases: [Case; 6] = [
        (
            |s| s.policies.values_mut().for_each(|p| p["Id"] = "x".into()),
            ItemKind::Policy,
            "document.Id",
        ),
        (
            |s| s.billing_groups.values_mut().for_each(|b| b.tags.clear()),
            ItemKind::BillingGroup,
            "tags",
        ),
        (
            |s| s.groups.get_mut(&name("milan")).unwrap().policies.clear(),
            ItemKind::Group,
            "policies",
        ),
        (
            |s| {
                s.groups
                    .get_mut(&name("milan"))
                    .unwrap()
                    .policies
                    .extend(["more".to_owned()]);
            },
            ItemKind::Group,
            "policies",
        ),
        (
            |s| s.groups.get_mut(&name("navigli")).unwrap().parent = None,
            ItemKind::Group,
            "parent",
        ),
        (
            |s| {
                s.thing_types
                    .values_mut()
                    .for_each(|t| t.description.clear());
            },
            ItemKind::ThingType,
            "description",
        ),
    ];
    for (there, kind, differs) in cases {
        let mut seen = applied(&base());
        seen.owned.clear();
        there(&mut seen);
        let plan = plan(&parse(&base()).unwrap(), &seen, false, NOW);
        let [refusal] = &plan.refused[..] else {
            panic!("{kind:?}: {plan:?}")
        };
        assert_eq!(
            (refusal.entry.kind, refusal.fields[0].field.as_str()),
            (kind, differs)
        );
        // Nor is it removed when it is not declared.
        let empty = parse(&json!({})).unwrap();
        assert_eq!(
            super::plan(&empty, &seen, true, NOW),
            CatalogPlan::default()
        );
    }
    let mut seen = applied(&base());
    seen.groups.get_mut(&name("milan")).unwrap().dynamic = true;
    let plan = plan(&parse(&base()).unwrap(), &seen, false, NOW);
    assert!(plan.refused[0].reason.contains("dynamic"), "{plan:?}");
}

#[test]
fn what_another_catalog_made_is_told_with_its_name() {
    let mut catalog = base();
    catalog["dynamicGroups"][0]["materialize"] = "static".into();
    let catalog = parse(&catalog).unwrap();
    let own = catalog.dynamic_groups[0].group_description();
    let group = Owned::new(ItemKind::Group, "milan");
    let dynamic = Owned::new(ItemKind::Group, "old");
    let lights = CatalogName::parse("street-lights").unwrap();
    for (description, others, says) in [
        (
            "",
            vec![],
            &["group milan is there, no catalog", "another group old"][..],
        ),
        (
            "",
            vec![&group],
            &["the catalog street-lights made it", "another group old"],
        ),
        (
            "",
            vec![&dynamic],
            &["no catalog made it", "street-lights made another group old"],
        ),
        (&own, vec![], &["no catalog made it"]),
    ] {
        let mut seen = applied(&base());
        seen.owned.clear();
        seen.groups
            .get_mut(&name("milan"))
            .unwrap()
            .attributes
            .clear();
        let others = others
            .into_iter()
            .map(|owned| (owned.clone(), lights.clone()));
        seen.others = others.collect();
        let found = GroupSeen {
            description: description.to_owned(),
            ..GroupSeen::default()
        };
        seen.materialised.insert(name("old"), found);
        let planned = plan(&catalog, &seen, false, NOW);
        let reasons: Vec<_> = planned.refused.iter().map(|r| r.reason.as_str()).collect();
        assert_eq!(reasons.len(), says.len(), "{reasons:?}");
        let told = reasons
            .iter()
            .zip(says)
            .all(|(reason, says)| reason.contains(says));
        assert!(told, "{reasons:?}");
    }
}

#[test]
fn a_stopped_policy_is_left_alone() {
    let stopped = |s: &mut Observed| s.stopped.extend(s.policies.keys().cloned());
    let mut seen = applied(&base());
    stopped(&mut seen);
    seen.policies.values_mut().for_each(|p| *p = json!({}));
    for catalog in [base(), json!({})] {
        let plan = plan(&parse(&catalog).unwrap(), &seen, true, NOW);
        assert!(
            plan.kept.iter().any(|kept| kept.reason.contains("stopped")),
            "{plan:?}"
        );
        let touched = |step: &Step| {
            matches!(
                step.item,
                Item::PolicyVersion(_) | Item::Detach { .. } | Item::DeletePolicy(_)
            ) || step.item.removes() == Some(Owned::new(ItemKind::Group, "milan"))
        };
        assert!(!plan.steps.iter().any(touched), "{plan:?}");
    }
}

#[test]
fn topics_are_only_ever_added() {
    let catalog = parse(&base()).unwrap();
    let mut seen = applied(&base());
    let thing_type = ThingTypeName::parse("light").unwrap();
    let topics = seen.topics.get_mut(&thing_type).unwrap();
    topics.clear();
    topics.insert("old/{thingName}".to_owned());
    let plan = plan(&catalog, &seen, false, NOW);
    let [
        Step {
            item: Item::Topics { topics, .. },
            ..
        },
    ] = &plan.steps[..]
    else {
        panic!("{plan:?}")
    };
    assert_eq!(topics.len(), 2);
}
