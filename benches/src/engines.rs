//! The engines: each is set up with a workload, and then makes one change of
//! the device at each call.

use a_tree::{ATree, AttributeDefinition};
use cel_interpreter::{Context, Program};
use lamplighter_domain::group::matcher::Matcher;
use lamplighter_domain::group::{Document, Language, Query};
use serde_json::Value;

use crate::workload::Workload;

fn documents(workload: &Workload) -> Vec<Document> {
    workload
        .documents
        .iter()
        .map(|document| Document::from_json(document).expect("a document"))
        .collect()
}

fn queries(workload: &Workload) -> Vec<Query> {
    workload
        .definitions
        .iter()
        .map(|definition| {
            Query::parse(&definition.query, Language::Aws)
                .expect("a query")
                .query
        })
        .collect()
}

pub fn matcher(workload: &Workload) -> Matcher {
    let named = queries(workload)
        .into_iter()
        .enumerate()
        .map(|(i, query)| (format!("g{i:05}"), query));
    Matcher::of_queries(named).matcher
}

/// Ours. Answers how many definitions the change touched.
pub fn lamplighter<'a>(
    matcher: &'a Matcher,
    workload: &Workload,
) -> impl FnMut() -> usize + use<'a> {
    let documents = documents(workload);
    let mut session = matcher.session();
    let mut members = session.members(&documents[0]);
    let mut at = 0;
    move || {
        let next = (at + 1) % documents.len();
        let change = session.change(&documents[at], &documents[next], &mut members);
        at = next;
        change.evaluated
    }
}

/// Every definition asked anew, and compared with what was stored.
pub fn naive(workload: &Workload) -> impl FnMut() -> usize + use<> {
    let (documents, queries) = (documents(workload), queries(workload));
    let mut members = vec![false; queries.len()];
    let mut at = 0;
    move || {
        at = (at + 1) % documents.len();
        let mut changed = 0;
        for (query, member) in queries.iter().zip(&mut members) {
            let holds = query.matches(&documents[at]);
            changed += usize::from(holds != *member);
            *member = holds;
        }
        changed
    }
}

fn text<'a>(document: &'a Value, path: &str) -> &'a str {
    document.pointer(path).and_then(Value::as_str).unwrap_or("")
}

fn number(document: &Value, path: &str) -> i64 {
    document.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The crate a-tree: an index over all definitions, searched with the whole
/// device. Nothing if it cannot express one of them.
pub fn a_tree(workload: &Workload) -> Option<impl FnMut() -> usize + use<>> {
    let mut tree = ATree::<u64>::new(&[
        AttributeDefinition::string("site"),
        AttributeDefinition::string("serial"),
        AttributeDefinition::string("lot"),
        AttributeDefinition::integer("watts"),
        AttributeDefinition::integer("level"),
    ])
    .expect("attributes");
    for (i, definition) in workload.definitions.iter().enumerate() {
        let expression = definition.atree.as_deref()?;
        tree.insert(&(i as u64), expression).expect("an expression");
    }
    let documents = workload.documents.clone();
    let mut at = 0;
    Some(move || {
        at = (at + 1) % documents.len();
        let document = &documents[at];
        let mut event = tree.make_event();
        event
            .with_string("site", text(document, "/attributes/site"))
            .expect("a site");
        event
            .with_string("serial", text(document, "/attributes/serial"))
            .expect("a serial");
        event
            .with_string("lot", text(document, "/attributes/lot"))
            .expect("a lot");
        let watts = text(document, "/attributes/watts").parse().unwrap_or(0);
        event.with_integer("watts", watts).expect("watts");
        event
            .with_integer("level", number(document, "/shadow/reported/level"))
            .expect("a level");
        let event = event.build().expect("an event");
        tree.search(&event).expect("a search").matches().len()
    })
}

/// The crate cel-interpreter: every definition's program run.
pub fn cel(workload: &Workload) -> impl FnMut() -> usize + use<> {
    let programs: Vec<_> = workload
        .definitions
        .iter()
        .map(|definition| Program::compile(&definition.cel).expect("a program"))
        .collect();
    let documents = workload.documents.clone();
    let mut at = 0;
    move || {
        at = (at + 1) % documents.len();
        let document = &documents[at];
        let mut context = Context::default();
        context.add_variable_from_value("site", text(document, "/attributes/site").to_owned());
        context.add_variable_from_value("serial", text(document, "/attributes/serial").to_owned());
        context.add_variable_from_value("lot", text(document, "/attributes/lot").to_owned());
        let watts: i64 = text(document, "/attributes/watts").parse().unwrap_or(0);
        context.add_variable_from_value("watts", watts);
        context.add_variable_from_value("level", number(document, "/shadow/reported/level"));
        programs
            .iter()
            .filter(|program| {
                matches!(
                    program.execute(&context),
                    Ok(cel_interpreter::Value::Bool(true))
                )
            })
            .count()
    }
}
