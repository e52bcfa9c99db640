//! Static groups with a definition's members, and what a change is announced as.

use super::*;
use crate::building::Standing;
use crate::catalog::DefinitionStatus;

fn names(groups: &BTreeSet<GroupName>) -> Vec<&str> {
    groups.iter().map(GroupName::as_str).collect()
}

/// A device in these groups of AWS's, asked for by `all` and `bright`.
#[track_caller]
fn check(in_aws: &[&str], join: &[&str], leave: &[&str], saturated: &[&str]) {
    let all = definitions(
        1,
        &[
            ("all", "thingName:*", "static"),
            ("bright", "attributes.wattage:60", "static"),
            ("dark", "attributes.wattage:1", "static"),
            ("free", "thingName:*", "none"),
            ("theirs", "thingName:*", "native"),
        ],
    );
    let mut row = known("a", 5);
    row.observed(Observation {
        groups: Some(in_aws.iter().map(ToString::to_string).collect()),
        ..Observation::default()
    });
    let found = evaluate(&all, None, row, Moment(9)).unwrap();
    assert_eq!(names(&found.moves.join), join);
    assert_eq!(names(&found.moves.leave), leave);
    assert_eq!(names(&found.membership.unwrap().saturated), saturated);
}

#[test]
fn static_groups_follow_while_there_is_room() {
    check(&["milan"], &["all", "bright"], &[], &[]);
    check(&["milan", "all", "bright"], &[], &[], &[]);
    check(&["milan", "all", "dark"], &["bright"], &["dark"], &[]);
    let full = ["1", "2", "3", "4", "5", "6", "7"];
    check(&full, &["all"], &[], &["bright"]);
    let with = |more: &[&'static str]| [&full[..], more].concat();
    check(&with(&["all"]), &[], &[], &["bright"]);
    check(&with(&["dark"]), &["all"], &["dark"], &["bright"]);
    check(&with(&["8", "9"]), &[], &[], &["all", "bright"]);
    // What somebody put it into since has its place first.
    check(&with(&["8", "all"]), &[], &["all"], &["all", "bright"]);
    check(
        &["1", "2", "3", "4", "5", "6", "7", "all", "bright"],
        &[],
        &["bright"],
        &["bright"],
    );
    // Waves have places of their own.
    let wave = "job-0123456789abcdef01234567-w2";
    check(&with(&["all", wave]), &[], &[], &["bright"]);
    check(&with(&[wave]), &["all"], &[], &["bright"]);
    // AWS's own dynamic groups take room too.
    check(&with(&["theirs"]), &[], &[], &["all", "bright"]);
}

fn row(version: u64, groups: &[(&str, u64)]) -> MembershipRow {
    MembershipRow {
        thing_name: ThingName::parse("milan-1").unwrap(),
        generation: OperationId::from_random([7; 16]),
        document_version: version,
        definitions_version: 1,
        at: None,
        groups: groups
            .iter()
            .map(|(name, since)| (GroupName::parse(name).unwrap(), Moment(*since)))
            .collect(),
        saturated: BTreeSet::new(),
    }
}

#[test]
fn a_change_is_told_step_by_step() {
    let told = |before: Option<&MembershipRow>, after: Option<&MembershipRow>| {
        let all = steps(before, after, Moment(50)).into_iter();
        all.map(|s| (s.group.to_string(), s.entered, s.at.0, s.id))
            .collect::<Vec<_>>()
    };
    let bare = |all: Vec<(String, bool, u64, String)>| {
        let shown = all
            .into_iter()
            .map(|(group, entered, at, _)| (group, entered, at));
        shown.collect::<Vec<_>>()
    };
    let of = |name: &str, entered: bool, at: u64| (name.to_owned(), entered, at);
    let (first, next) = (
        row(1, &[("a", 5), ("b", 5)]),
        row(2, &[("b", 5), ("c", 40)]),
    );
    assert_eq!(
        bare(told(None, Some(&first))),
        [of("a", true, 5), of("b", true, 5)]
    );
    assert_eq!(
        bare(told(Some(&first), Some(&next))),
        [of("a", false, 50), of("c", true, 40)]
    );
    assert_eq!(
        bare(told(Some(&next), None)),
        [of("b", false, 50), of("c", false, 50)]
    );
    assert_eq!(bare(told(Some(&next), Some(&next))), []);
    let last = steps(Some(&next), None, Moment(50));
    assert!(
        last.iter()
            .all(|step| step.document_version > next.document_version)
    );
    // The same change has the same ids, another one has others.
    let ids = [
        told(None, Some(&first)),
        told(Some(&first), Some(&next)),
        told(Some(&next), None),
    ]
    .concat();
    let distinct: BTreeSet<_> = ids.iter().map(|(.., id)| id).collect();
    assert_eq!(distinct.len(), ids.len());
    assert_eq!(
        told(Some(&first), Some(&next)),
        told(Some(&first), Some(&next))
    );
}

fn found(at: Option<u64>, groups: &[(&str, u64)]) -> MembershipRow {
    MembershipRow {
        at: at.map(Moment),
        ..row(1, groups)
    }
}

/// When `a` was left, by the rows before and after; the stream heard of it at
/// second 5.
#[track_caller]
fn check_left(before: &MembershipRow, after: Option<&MembershipRow>, left: u64) {
    let told = steps(Some(before), after, Moment(5000));
    assert_eq!(told[0].at, Moment(left), "{before:?} {after:?}");
}

#[test]
fn no_group_is_left_before_it_was_entered() {
    let late = [("a", 5020)];
    let (known, unknown) = (found(Some(5064), &[]), found(None, &[]));
    check_left(&found(Some(5020), &late), Some(&known), 5064);
    check_left(&found(Some(5020), &late), None, 5020);
    check_left(&found(Some(5040), &late), None, 5040);
    check_left(&found(None, &late), None, 5020);
    check_left(&found(None, &late), Some(&unknown), 5020);
    let early = found(Some(4000), &[("a", 4000)]);
    check_left(&early, None, 5000);
    check_left(&early, Some(&unknown), 5000);
}

#[test]
fn moments_of_one_device_grow_though_clocks_differ() {
    let all = definitions(1, &[("all", "thingName:*", "none")]);
    let first = evaluate(&all, None, known("a", 5), Moment(90)).unwrap();
    let stored = Stored {
        document: first.document.unwrap(),
        membership: first.membership.unwrap(),
    };
    assert_eq!(stored.membership.at, Some(Moment(90)));
    let mut gone = stored.document.clone();
    gone.thing.as_mut().unwrap().gone = true;
    for (clock, at) in [(40, 90), (99, 99)] {
        let next = evaluate(&all, Some(&stored), gone.clone(), Moment(clock)).unwrap();
        assert_eq!(next.membership.unwrap().at, Some(Moment(at)));
    }
}

#[test]
fn pages_are_in_order_and_whole() {
    let members: Vec<_> = (0..23)
        .map(|n| MemberRow {
            thing_name: ThingName::parse(&format!("l{n:02}")).unwrap(),
            group_name: GroupName::parse("g").unwrap(),
            entered_at: Moment(n),
        })
        .collect();
    for limit in [1, 7, 23, 100] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("limit={limit}{cursor}");
            let query = NameQuery::parse(&query, "members g").unwrap();
            // Each partition gives one more than a page.
            let mut found = Vec::new();
            for shard in 0..MEMBER_SHARDS {
                let of = members
                    .iter()
                    .filter(|m| member_shard(&m.thing_name) == shard);
                let of = of.filter(|m| {
                    query
                        .after
                        .as_deref()
                        .is_none_or(|a| m.thing_name.as_str() > a)
                });
                found.extend(of.take(limit + 1).cloned());
            }
            let page = query.members(found);
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= limit);
            seen.extend(
                items
                    .iter()
                    .map(|m| m["thingName"].as_str().unwrap().to_owned()),
            );
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
            assert!(NameQuery::parse(&cursor[1..], "members h").is_err());
        }
        let all: Vec<_> = members.iter().map(|m| m.thing_name.to_string()).collect();
        assert_eq!(seen, all, "{limit}");
    }
}

