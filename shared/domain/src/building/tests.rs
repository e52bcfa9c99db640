use serde_json::json;

use super::*;
use crate::catalog::Definition;
use crate::names::GroupName;
use crate::time::Moment;

const NOW: Moment = Moment(1_000_000);
const NEVER: DefinitionsVersion = DefinitionsVersion {
    version: 0,
    swept: 0,
};

fn versions(version: u64, swept: u64) -> DefinitionsVersion {
    DefinitionsVersion { version, swept }
}

fn definition(extra: serde_json::Value) -> Definition {
    let mut text = json!({"name": "old", "query": "attributes.city:milan"});
    let fields = text.as_object_mut().unwrap();
    fields.extend(extra.as_object().unwrap().clone());
    serde_json::from_value(text).unwrap()
}

fn row(since: u64, extra: serde_json::Value) -> DefinitionRow {
    DefinitionRow {
        definition: definition(extra),
        revision: 1,
        since,
    }
}

fn shards(version: u64, ended: impl Fn(u32) -> bool) -> Vec<ShardRow> {
    (0..LISTING_SHARDS)
        .map(|shard| ShardRow {
            ended: ended(shard),
            ..ShardRow::new(version, shard, 10, NOW)
        })
        .collect()
}

#[test]
fn a_group_is_active_once_a_sweep_as_new_as_it_has_ended() {
    let plain = json!({});
    let nested = json!({"query": "dynamicGroupNames:new", "semver": true});
    let child = json!({"parent": "above"});
    for (since, extra, now, active) in [
        (3, &plain, versions(3, 3), true),
        (3, &plain, versions(3, 2), false),
        (3, &plain, versions(9, 3), true),
        (0, &plain, NEVER, true),
        // Others have changed, and these hang on others.
        (3, &nested, versions(9, 3), false),
        (3, &child, versions(9, 8), false),
        (3, &nested, versions(9, 9), true),
        (3, &child, versions(9, 9), true),
    ] {
        let row = row(since, extra.clone());
        let found = standing(&row, now) == DefinitionStatus::Active;
        assert_eq!(found, active, "{since} {extra} {now:?}");
    }
}

#[test]
fn what_was_read_between_two_looks_is_complete_only_if_both_say_so() {
    let (old, new) = (row(3, json!({})), row(5, json!({})));
    for (before, after, active) in [
        ((&old, versions(4, 4)), Some((&old, versions(5, 4))), true),
        ((&old, versions(4, 2)), Some((&old, versions(4, 4))), false),
        ((&old, versions(4, 4)), Some((&new, versions(5, 4))), false),
        // Changed, and swept already: members may have been read half way.
        ((&old, versions(4, 4)), Some((&new, versions(5, 5))), false),
        ((&old, versions(4, 4)), None, false),
    ] {
        let found = throughout(before, after) == DefinitionStatus::Active;
        assert_eq!(found, active, "{before:?} {after:?}");
    }
}

#[test]
fn a_sweep_goes_on_where_an_earlier_one_broke_off() {
    let all: Vec<u32> = (0..LISTING_SHARDS).collect();
    let sweep = |fresh: &[u32], open: &[u32]| Beginning::Sweep {
        version: 4,
        fresh: fresh.to_vec(),
        open: open.to_vec(),
    };
    let odd = |shard: u32| shard % 2 == 1;
    let even: Vec<u32> = all.iter().copied().filter(|n| !odd(*n)).collect();
    let mut lost = shards(4, odd);
    lost.remove(3);
    for (rows, now, wanted) in [
        (vec![], versions(4, 3), sweep(&all, &all)),
        (shards(3, |_| true), versions(4, 3), sweep(&all, &all)),
        (shards(4, odd), versions(4, 3), sweep(&[], &even)),
        (
            lost,
            versions(4, 3),
            sweep(&[3], &[0, 2, 3, 4, 6, 8, 10, 12, 14]),
        ),
        (shards(4, |_| true), versions(4, 3), sweep(&[], &[])),
        (vec![], versions(5, 3), Beginning::Superseded),
        (shards(4, odd), versions(5, 4), Beginning::Swept),
        (vec![], versions(6, 5), Beginning::Swept),
    ] {
        assert_eq!(begin(Some(4), now, &rows, NOW), wanted, "{now:?} {rows:?}");
    }
}

#[test]
fn a_start_that_was_lost_is_found_and_one_that_is_under_way_left_alone() {
    let soon = NOW.plus_millis(SILENT_MILLIS - 1);
    let later = NOW.plus_millis(SILENT_MILLIS);
    let sweeps = |found: &Beginning| matches!(found, Beginning::Sweep { version: 4, .. });
    for (rows, now, versions, wanted) in [
        (vec![], NOW, versions(4, 3), true),
        (shards(4, |_| false), soon, versions(4, 3), false),
        (shards(4, |_| false), later, versions(4, 3), true),
        (shards(3, |_| false), soon, versions(4, 3), true),
        (vec![], NOW, versions(4, 4), false),
        (vec![], NOW, NEVER, false),
    ] {
        let found = begin(None, versions, &rows, now);
        assert_eq!(sweeps(&found), wanted, "{now:?} {versions:?} {rows:?}");
    }
}

#[test]
fn a_sweep_is_complete_when_every_shard_has_ended_under_its_version() {
    for (rows, complete) in [
        (shards(4, |_| true), true),
        (shards(4, |shard| shard != 7), false),
        (shards(3, |_| true), false),
        (shards(4, |_| true).split_off(1), false),
        (vec![], false),
    ] {
        assert_eq!(is_complete(4, &rows), complete, "{rows:?}");
    }
}

