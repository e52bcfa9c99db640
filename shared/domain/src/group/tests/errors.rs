//! What is refused, where the error points, and what it says.

use super::*;

/// `marked` has a `▸` before the character at fault.
fn check(marked: &str, reason: &str) {
    check_in(Language::Aws, marked, reason);
}

fn check_in(language: Language, marked: &str, reason: &str) {
    let at = marked.chars().position(|c| c == '▸').unwrap();
    let query = marked.replace('▸', "");
    match Query::parse(&query, language) {
        Ok(parsed) => panic!("{query} is read as {}", parsed.query),
        Err(error) => {
            assert!(error.reason.contains(reason), "{query}: {error}");
            assert_eq!(error.at, at, "{query}: {error}");
            assert!(!error.remedy.is_empty(), "{query}");
        }
    }
}

#[test]
fn nothing_or_half_of_something() {
    check("▸", "the query is empty");
    check("  \n▸", "the query is empty");
    check("a AND▸", "a clause is missing");
    check("a OR ▸", "a clause is missing");
    check("NOT▸", "the query is empty");
    check("a AND NOT▸", "a clause is missing");
    check("thingName:▸", "a value is missing");
    check("thingName:  ▸", "a value is missing");
    check("thingName:(a OR ▸)", "a value is missing");
    check("thingName:▸()", "the parentheses are empty");
    check("a AND ▸()", "the parentheses are empty");
    check("(a OR▸)", "a clause is missing");
    check("attributes.a>▸", "a value is missing");
    check("attributes.a:<= ▸", "a value is missing");
}

#[test]
fn stray_operators() {
    check("▸AND a", "AND stands where a term should");
    check("▸OR a", "OR stands");
    check("a AND ▸OR b", "OR stands");
    check("NOT ▸AND a", "AND stands");
    check("thingName:▸AND", "AND stands");
    check("thingName:(▸OR a)", "OR stands");
    check("attributes.a>▸NOT", "NOT stands");
    check("NOT ▸NOT a", "NOT stands twice");
    check("NOT ▸-a", "NOT stands twice");
    check("-▸-a", "NOT stands twice");
    check("a ▸&& b", "&& is no operator");
    check("a▸&&b", "&& is no operator");
    check("a ▸|| b", "|| is no operator");
    check("▸!a", "! is no operator");
    check("a▸!b", "! is no operator");
    check("▸+a b", "+ is no operator");
    check("attributes.n:▸+7", "+ is no operator");
    check("▸:a", ": follows the name of a field");
    check("thingName:a▸:b", ": follows the name of a field");
    check("thingName:a▸=b", "= follows the name of a field");
    check("▸<5", "< compares a field");
    check("attributes.a<▸<5", "< compares");
    check("attributes.a:▸:5", ": follows");
    check(
        "attributes.m:(attributes.n▸:5)",
        "inside the parentheses of another field",
    );
    check(
        "attributes.m:(attributes.n▸>5)",
        "inside the parentheses of another field",
    );
    check("▸75:abc", "a number is no name of a field");
}

