//! A job template, as the catalog declares it, and what becomes of one when its
//! parameters are given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::document::{Document, fits};
use super::object::{S3Object, objects_in};
use super::parameters::{Filled, Kind, Parameters, Use, replace, uses};
use super::read::Object;
use crate::failure::Failure;
use crate::fields::unique_json;
use crate::names::{JobTemplateName, ThingTypeName};
use crate::quote::quoted;

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The only type of thing that may get it, if it is bound to one.
    pub thing_type: Option<ThingTypeName>,
    /// Its parameters.
    pub parameters: Parameters,
    /// The firmware version that a device's shadow reports when the job is
    /// really done; may use parameters.
    pub confirms: Option<String>,
    document: Document,
}

/// A template with its parameters given, before S3 was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    document: Document,
    values: BTreeMap<String, Filled>,
    /// What the document names in S3. Each must be there, and its checksum is
    /// what [`finish`](Self::finish) wants.
    pub objects: BTreeSet<S3Object>,
    /// The firmware version that the shadow will report.
    pub confirms: Option<String>,
    region: String,
}

impl Template {
    /// Reads a template from a file of its own.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub fn parse(json: &[u8]) -> Result<Self, Failure> {
        let value = unique_json(json).map_err(|error| {
            Failure::invalid(
                "body",
                format!("the template does not parse: {error}"),
                "Send a JSON object with name and document.",
            )
        })?;
        Self::from_value("", value)
    }

    /// Reads a template that stands at a path in something else.
    ///
    /// # Errors
    /// `Invalid`, with the path of the field.
    pub fn from_value(path: &str, value: Value) -> Result<Self, Failure> {
        let mut object = Object::new(path, value)?;
        let name = object.required_text("name")?;
        JobTemplateName::parse(&name).map_err(|failure| failure.field(&object.at("name")))?;
        let description = object.text("description")?.unwrap_or_default();
        let thing_type = object.text("thingType")?;
        let at = object.at("thingType");
        let thing_type = thing_type
            .map(|name| ThingTypeName::parse(&name).map_err(|failure| failure.field(&at)))
            .transpose()?;
        let declared = object.take("parameters");
        let parameters = Parameters::read(&object.at("parameters"), declared)?;
        let confirms = object.text("confirmsFirmware")?;
        let at = object.at("document");
        let document = Document::from_value(&at, object.required("document")?)?;
        object.end()?;
        let template = Self {
            name,
            description,
            thing_type,
            parameters,
            confirms,
            document,
        };
        template.check_uses(path)?;
        Ok(template)
    }

    /// Every parameter that is used is declared, and the other way round.
    fn check_uses(&self, path: &str) -> Result<(), Failure> {
        let at = |rest: &str| match path {
            "" => rest.to_owned(),
            path => format!("{path}.{rest}"),
        };
        let mut document = self.document.clone();
        let mut used: BTreeSet<Use> = BTreeSet::new();
        for (place, arg) in document.args_mut() {
            for by in uses(arg) {
                self.check_use(&at(&format!("document.{place}")), &by)?;
                used.insert(by);
            }
        }
        for mut by in self.confirms.iter().flat_map(|text| uses(text)) {
            // A version is a text; an object in S3 is none.
            by.whole = false;
            self.check_use(&at("confirmsFirmware"), &by)?;
            used.insert(by);
        }
        for (name, parameter) in &self.parameters.0 {
            let by = |checksum| {
                let mut used = used.iter();
                used.any(|by| by.name == *name && by.checksum == checksum)
            };
            let place = at(&format!("parameters.{name}"));
            if !by(false) {
                return Err(Failure::invalid(
                    &place,
                    format!("{} is declared and not used", quoted(name)),
                    format!("Use ${{aws:iot:parameter:{name}}}, or remove it."),
                ));
            }
            // Without it a device could not tell that it has the right one.
            if parameter.kind == Kind::S3 && !by(true) {
                return Err(Failure::invalid(
                    &place,
                    "no device is told the object's checksum",
                    format!("Pass ${{aws:iot:parameter:{name}.sha256}} to the handler too."),
                ));
            }
        }
        Ok(())
    }

    fn check_use(&self, path: &str, by: &Use) -> Result<(), Failure> {
        let Some(parameter) = self.parameters.get(&by.name) else {
            return Err(Failure::invalid(
                path,
                format!("{} is used and not declared", quoted(&by.name)),
                "Declare it under parameters.",
            ));
        };
        let good = match (&parameter.kind, by.checksum) {
            (Kind::S3, false) => by.whole,
            (Kind::S3, true) => true,
            (_, checksum) => !checksum,
        };
        good.then_some(()).ok_or_else(|| {
            Failure::invalid(
                path,
                format!("{} is not used as its type allows", quoted(&by.name)),
                "A parameter of type s3 is all of an argument; only such a one has .sha256.",
            )
        })
    }

    /// Fills the parameters in. `region` is that of the objects in S3.
    ///
    /// # Errors
    /// `Invalid` for `parameters`, or for a placeholder that nothing replaces.
    pub fn prepare(
        &self,
        given: &BTreeMap<String, Value>,
        region: &str,
    ) -> Result<Prepared, Failure> {
        let values = self.parameters.fill(given)?;
        let mut document = self.document.clone();
        let mut objects = BTreeSet::new();
        for value in values.values() {
            if let Filled::Object(object) = value {
                objects.insert(object.clone());
            }
        }
        for (path, arg) in document.args_mut() {
            let text = replace(arg, |by| written(&values, by, region, "")).map_err(Failure::bug)?;
            objects.extend(objects_in(&format!("document.{path}"), &text)?);
        }
        let confirms = self.confirms.as_deref();
        let confirms = confirms
            .map(|text| replace(text, |by| written(&values, by, region, "")).map_err(Failure::bug))
            .transpose()?;
        Ok(Prepared {
            document: self.document.clone(),
            values,
            objects,
            confirms,
            region: region.to_owned(),
        })
    }
}

