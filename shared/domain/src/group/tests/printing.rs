//! The canonical form, and that it reads back as the same query.

use proptest::prelude::*;

use super::*;

fn check(query: &str, canonical: &str) {
    let parsed = read_extended(query);
    assert_eq!(parsed.to_string(), canonical, "{query}");
    assert_eq!(read_extended(canonical), parsed, "{query}");
}

#[test]
fn one_way_to_write_it() {
    check("a  b\tc", "a AND b AND c");
    check("a AND (b AND c)", "a AND b AND c");
    check("a OR b AND c", "a OR (b AND c)");
    check("a b OR c", "a AND (b OR c)");
    check("-a", "NOT a");
    check("-(a OR b)", "NOT (a OR b)");
    check("NOT (NOT a)", "a");
    check("((a))", "a");
    check("thingName = a", "thingName:a");
    check("thingName:(a OR b*)", "thingName:a OR thingName:b*");
    check("attributes.a:>5", "attributes.a>5");
    check("attributes.a:[* TO 5}", "attributes.a<5");
    check("attributes.a:{\"5\" TO *]", "attributes.a>\"5\"");
    check("attributes.a:[* TO *}", "attributes.a:*");
    check("attributes.a:[ 1   TO 5 }", "attributes.a:[1 TO 5}");
    check("[1 TO *]", "[1 TO *]");
    check("attributes.a:[TO TO TO]", "attributes.a:[TO TO TO]");
    check(
        r"attributes.a:[\* TO new\ york]",
        r"attributes.a:[\* TO new\ york]",
    );
    check("*:*", "*");
    check(r"thingName:\AND", r"thingName:\AND");
    check(r"thingName:\a\-b\:c", r"thingName:a-b\:c");
    check(r"attributes.t:\-5", r"attributes.t:\-5");
    check("attributes.t:[-10 TO -1]", "attributes.t:[-10 TO -1]");
    check(r"attributes.t<=\-1", r"attributes.t<=\-1");
    check(r"a\*b*c\?", r"a\*b*c\?");
    check(r"a&b a\&&b", r"a&b AND a&\&b");
    check(r"a\\b", r"a\\b");
    check(r#"attributes.m:"a\"b\\c*""#, r#"attributes.m:"a\"b\\c*""#);
    check(r"\75:a", r"\75:a");
    check("a?b:c", "a?b:c");
    check(r"attributes.mail:a\@b", r"attributes.mail:a\@b");
    check(
        "shadow.name.gps.reported.l:geo_distance,47.6204,-122.3491,15.5km",
        "shadow.name.gps.reported.l:geo_distance,47.6204,-122.3491,15.5km",
    );
    check("attributes.v:<semver\"1.2\"", "attributes.v<semver\"1.2\"");
    check("attributes.v:semver\"1.2\"", "attributes.v:semver\"1.2\"");
    check(
        "dynamicGroupNames:(a AND b)",
        "dynamicGroupNames:a AND dynamicGroupNames:b",
    );
}

#[test]
fn what_is_too_long_written_out_is_written_short() {
    let field = format!("attributes.{}", "n".repeat(100));
    for inner in [
        "a OR b OR c OR d OR e OR f OR g OR h OR i OR j OR k OR l",
        "a b c -d (e OR f OR (g h)) -(i OR j) k l",
        "a -(b (c OR -(d e))) OR f [1 TO 5] g>=5 h i j k",
    ] {
        let inner = inner.replace("g>=5", ">=5");
        let query = format!("{field}:({inner})");
        let parsed = read(&query);
        let printed = parsed.to_string();
        assert!(printed.len() <= query.len(), "{printed}");
        assert_eq!(read(&printed), parsed, "{printed}");
    }
    // With a wildcard before a term AWS takes 100 bytes, and no space is needed
    // after a quoted text.
    let query = format!("{}?x", r#"a.b:"new york"c.d:"new york""#.repeat(3));
    assert!(query.len() < 100);
    let printed = read(&query).to_string();
    assert!(printed.len() <= query.len(), "{printed}");
    assert_eq!(read(&printed), read(&query), "{printed}");
}

#[test]
fn only_the_extensions_need_the_extended_language() {
    for (query, language) in [
        ("attributes.a:1 OR NOT b", Language::Aws),
        ("a OR NOT attributes.a<semver\"1\"", Language::Extended),
        ("a AND dynamicGroupNames:b", Language::Extended),
    ] {
        assert_eq!(read_extended(query).language(), language, "{query}");
    }
}

/// Terms as people write them, and as they do not.
fn term() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        6 => proptest::char::range('a', 'e').prop_map(String::from),
        2 => prop_oneof![Just("*"), Just("?"), Just("1"), Just("."), Just("-")].prop_map(String::from),
        2 => any::<char>().prop_map(|c| format!("\\{c}")),
        1 => proptest::sample::select(vec!["é", "東", "\\ ", "&", "|", "\\&\\&", "AND", "TO", "+"])
            .prop_map(String::from),
    ];
    let word = proptest::collection::vec(character, 1..5).prop_map(|parts| parts.concat());
    let phrase = "[a-c \\*]{0,6}".prop_map(|text| format!("\"{}\"", text.replace('\\', "\\\\")));
    let bound = prop_oneof![
        Just("*".to_owned()),
        (-9..99_i32).prop_map(|n| n.to_string()),
        "[a-c1.-]{1,4}",
        "\"[a-c ]{0,3}\"",
        Just("\\*\\]".to_owned()),
    ];
    let range = (
        proptest::sample::select(vec!["[", "{"]),
        bound.clone(),
        bound.clone(),
        proptest::sample::select(vec!["]", "}"]),
    )
        .prop_map(|(open, low, high, close)| format!("{open}{low} TO {high}{close}"));
    let compared = prop_oneof![
        "[a-c]{1,3}",
        (0..99_u32).prop_map(|n| n.to_string()),
        "\"[a-c ]{0,3}\""
    ];
    let comparison = (
        proptest::sample::select(vec!["<", "<=", ">", ">=", ":>"]),
        compared.clone(),
    );
    let field = proptest::sample::select(vec![
        "thingName",
        "attributes.a",
        "attributes.b\\:c",
        "shadow.reported.*.x",
        "dynamicGroupNames",
        "\\75",
    ]);
    let operand = prop_oneof![word, phrase, range];
    prop_oneof![
        operand.clone(),
        (field.clone(), operand).prop_map(|(field, operand)| format!("{field}:{operand}")),
        (field.clone(), comparison)
            .prop_map(|(field, (sign, value))| format!("{field}{sign}{value}")),
        (field, compared).prop_map(|(field, _)| format!("{field}<=semver\"1.2\"")),
    ]
}