#[test]
fn unbalanced() {
    check("▸(a", "never closed");
    check("▸(a OR (b AND c)", "never closed");
    check("thingName:▸(a", "never closed");
    check("a▸)", "was never opened");
    check("▸)", "was never opened");
    check("▸\"a", "never closed");
    check("thingName:▸\"a", "never closed");
    check(r#"thingName:▸"a\""#, "never closed");
    check("attributes.a:▸[1 TO 5", "never closed");
    check("attributes.a:▸[1", "never closed");
    check("attributes.a:1 TO 5▸]", "ends a range that was never begun");
    check("a▸}", "ends a range that was never begun");
    check("thingName:a▸\\", "a backslash at the end");
    check("thingName:\"a▸\\", "a backslash at the end");
}

#[test]
fn ranges() {
    check("attributes.a:[TO ▸5]", "has TO, in capitals");
    check("attributes.a:[1 ▸5]", "has TO, in capitals");
    check("attributes.a:[1 ▸to 5]", "has TO, in capitals");
    check("attributes.a:[1▸]", "has TO, in capitals");
    check("attributes.a:[1 TO ▸]", "the range's upper end is missing");
    check("attributes.a:[▸]", "the range's lower end is missing");
    check("attributes.a:[1 TO 2 ▸3]", "two ends and no more");
    check("attributes.a:[new TO york ▸city]", "two ends and no more");
    check("attributes.a:[▸a* TO b]", "no wildcards within");
    check("attributes.a:[a TO ▸b?]", "no wildcards within");
    check("attributes.a:[a▸@b TO c]", "@ is not supported");
    check("attributes.a<▸5*", "a value, not a pattern");
    check("attributes.a>▸*", "a value, not a pattern");
    check("attributes.a<▸-5", "unescaped hyphen");
    check("attributes.a:▸-5", "unescaped hyphen");
    check("attributes.a< ▸=5", "= follows");
}

#[test]
fn what_aws_does_not_support() {
    check("thingName:a▸~", "no fuzzy");
    check("thingName:\"a b\"▸~2", "no fuzzy");
    check("thingName:a▸^2", "no boosting");
    check("(a)▸^2", "no boosting");
    check("thingName:▸/a.*/", "no regular expressions");
    check("thingName:a▸/b", "no regular expressions");
    for c in "`@#%;'".chars() {
        check(&format!("thingName:a▸{c}b"), "is not supported");
        check(&format!("▸{c}"), "is not supported");
    }
    check("thingName:a▸,b", "geo_distance only");
    check(
        "deviceDefender.p.b.inViolation:▸FALSE",
        "inViolation:false is no valid query",
    );
    check(
        "deviceDefender.p.b.inViolation:(▸\"false\" OR true)",
        "inViolation:false is no valid query",
    );
    check("shadow.reported.l:▸geo_distance,47.6", "takes a latitude");
    check("shadow.reported.l:▸geo_distance,97,1,5km", "the latitude");
    check("shadow.reported.l:▸geo_distance,7,181,5km", "the longitude");
    check("shadow.reported.l:▸geo_distance,7,1,5", "the distance");
    check("▸geo_distance,7,1,5km", "needs the field");
    check(
        "thingName:a AND attributes.v<▸semver\"1.10.0\"",
        "Lamplighter's own",
    );
    check_in(
        Language::Extended,
        "attributes.v<semver▸\"x\"",
        "is no version",
    );
}

#[test]
fn limits() {
    let terms = |count: usize| vec!["a"; count].join(" ");
    assert!(Query::parse(&terms(12), Language::Aws).is_ok());
    check(&format!("{} ▸a", terms(12)), "this is term 13");
    check(&format!("thingName:({} ▸a)", terms(12)), "this is term 13");
    check("attributes.m:▸a*b*c*d", "this term has 3 *");
    check("attributes.m:▸a??????", "this term has 6 ?");
    check("attributes.m:(a OR ▸a*b*c*d)", "this term has 3 *");
    assert!(Query::parse(r"attributes.m:a*b*c\*d", Language::Aws).is_ok());
    check(
        "thingName:*a AND thingName:▸?b",
        "a second term begins with a wildcard",
    );
    check("▸*b*c*", "this term has 3 *");
    assert!(Query::parse("* AND thingName:* AND NOT a:* AND *b", Language::Aws).is_ok());

    let of = |length: usize| format!("thingName:{}", "x".repeat(length - "thingName:".len()));
    assert!(Query::parse(&of(1000), Language::Aws).is_ok());
    check(
        &format!("{}▸x", of(1000)),
        "1001 bytes, and AWS IoT takes 1000",
    );
    // Bytes are counted, and characters pointed at.
    check(&format!("{}▸é", of(999)), "1001 bytes");
    let leading =
        |length: usize| format!("thingName:*{}", "x".repeat(length - "thingName:*".len()));
    assert!(Query::parse(&leading(100), Language::Aws).is_ok());
    check(
        &format!("{}▸x", leading(100)),
        "since a term begins with a wildcard",
    );
    assert!(Query::parse(&format!("a:* {}", of(200)), Language::Aws).is_ok());
}

#[test]
fn the_deepest_query_is_read() {
    let query = format!("{}{}{}", "(".repeat(499), "a", ")".repeat(499));
    assert_eq!(read(&query), read("a"));
    let query = format!("{}{}{}", "-(".repeat(332), "a", ")".repeat(332));
    assert_eq!(read(&query), read("a"));
}

#[test]
fn the_pointer_is_under_the_character() {
    let query = "thingName:a AND OR b";
    let error = Query::parse(query, Language::Aws).unwrap_err();
    assert_eq!(
        error.pointing(query),
        "thingName:a AND OR b\n                ^"
    );
    let query = format!(
        "{} AND OR {}",
        ["thingName:abc"; 5].join(" AND "),
        "x".repeat(50)
    );
    let error = Query::parse(&query, Language::Aws).unwrap_err();
    let shown = error.pointing(&query);
    let (line, caret) = shown.split_once('\n').unwrap();
    let at = caret.chars().count() - 1;
    assert_eq!(line.chars().skip(at).take(2).collect::<String>(), "OR");
    assert!(line.starts_with('…') && line.ends_with('…'), "{line}");
    assert_eq!(
        error.to_string(),
        "character 91: OR stands where a term should. Remove it, or put a clause before it; \
         to search for the word write \\OR"
    );
}
