//! Which certificates are due when: the query of a listing, and its pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::due::walk::{Position, Read, Row};
use crate::failure::Failure;
use crate::listing::{USUAL, decoded, once, read_limit};
use crate::time::{Day, Moment};

/// A page reads about this many of the index's partitions at most, so that a
/// long time in which nothing is due does not take a request past its own.
const MOST_READS: usize = 1600;
/// How many are read at once. A page that finds something begins with fewer.
const AT_ONCE: usize = 16;
/// The longest time that one listing covers, in days, and how far ahead of
/// today one reaches that begins with what is overdue: each day costs sixteen
/// reads, whether or not anything is due.
const MOST_DAYS: u64 = 366;

/// The days asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days {
    /// The first; without one, the oldest on which something may be due.
    pub from: Option<Day>,
    /// The last.
    pub to: Day,
}

/// Which certificates, and how many of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueQuery {
    /// The largest page.
    pub limit: usize,
    /// Due on these days.
    pub days: Days,
    /// Where the page begins, if not with the first day.
    pub position: Option<Position>,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(flatten)]
    position: Position,
    /// The last day, to which the position belongs.
    #[serde(rename = "l")]
    last: Day,
}

impl DueQuery {
    /// Reads a query string: `due=2026-12-01`, `due=2026-12-01..2026-12-31`, or
    /// `due=..2026-12-31` with all that is overdue.
    ///
    /// # Errors
    /// `Invalid`, with the parameter.
    pub fn parse(query: &str, today: Day) -> Result<Self, Failure> {
        let (mut limit, mut cursor, mut days) = (None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "limit" => once(&name, &mut limit, read_limit(&value)?)?,
                "cursor" => once(&name, &mut cursor, value)?,
                "due" => once(&name, &mut days, Days::parse(&value, today)?)?,
                _ => {
                    return Err(Failure::invalid(
                        &name,
                        format!("certificates cannot be listed by {name}"),
                        "Use due, limit and cursor.",
                    ));
                }
            }
        }
        let days = days.ok_or_else(|| bad_days("due is missing"))?;
        Ok(Self {
            limit: limit.unwrap_or(USUAL),
            position: cursor.map(|cursor| days.position(&cursor)).transpose()?,
            days,
        })
    }
}

fn bad_days(reason: impl Into<String>) -> Failure {
    Failure::invalid(
        "due",
        reason,
        "Write due=2026-12-01, due=2026-12-01..2026-12-31 or due=..2026-12-31.",
    )
}

impl Days {
    fn parse(text: &str, today: Day) -> Result<Self, Failure> {
        let day = |part| Day::parse(part).ok_or_else(|| bad_days(format!("{part:?} is no day")));
        let (from, to) = match text.split_once("..") {
            None => (Some(day(text)?), day(text)?),
            Some(("", to)) => (None, day(to)?),
            Some((from, to)) => (Some(day(from)?), day(to)?),
        };
        if from.is_some_and(|from| to < from) {
            return Err(bad_days("the days end before they begin"));
        }
        if from.unwrap_or(today).plus(MOST_DAYS) < to {
            return Err(Failure::invalid(
                "due",
                format!("the days reach further than {MOST_DAYS} days"),
                "Ask for a year at a time: due=2026-12-01..2027-11-30.",
            ));
        }
        Ok(Self { from, to })
    }

    fn position(self, cursor: &str) -> Result<Position, Failure> {
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|json| serde_json::from_slice::<Cursor>(&json).ok())
            .filter(|cursor| cursor.last == self.to && cursor.position.day <= self.to)
            .map(|cursor| cursor.position)
            .ok_or_else(|| {
                Failure::invalid(
                    "cursor",
                    "it is no cursor of this listing",
                    "Send the nextCursor of the page before with the same days, or none.",
                )
            })
    }
}

/// A page as it is filled.
#[derive(Debug)]
pub struct DuePage {
    limit: usize,
    last: Day,
    position: Position,
    reads: usize,
    /// The certificates found.
    pub rows: Vec<Row>,
}

impl DuePage {
    /// An empty page; `oldest` is the first day on which something may be due.
    pub fn new(query: DueQuery, oldest: Day) -> Self {
        let from = query.days.from.unwrap_or(oldest.min(query.days.to));
        Self {
            limit: query.limit,
            last: query.days.to,
            position: query.position.unwrap_or(Position::start_of(from)),
            reads: 0,
            rows: Vec::new(),
        }
    }

    /// What to read next, all at once; nothing when the page is full or the
    /// days end. What is read beyond the page is read in vain, so that each
    /// time it is about as much again as before.
    pub fn next_reads(&self) -> Vec<Read> {
        let limit = self.limit - self.rows.len();
        if limit == 0 || self.reads >= MOST_READS {
            return Vec::new();
        }
        let after = |position: &Position| {
            let mut next = position.clone();
            next.leave_partition();
            Some(next)
        };
        std::iter::successors(Some(self.position.clone()), after)
            .take_while(|position| position.day <= self.last)
            .take((self.reads + 1).min(AT_ONCE))
            .map(|position| Read {
                position,
                until: Moment(u64::MAX),
                limit,
            })
            .collect()
    }

