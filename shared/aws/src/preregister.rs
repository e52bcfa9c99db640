//! Announces names: all of a request's, or none.

use aws_sdk_dynamodb::types::{Get, Put, TransactGetItem, TransactWriteItem};
use lamplighter_domain::Failure;
use lamplighter_domain::claim::Profile;
use lamplighter_domain::device::Preregistration;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::preregistration::{PreregisterRequest, Split, Standing};

use crate::failure;
use crate::table::{self, Item, Key, Table};

/// A transaction reads at most 100 items, and each name has two.
const NAMES_A_READ: usize = 50;

/// Announces the names of one request. A device that is created meanwhile does
/// no harm: a claim of its name is refused.
pub async fn preregister(table: &Table, request: &PreregisterRequest) -> Result<Split, Failure> {
    let reads = futures_util::future::try_join_all(
        request
            .thing_names
            .chunks(NAMES_A_READ)
            .map(|names| standing(table, names)),
    );
    let key = Key::profile(&request.profile);
    let (profile, standing) = tokio::try_join!(table.get::<Profile>(&key), reads)?;
    if profile.is_none() {
        return Err(Failure::invalid(
            "profile",
            format!("there is no profile {}", request.profile),
            "Add it to the catalog and apply that, or correct the name.",
        )
        .status(422));
    }
    let split = request.split(standing.into_iter().flatten().collect())?;
    if !split.preregistered.is_empty() {
        write(table, request, &split.preregistered).await?;
    }
    Ok(split)
}

async fn standing(table: &Table, names: &[ThingName]) -> Result<Vec<Standing>, Failure> {
    let get = |key: &Key| {
        let get = Get::builder()
            .table_name(&table.name)
            .set_key(Some(key.item()))
            .build();
        get.map(|get| TransactGetItem::builder().get(get).build())
            .map_err(table::incomplete)
    };
    let mut gets = Vec::new();
    for name in names {
        gets.push(get(&Key::device(name))?);
        gets.push(get(&Key::preregistration(name))?);
    }
    let answer = table
        .client
        .transact_get_items()
        .set_transact_items(Some(gets))
        .send()
        .await
        .map_err(|error| match error.as_service_error() {
            Some(e) if e.is_transaction_canceled_exception() => {
                Failure::busy("the registry is changing", 1)
            }
            _ => failure::of("dynamodb:GetItem", &error),
        })?;
    let mut items = answer
        .responses
        .unwrap_or_default()
        .into_iter()
        .map(|r| r.item.filter(|item| !item.is_empty()));
    let mut next = || items.next().flatten();
    names
        .iter()
        .map(|name| {
            let (device, row) = (next(), next());
            Ok(Standing {
                name: name.clone(),
                device: device.map(table::read).transpose()?,
                row: row.map(table::read).transpose()?,
            })
        })
        .collect()
}

async fn write(
    table: &Table,
    request: &PreregisterRequest,
    names: &[ThingName],
) -> Result<(), Failure> {
    let put = |name: &ThingName| -> Result<_, Failure> {
        let row = Preregistration {
            thing_name: name.clone(),
            profile: request.profile.clone(),
        };
        let item: Item = table::write(&Key::preregistration(name), &row)?;
        let put = Put::builder()
            .table_name(&table.name)
            .set_item(Some(item))
            // The same announcement by another request is as good.
            .condition_expression("attribute_not_exists(PK) OR profile = :profile")
            .expression_attribute_values(":profile", table::attribute(&request.profile)?)
            .build()
            .map_err(table::incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    };
    let puts = names.iter().map(put).collect::<Result<Vec<_>, _>>()?;
    match table.transact(puts).await?.and_then(|i| names.get(i)) {
        None => Ok(()),
        Some(name) => Err(Failure::conflict(
            "thingNames",
            format!(
                "{name} has just been pre-registered under another profile; nothing was pre-registered"
            ),
            "Leave the name out, or use that profile.",
        )),
    }
}
