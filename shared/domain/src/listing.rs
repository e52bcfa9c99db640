//! Listing devices: filters, pages, and the cursor between them.
//!
//! The listing index spreads over shards. A listing walks them one after the
//! other, each by name, so a page costs what it shows and what its filters
//! skip, however large the fleet is.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::device::{DeviceRecord, DeviceStatus, LISTING_SHARDS, listing_shard};
use crate::failure::Failure;
use crate::names::{AttributeName, AttributeValue, GroupName, ThingName, ThingTypeName};
use crate::quote::quoted;

const MOST: usize = 100;
pub(crate) const USUAL: usize = 25;
/// A page looks at this many devices at most before it ends, however few
/// passed the filters, so that a rare one does not take a request past its
/// time.
const MOST_LOOKED_AT: usize = 2000;

/// Which devices, and how many of them at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The largest page.
    pub limit: usize,
    /// Which devices.
    pub filters: Filters,
    /// Where the page begins.
    pub position: Position,
}

/// Which devices: those that pass all filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filters {
    /// Devices of this type.
    pub thing_type: Option<ThingTypeName>,
    /// Members of this static group.
    pub group: Option<GroupName>,
    /// Devices with all of these attributes.
    pub attributes: BTreeSet<(AttributeName, AttributeValue)>,
    /// Devices with this status.
    pub status: Option<&'static str>,
}

/// A place in the listing: after a name within a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The shard's number.
    #[serde(rename = "s")]
    pub shard: u32,
    /// The last name that the page before showed of it.
    #[serde(rename = "a")]
    pub after: Option<ThingName>,
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    #[serde(flatten)]
    position: Position,
    /// The filters that the position belongs to.
    #[serde(rename = "f")]
    filters: String,
}

impl ListQuery {
    /// Reads a query string.
    pub fn parse(query: &str) -> Result<Self, Failure> {
        let (mut limit, mut cursor, mut filters) = (None, None, Filters::default());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            match name.as_str() {
                "limit" => once(&name, &mut limit, read_limit(&value)?)?,
                "cursor" => once(&name, &mut cursor, value)?,
                "thingType" => once(
                    &name,
                    &mut filters.thing_type,
                    ThingTypeName::parse(&value)?,
                )?,
                "group" => {
                    let group =
                        GroupName::parse(&value).map_err(|failure| failure.field("group"))?;
                    once(&name, &mut filters.group, group)?;
                }
                "status" => once(&name, &mut filters.status, read_status(&value)?)?,
                "attribute" => drop(filters.attributes.insert(read_attribute(&value)?)),
                _ => {
                    return Err(Failure::invalid(
                        &name,
                        format!("devices cannot be listed by {name}"),
                        "Use limit, cursor, thingType, group, attribute=name=value and status.",
                    ));
                }
            }
        }
        let position =
            cursor.map_or(Ok(Position::default()), |cursor| filters.position(&cursor))?;
        Ok(Self {
            limit: limit.unwrap_or(USUAL),
            filters,
            position,
        })
    }
}

impl Filters {
    /// Whether a device passes.
    pub fn pass(&self, device: &DeviceRecord) -> bool {
        let request = &device.request;
        self.thing_type
            .as_ref()
            .is_none_or(|wanted| request.thing_type.as_ref() == Some(wanted))
            && self
                .group
                .as_ref()
                .is_none_or(|wanted| request.groups.contains(wanted))
            && self
                .attributes
                .iter()
                .all(|(name, value)| request.attributes.get(name) == Some(value))
            && self
                .status
                .is_none_or(|wanted| device.status.name() == wanted)
    }

    fn digest(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        crate::csr::sha256_hex(text.as_bytes())[..16].to_owned()
    }

    /// The cursor for a position; it holds under these filters only.
    pub fn cursor(&self, position: &Position) -> String {
        let cursor = Cursor {
            position: position.clone(),
            filters: self.digest(),
        };
        to_cursor(&cursor)
    }

    pub(crate) fn position(&self, cursor: &str) -> Result<Position, Failure> {
        let read = from_cursor::<Cursor>(cursor);
        let Some(Cursor { position, filters }) = read.filter(|c| c.position.shard < LISTING_SHARDS)
        else {
            return Err(Failure::invalid(
                "cursor",
                "it is no cursor of this listing",
                "Send the nextCursor of the page before, or none.",
            ));
        };
        if filters != self.digest() {
            return Err(Failure::invalid(
                "cursor",
                "the cursor belongs to a listing with other filters",
                "Repeat the filters of the page before, or begin again without a cursor.",
            ));
        }
        Ok(position)
    }
}