#[test]
fn progress_is_of_the_newest_version_and_never_whole() {
    let asked = |version, asked| {
        let mut rows = shards(version, |_| false);
        for row in &mut rows {
            row.asked = asked;
        }
        rows
    };
    for (rows, now, wanted) in [
        (asked(4, 5), versions(4, 3), 50),
        (asked(4, 5), versions(5, 3), 0),
        (asked(4, 10), versions(4, 3), 99),
        // More have come since the sweep began.
        (asked(4, 12), versions(4, 3), 99),
        (vec![], versions(4, 3), 0),
    ] {
        assert_eq!(percent(now, &rows), wanted, "{now:?} {rows:?}");
    }
}

#[test]
fn a_shard_is_read_page_by_page_until_it_ends() {
    let thing = |name: &str| ThingName::parse(name).unwrap();
    let first = ShardRow::new(4, 3, 3, NOW);
    assert_eq!(first.next_read().unwrap().after, None);
    let second = first.after_page(&[thing("a"), thing("b")], true, NOW);
    assert_eq!((second.asked, second.ended), (2, false));
    let read = second.next_read().unwrap();
    assert_eq!(
        (read.shard.as_str(), read.after),
        ("DEVICES#03", Some(thing("b")))
    );
    // The last page may be empty.
    let last = second.after_page(&[], false, NOW);
    assert_eq!(
        (last.asked, last.after.clone(), last.next_read()),
        (2, Some(thing("b")), None)
    );
}

#[test]
fn a_dry_run_says_who_moves() {
    let groups = |names: &str| -> std::collections::BTreeSet<GroupName> {
        let names = names.split_whitespace();
        names.map(|name| GroupName::parse(name).unwrap()).collect()
    };
    let mut trial = Trial::new(GroupName::parse("old").unwrap());
    for (thing, before, after) in [
        ("a", "", "old nested"),
        ("b", "old other", "other"),
        ("c", "old", "old"),
        ("d", "other", "other"),
    ] {
        trial.take(
            &ThingName::parse(thing).unwrap(),
            &groups(before),
            &groups(after),
        );
    }
    trial.unknown();
    assert_eq!(
        serde_json::to_value(trial.end()).unwrap(),
        json!({
            "asked": 5, "unknown": 1, "staying": 1,
            "entering": {"count": 1, "first": ["a"]},
            "leaving": {"count": 1, "first": ["b"]},
            "others": {"nested": {"entering": 1, "leaving": 0}},
        })
    );
}

#[test]
fn a_misspelt_dry_run_is_refused() {
    for (query, dry_run) in [
        ("", Some(false)),
        ("dryRun=true", Some(true)),
        ("dryRun=false", Some(false)),
        ("dryrun=true", None),
        ("dryRun=1", None),
        ("dryRun=true&dryRun=false", None),
        ("dryRun=true&cursor=junk", None),
    ] {
        let found = PutQuery::parse(query).ok().map(|query| query.dry_run);
        assert_eq!(found, dry_run, "{query}");
    }
}

#[test]
fn a_definition_has_the_name_of_its_path() {
    let name = GroupName::parse("old").unwrap();
    for (body, field) in [
        (r#"{"query": "a:b"}"#, None),
        (r#"{"name": "old", "query": "a:b"}"#, None),
        (r#"{"name": "new", "query": "a:b"}"#, Some("name")),
        (r#"{"query": "a:b", "materialise": "static"}"#, Some("body")),
        (r"{}", Some("body")),
        ("[]", Some("body")),
    ] {
        let found = read_definition(&name, body.as_bytes());
        let refused = found.err().and_then(|failure| failure.field);
        assert_eq!(refused.as_deref(), field, "{body}");
    }
}

mod changes {
    use super::*;

    fn change(at: u64, id: &str) -> Change {
        Change {
            key: format!("{at:015}#{id}"),
            row: ChangeRow {
                detail_type: "GroupEntered".to_owned(),
                at: Moment(at),
                detail: json!({ "id": id }).to_string(),
                expires_at: 0,
            },
        }
    }

    fn ids(page: &serde_json::Value) -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["detail"]["id"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_late_change_is_not_missed() {
        let group = GroupName::parse("old").unwrap();
        let read = |query: &str| ChangeQuery::parse(query, &group, NOW).unwrap();
        let first = read("limit=2&since=900000");
        let all = [
            change(970_000, "b"),
            change(960_000, "a"),
            change(999_000, "d"),
        ];
        let page = first.page(all.to_vec(), NOW);
        assert_eq!(ids(&page), ["a", "b"]);
        assert_eq!(page["more"], true);
        let cursor = |page: &serde_json::Value| page["nextCursor"].as_str().unwrap().to_owned();
        let second = read(&format!("cursor={}", cursor(&page)));
        assert_eq!(second.after(), all[0].key);
        let page = second.page(vec![all[2].clone()], NOW);
        assert_eq!(
            (ids(&page), &page["more"]),
            (vec!["d".to_owned()], &json!(false))
        );
        // One that was written at 995 s shows up only now.
        let third = read(&format!("cursor={}", cursor(&page)));
        assert!(third.after() < change(995_000, "c").key.as_str());
        assert!(third.after() > all[0].key.as_str());
    }

    #[test]
    fn nothing_is_told_from_before_one_began_to_listen() {
        let group = GroupName::parse("old").unwrap();
        let first = ChangeQuery::parse("", &group, NOW).unwrap();
        let page = first.page(vec![], Moment(NOW.0 + 500));
        let cursor = page["nextCursor"].as_str().unwrap();
        let second = ChangeQuery::parse(&format!("cursor={cursor}"), &group, NOW).unwrap();
        assert_eq!(second.after(), first.after());
        let other = GroupName::parse("new").unwrap();
        assert!(ChangeQuery::parse(&format!("cursor={cursor}"), &other, NOW).is_err());
    }
}
