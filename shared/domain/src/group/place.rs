//! Places on the earth (Developer Guide, "Indexing location data").

use super::document::Document;
use super::value::{Number, Value};

/// The mean radius that Lucene reckons with, in metres.
const EARTH_METRES: f64 = 6_371_008.771_4;

/// What a `geo_distance` term looks for: a field's place at most so far from
/// here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Near {
    latitude: Number,
    longitude: Number,
    metres: Number,
}

impl Near {
    /// Reads what follows `geo_distance,`: latitude, longitude and distance.
    /// The error says what is wrong with it.
    pub(crate) fn parse(arguments: &str) -> Result<Self, &'static str> {
        let parts: Vec<_> = arguments.split(',').collect();
        let [latitude, longitude, distance] = parts.as_slice() else {
            return Err("geo_distance takes a latitude, a longitude and a distance");
        };
        Ok(Self {
            latitude: degrees(latitude, 90.0).ok_or("the latitude is no number from -90 to 90")?,
            longitude: degrees(longitude, 180.0)
                .ok_or("the longitude is no number from -180 to 180")?,
            metres: metres(distance).ok_or("the distance is no number with its unit")?,
        })
    }

    /// Whether the device is there; false if it has no place in that field.
    pub(crate) fn matches(&self, document: &Document, field: &str) -> bool {
        place(document, field).is_some_and(|(latitude, longitude)| {
            let (from, to) = (self.latitude.get().to_radians(), latitude.to_radians());
            let turned = (longitude - self.longitude.get()).to_radians();
            let half = ((to - from) / 2.0).sin().powi(2)
                + from.cos() * to.cos() * (turned / 2.0).sin().powi(2);
            2.0 * EARTH_METRES * half.sqrt().min(1.0).asin() <= self.metres.get()
        })
    }
}

/// The fields that say where `field` is, besides itself.
pub(crate) fn parts_of(field: &str) -> impl Iterator<Item = String> {
    LATITUDES
        .iter()
        .chain(LONGITUDES)
        .map(move |part| format!("{field}.{part}"))
}

const LATITUDES: &[&str] = &["lat", "latitude"];
const LONGITUDES: &[&str] = &["lon", "long", "longitude"];

fn degrees(text: &str, most: f64) -> Option<Number> {
    Number::spelt(text).filter(|degrees| degrees.get().abs() <= most)
}

fn metres(text: &str) -> Option<Number> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let one = match unit {
        "m" => 1.0,
        "km" => 1000.0,
        "mi" => 1609.344,
        "yd" => 0.9144,
        "ft" => 0.3048,
        "nmi" => 1852.0,
        _ => return None,
    };
    let number = Number::spelt(&text[..text.len() - unit.len()])?;
    Number::new(number.get() * one)
}

/// Where a field is: latitude and longitude in degrees. Lists and texts have
/// the latitude first, which is AWS's default; well-known text does not.
fn place(document: &Document, field: &str) -> Option<(f64, f64)> {
    match document.field(field) {
        [] => {
            let part = |names: &[&str]| {
                names.iter().find_map(|name| {
                    let value = document.field(&format!("{field}.{name}")).first()?;
                    number(value)
                })
            };
            Some((part(LATITUDES)?, part(LONGITUDES)?))
        }
        [latitude, longitude] => Some((number(latitude)?, number(longitude)?)),
        [value] => {
            let text = value.as_written().trim();
            let point = text
                .strip_prefix("POINT")
                .and_then(|rest| rest.trim().strip_prefix('(')?.strip_suffix(')'));
            let both = |(a, b): (&str, &str)| {
                Some((
                    Number::spelt(a.trim())?.get(),
                    Number::spelt(b.trim())?.get(),
                ))
            };
            match point {
                Some(point) => {
                    let (longitude, latitude) = both(point.trim().split_once(' ')?)?;
                    Some((latitude, longitude))
                }
                None => both(text.split_once(',')?),
            }
        }
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    value.number().map(Number::get)
}