    /// Takes what those reads brought, in their order, each with whether its
    /// partition has more. What does not fit is the next page's.
    pub fn take(&mut self, found: Vec<(Vec<Row>, bool)>) {
        self.reads += found.len();
        for (mut rows, more) in found {
            let room = self.limit - self.rows.len();
            let more = more || rows.len() > room;
            rows.truncate(room);
            if let Some(row) = rows.last() {
                self.position.pass(row);
            }
            self.rows.extend(rows);
            if more {
                return;
            }
            self.position.leave_partition();
        }
    }

    fn done(&self) -> bool {
        self.position.day > self.last
    }

    /// Where the next page begins; nothing after the last.
    pub fn next_cursor(&self) -> Option<String> {
        let cursor = Cursor {
            position: self.position.clone(),
            last: self.last,
        };
        let json = serde_json::to_vec(&cursor).unwrap_or_default();
        (!self.done()).then(|| URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Issuer;
    use crate::due::{Due, RenewalAge};
    use crate::names::{CertificateId, ThingName};
    use crate::time::DAY_MILLIS;

    fn today() -> Day {
        Day::parse("2026-11-30").unwrap()
    }

    fn check(query: &str, refused: Option<&str>) {
        let parsed = DueQuery::parse(query, today());
        let field = parsed
            .as_ref()
            .err()
            .and_then(|failure| failure.field.clone());
        assert_eq!(field.as_deref(), refused, "{query}: {parsed:?}");
    }

    #[test]
    fn query_strings() {
        check("due=2026-12-01", None);
        check("due=2026-12-01..2026-12-31&limit=100", None);
        check("due=..2026-12-31", None);
        check("", Some("due"));
        check("due=", Some("due"));
        check("due=today", Some("due"));
        check("due=2026-12-01..", Some("due"));
        check("due=2026-12-02..2026-12-01", Some("due"));
        check("due=1970-01-01..1970-12-31", None);
        check("due=1970-01-01..2026-12-01", Some("due"));
        check("due=..2027-12-01", None);
        check("due=..2027-12-02", Some("due"));
        check("due=2026-12-01&due=2026-12-01", Some("due"));
        check("due=2026-12-01&limit=0", Some("limit"));
        check("due=2026-12-01&cursor=e30", Some("cursor"));
        check("due=2026-12-01&status=ACTIVE", Some("status"));
    }

    fn fleet() -> Vec<(String, Row)> {
        let issued = Moment(1_772_360_101_480);
        let row = |n: u32| {
            let thing_name = ThingName::parse(&format!("light-{n:04}")).unwrap();
            let not_after = issued.plus_millis(30 * DAY_MILLIS);
            let age = RenewalAge::default();
            let due = Due::of(Issuer::KmsCa, issued, not_after, &thing_name, age);
            let row = Row {
                certificate_id: CertificateId::of_der(&n.to_be_bytes()),
                thing_name,
                issuer: Issuer::KmsCa,
                due_at: due.due_at,
                not_after,
            };
            (due.due_shard, row)
        };
        let mut rows: Vec<_> = (0..300).map(row).collect();
        rows.sort_by_key(|(shard, row)| (shard.clone(), row.due_at));
        rows
    }

    /// Reads every page as the shell does, over an index of these rows.
    fn pages(fleet: &[(String, Row)], days: &str, limit: usize) -> Vec<Vec<Row>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("due={days}&limit={limit}{cursor}");
            let query = DueQuery::parse(&query, today()).unwrap();
            let mut page = DuePage::new(query, Day::parse("2026-03-01").unwrap());
            let read = |read: Read| {
                let after = read.position.after.as_ref();
                let mut found: Vec<_> = fleet
                    .iter()
                    .filter(|(shard, _)| *shard == read.position.partition())
                    .map(|(_, row)| row.clone())
                    .filter(|row| after.is_none_or(|mark| row.due_at > mark.due_at))
                    .collect();
                let more = found.len() > read.limit;
                found.truncate(read.limit);
                (found, more)
            };
            loop {
                let reads = page.next_reads();
                if reads.is_empty() {
                    break;
                }
                assert!(reads.len() <= AT_ONCE);
                page.take(reads.into_iter().map(read).collect());
            }
            pages.push(page.rows.clone());
            match page.next_cursor() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    }

    #[test]
    fn every_due_certificate_is_listed_once_by_day() {
        let fleet = fleet();
        let day = Day::of(fleet[0].1.due_at);
        for limit in [1, 7, 100] {
            for (days, expected) in [
                ("..2026-04-30".to_owned(), 300),
                ("2026-03-01..2026-04-30".to_owned(), 300),
                (
                    day.to_string(),
                    fleet
                        .iter()
                        .filter(|(_, r)| Day::of(r.due_at) == day)
                        .count(),
                ),
                ("2026-03-01..2026-03-02".to_owned(), 0),
            ] {
                let pages = pages(&fleet, &days, limit);
                assert!(pages.iter().all(|page| page.len() <= limit));
                let rows = pages.concat();
                assert!(rows.is_sorted_by_key(|row| Day::of(row.due_at)));
                let mut names: Vec<_> = rows.into_iter().map(|row| row.thing_name).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), expected, "{days} by {limit}");
            }
        }
    }
}
