//! One change of one device, over more and more definitions.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lamplighter_benches::engines;
use lamplighter_benches::workload::{Density, Kind, Workload};
use lamplighter_domain::group::matcher::Matcher;
use lamplighter_domain::group::{Document, Language};
use serde_json::{Map, Value, json};

const SIZES: [usize; 5] = [1, 100, 1000, 10_000, 50_000];
/// A program of CEL takes long to compile, and a change of 10,000 to run.
const MOST_FOR_CEL: usize = 10_000;

fn changes(criterion: &mut Criterion) {
    for kind in Kind::ALL {
        for density in Density::ALL {
            let name = format!("{}-{}", kind.name(), density.name());
            let mut group = criterion.benchmark_group(name);
            for size in SIZES {
                let workload = Workload::new(kind, density, size);
                let matcher = engines::matcher(&workload);
                let mut ours = engines::lamplighter(&matcher, &workload);
                group.bench_function(BenchmarkId::new("lamplighter", size), |b| {
                    b.iter(|| black_box(ours()));
                });
                let mut naive = engines::naive(&workload);
                group.bench_function(BenchmarkId::new("naive", size), |b| {
                    b.iter(|| black_box(naive()));
                });
                if let Some(mut a_tree) = engines::a_tree(&workload) {
                    group.bench_function(BenchmarkId::new("a-tree", size), |b| {
                        b.iter(|| black_box(a_tree()));
                    });
                }
                if size <= MOST_FOR_CEL {
                    let mut cel = engines::cel(&workload);
                    group.bench_function(BenchmarkId::new("cel-interpreter", size), |b| {
                        b.iter(|| black_box(cel()));
                    });
                }
            }
        }
    }
}

/// A document of 8 KB against 10,000 definitions of twelve patterns each, asked
/// all at once.
fn hostile(criterion: &mut Criterion) {
    let texts: Vec<_> = (0..10_000)
        .map(|n| {
            let terms: Vec<_> = (0..12).map(|term| format!("w{n}*{term}*")).collect();
            (format!("g{n}"), terms.join(" OR "))
        })
        .collect();
    let definitions = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str(), Language::Aws));
    let matcher = Matcher::compile(definitions).matcher;
    let fields: Map<_, _> = (0..600)
        .map(|n| (format!("f{n}"), Value::from(format!("w{n}xx0x"))))
        .collect();
    let wide = Document::from_json(&json!({ "shadow": { "reported": fields } })).expect("fields");
    let longest: Vec<_> = (0..100)
        .map(|n| {
            let run = "a".repeat(470 - n);
            (
                format!("g{n}"),
                format!("shadow.reported.m:a*{run}??{run}b*b"),
            )
        })
        .collect();
    let longest = longest.iter().map(|(name, text)| {
        let text: &str = text;
        (name.as_str(), text, Language::Aws)
    });
    let patterns = Matcher::compile(longest).matcher;
    let word = Document::from_json(&json!({ "shadow": { "reported": { "m": "a".repeat(8000) } } }))
        .expect("a word");
    let mut group = criterion.benchmark_group("hostile");
    for (name, matcher, document) in [
        (
            "10,000 definitions of 12 patterns, 600 fields",
            &matcher,
            &wide,
        ),
        ("100 longest patterns, one word of 8,000", &patterns, &word),
    ] {
        let mut session = matcher.session();
        group.bench_function(BenchmarkId::new(name, matcher.names().len()), |b| {
            b.iter(|| black_box(session.members(document).count()));
        });
    }
}

criterion_group! {
    name = groups;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600));
    targets = changes, hostile
}
criterion_main!(groups);