impl Prepared {
    /// The document as it is sent, with the checksums (SHA-256, in hex) of the
    /// objects as they are now: what a device downloads later is held to them.
    ///
    /// # Errors
    /// `Invalid` when the document, so filled, breaks a rule of documents or
    /// is too long; `NotFound` for an object without checksum.
    pub fn finish(mut self, checksums: &BTreeMap<S3Object, String>) -> Result<Document, Failure> {
        if let Some(object) = self.objects.iter().find(|o| !checksums.contains_key(o)) {
            return Err(Failure::not_found(
                "parameters",
                format!("there is no {object}, or its checksum is not known"),
                "Upload it with a SHA-256 checksum.",
            ));
        }
        let (values, region) = (&self.values, &self.region);
        for (_, arg) in self.document.args_mut() {
            let replaced = replace(arg, |by| {
                let checksum = match values.get(&by.name) {
                    Some(Filled::Object(object)) => checksums.get(object),
                    _ => None,
                };
                written(values, by, region, checksum.map_or("", String::as_str))
            });
            *arg = replaced.map_err(Failure::bug)?;
        }
        let json = self.document.json();
        // Read again, so that what was filled in keeps to every rule as well.
        Document::parse(json.as_bytes())
            .map_err(|failure| match failure.field.clone() {
                Some(field) if field.starts_with("steps") || field.starts_with("finalStep") => {
                    failure.field(&format!("document.{field}"))
                }
                _ => failure,
            })
            .and_then(|document| fits(json.len()).map(|()| document))
    }
}

fn written(
    values: &BTreeMap<String, Filled>,
    by: &Use,
    region: &str,
    checksum: &str,
) -> Result<String, String> {
    match values.get(&by.name) {
        Some(Filled::Text(text)) => Ok(text.clone()),
        Some(Filled::Object(_)) if by.checksum => Ok(checksum.to_owned()),
        Some(Filled::Object(object)) => Ok(object.placeholder(region)),
        None => Err(format!("no value for {}", by.name)),
    }
}
