//! Who would get a job, wave by wave: the answer to a dry run.

use serde::{Deserialize, Serialize};

use super::spec::Spec;
use super::target::LeftOut;
use super::wave::Cursor;
use crate::names::ThingName;

/// How many waves, and devices of each, one page's forecast shows.
const SHOWN: usize = 100;

/// Who would get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    status: &'static str,
    /// How many would get it, of those that were looked at.
    targets: usize,
    waves: Vec<WaveForecast>,
    left_out: Vec<LeftOut>,
    /// Whether there are more targets than were looked at.
    more: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct WaveForecast {
    wave: usize,
    size: usize,
    /// The first of them.
    things: Vec<ThingName>,
}

/// What a page of a dry run says of its targets, whatever wave they are in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Page {
    /// Who would get it.
    pub things: Vec<ThingName>,
    /// Who would not.
    pub left_out: Vec<LeftOut>,
    /// Where the next page begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<Cursor>,
}

impl Page {
    /// With the page that follows it.
    pub fn extend(&mut self, next: Self) {
        self.things.extend(next.things);
        self.left_out.extend(next.left_out);
        self.next_cursor = next.next_cursor;
    }

    /// In the order in which waves take them, each once.
    pub fn sort(&mut self) {
        self.things.sort();
        self.things.dedup();
        self.left_out
            .sort_by(|a, b| a.thing_name.cmp(&b.thing_name));
        self.left_out.dedup_by(|a, b| a.thing_name == b.thing_name);
    }
}

impl Forecast {
    /// Of a page, as if there were no more: the first of each wave.
    pub fn new(spec: &Spec, page: &Page) -> Self {
        Self::showing(spec, page, SHOWN)
    }

    /// Of all pages together: everybody.
    pub fn whole(spec: &Spec, pages: &Page) -> Self {
        Self::showing(spec, pages, usize::MAX)
    }

    fn showing(spec: &Spec, page: &Page, most: usize) -> Self {
        let mut rest = &page.things[..];
        let mut waves = Vec::new();
        while !rest.is_empty() && waves.len() < most {
            let size = spec.wave_size(waves.len(), page.things.len() as u64);
            let size = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
            let (wave, others) = rest.split_at(size);
            rest = others;
            waves.push(WaveForecast {
                wave: waves.len() + 1,
                size,
                things: wave.iter().take(most).cloned().collect(),
            });
        }
        Self {
            status: "DRY_RUN",
            targets: page.things.len(),
            waves,
            left_out: page.left_out.clone(),
            more: page.next_cursor.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn page(from: u32, to: u32, next: Option<&str>) -> Page {
        let name = |n| ThingName::parse(&format!("light-{n:03}")).unwrap();
        Page {
            things: (from..to).rev().map(name).collect(),
            left_out: vec![LeftOut {
                thing_name: name(999),
                reason: "it is DELETING".to_owned(),
            }],
            next_cursor: next.map(|next| Cursor(next.to_owned())),
        }
    }

    #[test]
    fn a_forecast_names_each_waves_devices() {
        let spec = Spec::read("", json!({"waves": [1, "50%"]})).unwrap();
        let sizes = |seen: &Value| {
            let waves = seen["waves"].as_array().unwrap().iter();
            let sizes = waves.map(|wave| {
                let named = wave["things"].as_array().unwrap().len() as u64;
                (wave["size"].as_u64().unwrap(), named)
            });
            sizes.collect::<Vec<_>>()
        };
        let mut first = page(0, 250, Some("1:"));
        first.sort();
        let seen = json!(Forecast::new(&spec, &first));
        assert_eq!(sizes(&seen), [(1, 1), (125, 100), (124, 100)]);
        assert_eq!(seen["waves"][0]["things"][0], "light-000");
        assert_eq!(
            (&seen["targets"], &seen["more"]),
            (&json!(250), &json!(true))
        );

        // A page as it is sent, and the one after it, which says something twice.
        let sent = serde_json::from_value::<Page>(json!(first)).unwrap();
        assert_eq!(sent, first);
        let mut all = sent;
        all.extend(page(240, 400, None));
        all.sort();
        let seen = json!(Forecast::whole(&spec, &all));
        assert_eq!(sizes(&seen), [(1, 1), (200, 200), (199, 199)]);
        assert_eq!(seen["waves"][2]["things"][198], "light-399");
        assert_eq!(seen["leftOut"].as_array().unwrap().len(), 1);
        assert_eq!(seen["more"], false);
    }
}
