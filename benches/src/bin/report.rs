//! What criterion measured, as one JSON file and one page.
//!
//! `report CRITERION_DIR OUTPUT_DIR`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};

/// What the design asks for, in changes a second on one core.
const TARGETS: [(&str, u64, f64); 2] = [
    ("mixed-sparse", 10_000, 250_000.0),
    ("mixed-dense", 10_000, 60_000.0),
];

const CANNOT: [&str; 3] = [
    "a-tree has no patterns: it takes no part in wildcard and mixed. It answers NOT over a missing \
     field otherwise than AWS IoT; here no field is missing.",
    "cel-interpreter runs every program; above 10,000 it was left out, since compiling them takes \
     minutes.",
    "a-tree and cel-interpreter search the whole device each time; they know nothing of the \
     membership before. Words, case folding, numbers in texts, arrays and documents are not theirs: \
     they are given five plain variables.",
];

/// Nanoseconds by group, engine and number of definitions.
type Measured = BTreeMap<String, BTreeMap<String, BTreeMap<u64, f64>>>;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, criterion, output] = arguments.as_slice() else {
        eprintln!("usage: report CRITERION_DIR OUTPUT_DIR");
        std::process::exit(2);
    };
    let measured = read(Path::new(criterion));
    let output = Path::new(output);
    fs::create_dir_all(output).expect("a folder for the report");
    let report = report(&measured);
    let text = serde_json::to_string_pretty(&report).expect("JSON");
    fs::write(output.join("report.json"), text).expect("report.json");
    fs::write(output.join("index.html"), page(&measured, &report)).expect("index.html");
    print!("{}", table(&measured));
    println!("\n{}", output.join("index.html").display());
}

/// Every estimate below the folder, by what its benchmark says of itself.
fn read(folder: &Path) -> Measured {
    let mut measured = Measured::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        open.extend(
            entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
        if !folder.ends_with("new") {
            continue;
        }
        let json = |name: &str| -> Option<Value> {
            serde_json::from_str(&fs::read_to_string(folder.join(name)).ok()?).ok()
        };
        if let (Some(about), Some(estimates)) = (json("benchmark.json"), json("estimates.json")) {
            let text = |name: &str| about[name].as_str().unwrap_or("").to_owned();
            measured
                .entry(text("group_id"))
                .or_default()
                .entry(text("function_id"))
                .or_default()
                .insert(
                    text("value_str").parse().unwrap_or(0),
                    estimates["median"]["point_estimate"]
                        .as_f64()
                        .unwrap_or(0.0),
                );
        }
    }
    measured
}

fn report(measured: &Measured) -> Value {
    let mut rows = Vec::new();
    for (group, engines) in measured {
        for (engine, sizes) in engines {
            for (size, nanoseconds) in sizes {
                let naive = engines.get("naive").and_then(|naive| naive.get(size));
                rows.push(json!({
                    "group": group, "engine": engine, "definitions": size,
                    "nanoseconds": nanoseconds, "changesPerSecond": 1e9 / nanoseconds,
                    "timesFasterThanNaive": naive.map(|naive| naive / nanoseconds),
                }));
            }
        }
    }
    let targets: Vec<_> = TARGETS
        .iter()
        .map(|(group, size, wanted)| {
            let found = ours(measured, group, *size).map(|nanoseconds| 1e9 / nanoseconds);
            json!({
                "group": group, "definitions": size, "wantedPerSecond": wanted,
                "perSecond": found, "met": found.is_some_and(|found| found >= *wanted),
            })
        })
        .collect();
    let flat = ours(measured, "mixed-sparse", 50_000)
        .zip(ours(measured, "mixed-sparse", 100))
        .map(|(many, few)| many / few);
    json!({
        "results": rows,
        "targets": targets,
        "costAt50000OverCostAt100": flat,
        "notExpressed": CANNOT,
    })
}

fn ours(measured: &Measured, group: &str, size: u64) -> Option<f64> {
    measured.get(group)?.get("lamplighter")?.get(&size).copied()
}