/// A page as it is filled, shard by shard.
#[derive(Debug)]
pub struct Page {
    query: ListQuery,
    position: Position,
    looked_at: usize,
    done: bool,
    /// The devices found.
    pub devices: Vec<DeviceRecord>,
}

/// One read of the listing index.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// The index's partition.
    pub shard: String,
    /// Only names after this one.
    pub after: Option<ThingName>,
    /// How many at most.
    pub limit: usize,
}

impl Page {
    /// An empty page.
    pub fn new(query: ListQuery) -> Self {
        let position = query.position.clone();
        Self {
            query,
            position,
            looked_at: 0,
            done: false,
            devices: Vec::new(),
        }
    }

    /// What to read next; nothing when the page is full or the fleet ends.
    pub fn next_read(&self) -> Option<Read> {
        let wanted = self.query.limit - self.devices.len();
        let left = MOST_LOOKED_AT.saturating_sub(self.looked_at);
        if self.done || wanted == 0 || left == 0 {
            return None;
        }
        // With filters most of what is read may fall through.
        let limit = if self.query.filters == Filters::default() {
            wanted
        } else {
            MOST
        };
        Some(Read {
            shard: listing_shard(self.position.shard),
            after: self.position.after.clone(),
            limit: limit.min(left),
        })
    }

    /// Takes what a read brought; `more` is whether the shard has more.
    pub fn take(&mut self, found: Vec<DeviceRecord>, more: bool) {
        for device in found {
            if self.devices.len() == self.query.limit {
                return;
            }
            self.looked_at += 1;
            self.position.after = Some(device.request.thing_name.clone());
            if self.query.filters.pass(&device) {
                self.devices.push(device);
            }
        }
        if !more {
            self.position = Position {
                shard: self.position.shard + 1,
                after: None,
            };
            self.done = self.position.shard == LISTING_SHARDS;
        }
    }

    /// Where the next page begins; nothing after the last.
    pub fn next_position(&self) -> Option<&Position> {
        (!self.done).then_some(&self.position)
    }

    /// The same, as callers hand it back.
    pub fn next_cursor(&self) -> Option<String> {
        let position = self.next_position()?;
        Some(self.query.filters.cursor(position))
    }
}

/// Text that callers hand back as they got it.
pub(crate) fn to_cursor(what: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(what).unwrap_or_default())
}

/// What [`to_cursor`] was given; nothing from any other text.
pub(crate) fn from_cursor<T: DeserializeOwned>(text: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

/// One part of a query string, percent-decoded.
pub(crate) fn decoded(text: &str) -> Result<String, Failure> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| {
            Failure::invalid(
                "query",
                "the query string is not UTF-8",
                "Percent-encode it as UTF-8.",
            )
        })
}

/// Takes a parameter that may be given once.
pub(crate) fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), Failure> {
    if slot.replace(value).is_some() {
        return Err(Failure::invalid(
            name,
            format!("{name} is given twice"),
            "Give it once.",
        ));
    }
    Ok(())
}

/// A page's size.
pub(crate) fn read_limit(text: &str) -> Result<usize, Failure> {
    text.parse()
        .ok()
        .filter(|limit| (1..=MOST).contains(limit))
        .ok_or_else(|| {
            Failure::invalid(
                "limit",
                format!("{} is no page size", quoted(text)),
                format!("Give a number from 1 to {MOST}."),
            )
        })
}

fn read_status(text: &str) -> Result<&'static str, Failure> {
    DeviceStatus::parse(text)
        .map(DeviceStatus::name)
        .ok_or_else(|| {
            Failure::invalid(
                "status",
                format!("no device has the status {}", quoted(text)),
                "Use CREATING, ACTIVE, DELETING or STUCK.",
            )
        })
}

