//! `devices.csv`: one device a row, columns found by their heading.
//!
//! `thingName` is required; `thingType`, `groups` (separated by `;`),
//! `billingGroup`, `custody`, `issuer` and any number of `attributes.NAME` may
//! be there, in any order. An empty cell means what a missing column means.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use lamplighter_domain::device::Issuer;

use crate::failure::Failure;

/// Where a device's private key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Custody {
    /// Made here; the service sees a signing request only
    Device,
    /// Made by the service, kept encrypted, handed out once
    Vault,
}

/// What is asked for one device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) thing_name: String,
    pub(crate) thing_type: Option<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) billing_group: Option<String>,
    pub(crate) custody: Option<Custody>,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) attributes: BTreeMap<String, String>,
}

enum Column {
    ThingName,
    ThingType,
    Groups,
    BillingGroup,
    Custody,
    Issuer,
    Attribute(String),
}

const COLUMNS: &str = "The columns are thingName, thingType, groups (separated by `;`), \
                       billingGroup, custody, issuer and attributes.NAME.";

fn column(heading: &str) -> Option<Column> {
    Some(match heading {
        "thingName" => Column::ThingName,
        "thingType" => Column::ThingType,
        "groups" => Column::Groups,
        "billingGroup" => Column::BillingGroup,
        "custody" => Column::Custody,
        "issuer" => Column::Issuer,
        _ => Column::Attribute(
            heading
                .strip_prefix("attributes.")
                .filter(|name| !name.is_empty())?
                .to_owned(),
        ),
    })
}

/// Reads all rows, or says in which line the file is wrong.
pub(crate) fn read(source: impl Read) -> Result<Vec<Row>, Failure> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let columns = columns(reader.headers().map_err(|error| broken(&error))?)?;
    let mut rows = Vec::new();
    let mut lines = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(|error| broken(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let row = row(&columns, &record)
            .map_err(|reason| Failure::usage(format!("line {line}: {reason}"), COLUMNS))?;
        if let Some(first) = lines.insert(row.thing_name.clone(), line) {
            return Err(Failure::usage(
                format!("line {line}: {} is in line {first} already", row.thing_name),
                "Name each device once.",
            ));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(Failure::usage("the file names no device", COLUMNS));
    }
    Ok(rows)
}

fn columns(headings: &csv::StringRecord) -> Result<Vec<Column>, Failure> {
    let mut columns = Vec::new();
    for (index, heading) in headings.iter().enumerate() {
        // Spreadsheets put a byte order mark before the first heading.
        let heading = heading.trim_start_matches('\u{feff}');
        let known = column(heading)
            .ok_or_else(|| Failure::usage(format!("{heading:?} is no column"), COLUMNS))?;
        if headings.iter().take(index).any(|other| other == heading) {
            return Err(Failure::usage(
                format!("the column {heading} is there twice"),
                COLUMNS,
            ));
        }
        columns.push(known);
    }
    if !columns
        .iter()
        .any(|column| matches!(column, Column::ThingName))
    {
        return Err(Failure::usage("the column thingName is missing", COLUMNS));
    }
    Ok(columns)
}

fn row(columns: &[Column], record: &csv::StringRecord) -> Result<Row, String> {
    let mut row = Row::default();
    for (column, cell) in columns.iter().zip(record) {
        if cell.is_empty() {
            continue;
        }
        let text = cell.to_owned();
        match column {
            Column::ThingName => row.thing_name = text,
            Column::ThingType => row.thing_type = Some(text),
            Column::BillingGroup => row.billing_group = Some(text),
            Column::Groups => {
                row.groups = cell
                    .split(';')
                    .map(|group| group.trim().to_owned())
                    .filter(|group| !group.is_empty())
                    .collect();
            }
            Column::Custody => {
                row.custody = Some(match cell {
                    "device" => Custody::Device,
                    "vault" => Custody::Vault,
                    other => return Err(format!("custody is {other:?}, not device or vault")),
                });
            }
            Column::Issuer => {
                row.issuer = Some(Issuer::parse(cell).map_err(|failure| failure.reason)?);
            }
            Column::Attribute(name) => {
                row.attributes.insert(name.clone(), text);
            }
        }
    }
    if row.thing_name.is_empty() {
        return Err("thingName is empty".to_owned());
    }
    Ok(row)
}

fn broken(error: &csv::Error) -> Failure {
    Failure::usage(
        error.to_string(),
        "Give every row as many cells as there are headings.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Row>, Failure> {
        read(text.as_bytes())
    }

    fn refused(text: &str, with: &str) {
        let failure = read_text(text).expect_err(text);
        assert!(
            failure.reason.contains(with),
            "{text:?}: {}",
            failure.reason
        );
        assert_eq!(failure.exit.code(), 2);
    }

    #[test]
    fn columns_are_found_by_heading() {
        let rows = read_text(
            "\u{feff}custody,attributes.city,thingName,groups,thingType,billingGroup,issuer\n\
             device,milan,milan-1, milan ; milan-navigli,streetlight,billing-milan,kms-ca\n\
             ,,milan-2,,,,\n",
        )
        .unwrap();
        assert_eq!(
            rows,
            [
                Row {
                    thing_name: "milan-1".to_owned(),
                    thing_type: Some("streetlight".to_owned()),
                    groups: vec!["milan".to_owned(), "milan-navigli".to_owned()],
                    billing_group: Some("billing-milan".to_owned()),
                    custody: Some(Custody::Device),
                    issuer: Some(Issuer::KmsCa),
                    attributes: BTreeMap::from([("city".to_owned(), "milan".to_owned())]),
                },
                Row {
                    thing_name: "milan-2".to_owned(),
                    ..Row::default()
                },
            ]
        );
    }

    #[test]
    fn a_wrong_file_says_where() {
        refused("", "thingName is missing");
        refused("thingName\n", "no device");
        refused("thingType\nx\n", "thingName is missing");
        refused("thingName,wattage\nx,40\n", "\"wattage\" is no column");
        refused(
            "thingName,attributes.\nx,40\n",
            "\"attributes.\" is no column",
        );
        refused("thingName,thingName\nx,y\n", "twice");
        refused(
            "thingName,custody\nx,device\ny,safe\n",
            "line 3: custody is \"safe\"",
        );
        refused(
            "thingName,issuer\nx,acm\n",
            "line 2: there is no issuer \"acm\"",
        );
        refused("thingName,custody\n,device\n", "line 2: thingName is empty");
        refused("thingName\nx\ny\nx\n", "line 4: x is in line 2 already");
        refused("thingName,custody\nx\n", "record 1");
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic() {
        for bytes in [
            &b"\xff\xfe"[..],
            b"thingName\n\xff\n",
            b"\"",
            b"thingName\n\"x",
            b"\0",
        ] {
            let _ = read(bytes);
        }
        assert!(read(&b"thingName\n\xff\n"[..]).is_err());
    }
}