fn table(measured: &Measured) -> String {
    let mut text = String::new();
    for (group, engines) in measured {
        let _ = writeln!(text, "{group}");
        for (engine, sizes) in engines {
            let cells: Vec<_> = sizes
                .iter()
                .map(|(size, ns)| format!("{size}: {}", duration(*ns)))
                .collect();
            let _ = writeln!(text, "  {engine:16} {}", cells.join("  "));
        }
    }
    text
}

fn duration(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

const COLOURS: [(&str, &str); 4] = [
    ("lamplighter", "#b45309"),
    ("naive", "#64748b"),
    ("a-tree", "#0f766e"),
    ("cel-interpreter", "#7c3aed"),
];

fn page(measured: &Measured, report: &Value) -> String {
    let mut body = String::new();
    for target in report["targets"].as_array().into_iter().flatten() {
        let _ = writeln!(
            body,
            "<p>{} at {} definitions: {:.0} changes a second, {} wanted: <b>{}</b></p>",
            target["group"].as_str().unwrap_or(""),
            target["definitions"],
            target["perSecond"].as_f64().unwrap_or(0.0),
            target["wantedPerSecond"],
            if target["met"] == true {
                "met"
            } else {
                "not met"
            },
        );
    }
    for (group, engines) in measured {
        let _ = writeln!(body, "<h2>{group}</h2>");
        if engines.contains_key("naive") {
            body.push_str(&plot(engines));
        }
        let _ = writeln!(body, "<table>");
        for (engine, sizes) in engines {
            let _ = write!(body, "<tr><th>{engine}");
            for (size, ns) in sizes {
                let _ = write!(body, "<td>{size}<td><b>{}</b>", duration(*ns));
            }
            let _ = writeln!(body);
        }
        let _ = writeln!(body, "</table>");
    }
    for note in CANNOT {
        let _ = writeln!(body, "<p>{note}</p>");
    }
    format!(
        "<!doctype html><meta charset=utf-8><title>Group matching</title><style>body{{font:15px \
         system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}}td,th{{padding:.1rem .6rem \
         .1rem 0;text-align:left}}svg{{max-width:100%}}</style><h1>Group matching: one change of \
         one device</h1><p>Time a change against the number of definitions, both logarithmic; one \
         thread.</p>\n{body}"
    )
}

/// Time against definitions, both logarithmic.
fn plot(engines: &BTreeMap<String, BTreeMap<u64, f64>>) -> String {
    let (width, height, left, bottom) = (620.0, 300.0, 60.0, 30.0);
    let x = |size: f64| left + size.log10() / 4.8 * (width - left - 130.0);
    // From 100 ns to 1 s.
    let y = |ns: f64| height - bottom - (ns.log10() - 2.0) / 7.0 * (height - bottom - 10.0);
    let mut svg = format!("<svg viewBox='0 0 {width} {height}' width={width}>");
    for exponent in 2..=9 {
        let (at, label) = (y(10_f64.powi(exponent)), duration(10_f64.powi(exponent)));
        let _ = write!(
            svg,
            "<line x1={left} x2={} y1={at:.1} y2={at:.1} stroke=#e2e8f0 /><text x=0 y={:.1} \
             font-size=11>{label}</text>",
            width - 130.0,
            at + 4.0
        );
    }
    for size in [1, 100, 1000, 10_000, 50_000] {
        let _ = write!(
            svg,
            "<text x={:.1} y={} font-size=11 text-anchor=middle>{size}</text>",
            x(f64::from(size)),
            height - 10.0
        );
    }
    for (engine, colour) in COLOURS {
        let Some(sizes) = engines.get(engine) else {
            continue;
        };
        let points: Vec<_> = sizes
            .iter()
            .map(|(size, ns)| format!("{:.1},{:.1}", x(*size as f64), y(*ns)))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=none stroke={colour} stroke-width=2 points='{}'/>",
            points.join(" ")
        );
        if let Some((size, ns)) = sizes.last_key_value() {
            let _ = write!(
                svg,
                "<text x={:.1} y={:.1} font-size=12 fill={colour}>{engine}</text>",
                x(*size as f64) + 6.0,
                y(*ns) + 4.0
            );
        }
    }
    svg + "</svg>\n"
}