fn read_attribute(text: &str) -> Result<(AttributeName, AttributeValue), Failure> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Failure::invalid(
            "attribute",
            format!("{} is no filter", quoted(text)),
            "Write attribute=name=value.",
        )
    })?;
    let read = || Ok((AttributeName::parse(name)?, AttributeValue::parse(value)?));
    read().map_err(|failure: Failure| failure.field("attribute"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::create::CreatePlan;
    use crate::names::OperationId;
    use crate::request::CreateRequest;
    use crate::time::Moment;
    use serde_json::json;

    fn check(query: &str, refused: Option<&str>) {
        let parsed = ListQuery::parse(query);
        let field = parsed
            .as_ref()
            .err()
            .and_then(|failure| failure.field.clone());
        assert_eq!(field.as_deref(), refused, "{query}: {parsed:?}");
    }

    #[test]
    fn query_strings() {
        check("", None);
        check("limit=1", None);
        check(
            "limit=100&thingType=streetlight&group=milan-navigli&status=ACTIVE",
            None,
        );
        check(
            "attribute=firmware_version%3D1.4.2&attribute=city=milan",
            None,
        );
        check("limit=0", Some("limit"));
        check("limit=101", Some("limit"));
        check("limit=ten", Some("limit"));
        check("limit=1&limit=2", Some("limit"));
        check("status=active", Some("status"));
        check("attribute=city", Some("attribute"));
        check("attribute=a%20b=c", Some("attribute"));
        check("group=a/b", Some("group"));
        check("thingType=", Some("thingType"));
        check("colour=red", Some("colour"));
        check("status=%FF", Some("query"));
        check("cursor=junk", Some("cursor"));
        check("cursor=e30", Some("cursor"));
    }

    #[test]
    fn a_cursor_holds_for_its_filters_only() {
        let filters = ListQuery::parse("status=ACTIVE&attribute=a=b")
            .unwrap()
            .filters;
        let position = Position {
            shard: 3,
            after: Some(ThingName::parse("x").unwrap()),
        };
        let cursor = filters.cursor(&position);
        let again = ListQuery::parse(&format!(
            "limit=7&attribute=a=b&status=ACTIVE&cursor={cursor}"
        ));
        assert_eq!(again.unwrap().position, position);
        check(&format!("status=ACTIVE&cursor={cursor}"), Some("cursor"));
        let past = filters.cursor(&Position {
            shard: LISTING_SHARDS,
            after: None,
        });
        check(
            &format!("status=ACTIVE&attribute=a=b&cursor={past}"),
            Some("cursor"),
        );
    }

    fn fleet(n: usize) -> Vec<DeviceRecord> {
        (0..n)
            .map(|i| {
                let body = json!({
                    "thingName": format!("light-{i:04}"), "groups": [format!("g{}", i % 3)],
                    "attributes": {"odd": (i % 2).to_string()},
                });
                let request = CreateRequest::parse(body.to_string().as_bytes(), None)
                    .unwrap()
                    .0;
                CreatePlan::new(OperationId::from_random([0; 16]), request).claimed(Moment(1))
            })
            .collect()
    }

    /// Reads every page as the shell does, over an index of these devices.
    fn pages(fleet: &[DeviceRecord], filters: &str, limit: usize) -> Vec<Vec<String>> {
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("limit={limit}{filters}{cursor}");
            let mut page = Page::new(ListQuery::parse(&query).unwrap());
            while let Some(read) = page.next_read() {
                let mut found: Vec<_> = fleet
                    .iter()
                    .filter(|d| d.listing_shard == read.shard)
                    .filter(|d| {
                        read.after
                            .as_ref()
                            .is_none_or(|after| d.request.thing_name > *after)
                    })
                    .cloned()
                    .collect();
                let more = found.len() > read.limit;
                found.truncate(read.limit);
                page.take(found, more);
            }
            pages.push(
                page.devices
                    .iter()
                    .map(|d| d.request.thing_name.to_string())
                    .collect(),
            );
            match page.next_cursor() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return pages,
            }
        }
    }

    #[test]
    fn every_device_is_listed_once_whatever_the_page_size() {
        let fleet = fleet(300);
        for (filters, passing) in [
            ("", 300),
            ("&group=g1", 100),
            ("&group=g1&attribute=odd=1", 50),
            ("&status=CREATING", 300),
            ("&status=ACTIVE", 0),
        ] {
            for limit in [1, 7, 100] {
                let pages = pages(&fleet, filters, limit);
                assert!(pages.iter().all(|page| page.len() <= limit));
                let mut names = pages.concat();
                names.sort();
                assert_eq!(names.len(), passing, "{filters} {limit}");
                names.dedup();
                assert_eq!(names.len(), passing, "{filters} {limit}");
            }
        }
    }
}