fn query() -> impl Strategy<Value = String> {
    term().prop_recursive(4, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("NOT ({a})")),
            inner.clone().prop_map(|a| format!("-({a})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} AND {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} OR {b}")),
            "[a-c]( (OR |AND |-)?[a-c]){0,5}".prop_map(|group| format!("attributes.a:({group})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// Whatever is read is printed as something that reads back as itself, and
    /// is its own canonical form.
    #[test]
    fn what_is_printed_reads_back(query in query()) {
        if let Ok(parsed) = Query::parse(&query, Language::Extended) {
            let printed = parsed.query.to_string();
            let again = Query::parse(&printed, Language::Extended)
                .map_err(|error| TestCaseError::fail(format!("{query} → {printed}: {error}")))?;
            prop_assert_eq!(&again.query, &parsed.query, "{} → {}", query, printed);
            prop_assert_eq!(&again.query.to_string(), &printed);
            // What is written out in full is mixed nowhere.
            let mixed = again.warnings.iter().any(|warning| warning.text.contains("mixed"));
            prop_assert!(!mixed || print::brief_text(&parsed.query) == printed, "{}", printed);
        }
    }

    /// Written short, it is no longer than it was, whatever it was.
    #[test]
    fn written_short_it_fits(query in query()) {
        if let Ok(parsed) = Query::parse(&query, Language::Extended) {
            let brief = print::brief_text(&parsed.query);
            let again = Query::parse(&brief, Language::Extended)
                .map_err(|error| TestCaseError::fail(format!("{query} → {brief}: {error}")))?;
            prop_assert_eq!(again.query, parsed.query, "{} → {}", query, brief);
            prop_assert!(brief.len() <= query.len(), "{} → {}", query, brief);
        }
    }
}