#[test]
fn a_group_that_was_removed_is_not_shown_of_a_device() {
    let row = row(1, &[("a", 1), ("b", 2), ("c", 3)]);
    for (defined, limit, shown) in [
        ("abc", 9, "abc"),
        ("ac", 9, "ac"),
        ("bc", 1, "b"),
        ("", 9, ""),
    ] {
        let query = NameQuery::parse(&format!("limit={limit}"), "groups of a").unwrap();
        let page = query.groups(Some(&row), |name| defined.contains(name.as_str()));
        let items = page["items"].as_array().unwrap().iter();
        let found: String = items.filter_map(|item| item["group"].as_str()).collect();
        assert_eq!(found, shown, "{defined} {limit}");
    }
}

#[test]
fn a_definition_that_cannot_be_read_is_shown_as_such() {
    for (query, invalid) in [
        ("attributes.wattage:60", None),
        ("attributes.wattage:(", Some("character")),
    ] {
        let declared = json!({"definition": {"name": "g", "query": query}, "revision": 1});
        let row = serde_json::from_value(declared).unwrap();
        let standing = Standing {
            status: DefinitionStatus::Active,
            progress: None,
        };
        let view = json!(GroupView::new(row, None, standing));
        let why = view.get("invalid").and_then(Value::as_str);
        assert_eq!(why.is_some(), invalid.is_some(), "{view}");
        assert!(
            why.unwrap_or_default()
                .contains(invalid.unwrap_or_default()),
            "{view}"
        );
    }
}

#[test]
fn a_group_of_awss_own_query_is_not_asked_for_as_a_static_one() {
    let all = definitions(
        1,
        &[
            ("theirs", "thingName:*", "native"),
            ("others", "NOT thingGroupNames:theirs", "none"),
        ],
    );
    let mut row = known("a", 5);
    row.groups.insert("theirs".to_owned());
    let found = evaluate(&all, None, row, Moment(9)).unwrap();
    let groups: BTreeSet<_> = found.membership.unwrap().groups.into_keys().collect();
    assert_eq!(names(&groups), ["others", "theirs"]);
}
