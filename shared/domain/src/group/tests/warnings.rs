//! What is accepted, but may not mean what its author thinks.

use super::*;

/// `marked` has a `▸` before each character that is warned about.
fn check(marked: &str, texts: &[&str]) {
    let query = marked.replace('▸', "");
    let at: Vec<_> = marked
        .split('▸')
        .scan(0, |chars, part| {
            *chars += part.chars().count();
            Some(*chars)
        })
        .take(texts.len())
        .collect();
    let warnings = Query::parse(&query, Language::Aws).unwrap().warnings;
    let found: Vec<_> = warnings.iter().map(|warning| warning.at).collect();
    assert_eq!(found, at, "{query}: {warnings:?}");
    for (warning, text) in warnings.iter().zip(texts) {
        assert!(warning.text.contains(text), "{query}: {warning}");
    }
}

#[test]
fn and_and_or_without_parentheses() {
    let mixed = "mixed without parentheses";
    check("a ▸OR b AND c", &[mixed]);
    check("a AND b ▸OR c", &[mixed]);
    check("a b ▸OR c", &[mixed]);
    check("a AND (b c ▸OR d)", &[mixed]);
    check("attributes.m:(a ▸OR b c)", &[mixed]);
    check("a OR (b AND c)", &[]);
    check("(a OR b) c", &[]);
    check("a OR b OR NOT c", &[]);
    check("a AND b c", &[]);
}

#[test]
fn fields_that_no_device_has() {
    check("▸thingname:a", &["case-sensitive: thingName"]);
    check("▸Attributes.a:b", &["case-sensitive: attributes"]);
    check("▸billingGroupName:a", &["searched as thingGroupNames"]);
    check("▸thingType:a", &["thingTypeName"]);
    check("▸shadow.version:3", &["versions cannot be searched"]);
    check("▸shadow.name.cfg.version:3", &["versions cannot"]);
    check("▸connectivity.version:3", &["versions cannot"]);
    check("▸shadow.x:1 AND ▸city:milan", &["fields are", "fields are"]);
    check("▸dynamicGroupNames:a", &["going beyond AWS"]);
    check("▸attributes:a", &["fields are"]);
    check(
        "thingId:a attributes.a:1 shadow.hasDelta:true shadow.name.x.hasDelta:true",
        &[],
    );
    check(
        "shadow.metadata.reported.a.timestamp>5 connectivity.sourceIp:*",
        &[],
    );
    check("shadow.name.$package.reported.*.version:1", &[]);
    check("deviceDefender.violationCount>1", &[]);
}

#[test]
fn other_surprises() {
    check("a ▸or b", &["or is searched for as a word"]);
    check("thingName:(a ▸and b)", &["and is searched for"]);
    check("thingName:and", &[]);
    check("attributes.a:▸\"\"", &["found nowhere"]);
    check("attributes.fw<▸1.10.0", &["compared as texts"]);
    check("attributes.fw:[▸\"1.9.0\" TO *]", &["compared as texts"]);
    check("attributes.fw<1.9", &[]);
    check("attributes.fw:1.10.0", &[]);
}
