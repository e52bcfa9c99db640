//! The registry in memory: transactions, and queries in pages.

use aws_smithy_types::body::SdkBody;
use http::Response;
use serde_json::{Value, json};

use crate::cloud::{World, key, ok, respond};

/// What a query of one partition answers at once.
const PAGE: usize = 2;

impl World {
    pub(crate) fn transact_get(&self, body: &Value) -> Response<SdkBody> {
        let gets = items(body);
        let responses: Vec<_> = gets
            .iter()
            .map(|get| match self.table.get(&key(&get["Get"]["Key"])) {
                Some(item) => json!({ "Item": item }),
                None => json!({}),
            })
            .collect();
        let nothing_meant = vec!["None"; gets.len()];
        match self.cancelled {
            Some(code) => cancelled(&[nothing_meant, vec![code]].concat()),
            None => ok(&json!({ "Responses": responses })),
        }
    }

    /// Announcements alone are written in transactions here.
    pub(crate) fn transact_write(&mut self, body: &Value) -> Response<SdkBody> {
        for row in std::mem::take(&mut self.meanwhile) {
            self.table.insert(key(&row), row);
        }
        let puts = items(body).iter().map(|item| &item["Put"]);
        let puts: Vec<_> = puts.filter(|put| put.is_object()).collect();
        let codes: Vec<_> = puts.iter().map(|put| self.refusal(put)).collect();
        if let Some(code) = self.cancelled {
            return cancelled(&[code]);
        }
        if codes.iter().any(|code| *code != "None") {
            return cancelled(&codes);
        }
        for put in puts {
            self.table.insert(key(&put["Item"]), put["Item"].clone());
        }
        ok(&json!({}))
    }

    fn refusal(&self, put: &Value) -> &'static str {
        if put["ConditionExpression"].is_null() {
            return "None";
        }
        assert_eq!(
            put["ConditionExpression"],
            "attribute_not_exists(PK) OR profile = :profile"
        );
        match self.table.get(&key(&put["Item"])) {
            Some(row) if row["profile"] != put["ExpressionAttributeValues"][":profile"] => {
                "ConditionalCheckFailed"
            }
            _ => "None",
        }
    }

    pub(crate) fn query(&self, body: &Value) -> Response<SdkBody> {
        let (mut found, limit) = match body["IndexName"].as_str() {
            None => (self.of_partition(body), PAGE),
            Some("listing") => {
                let limit = body["Limit"].as_u64().unwrap();
                (self.of_listing(body), usize::try_from(limit).unwrap())
            }
            Some(index) => panic!("no such index: {index}"),
        };
        found.truncate(limit);
        let mut answer = json!({ "Items": found });
        // DynamoDB stops at the limit without a look at what follows.
        if found.len() == limit
            && let Some(last) = found.last()
        {
            answer["LastEvaluatedKey"] = json!({ "PK": last["PK"], "SK": last["SK"] });
        }
        ok(&answer)
    }

    fn of_partition(&self, body: &Value) -> Vec<&Value> {
        assert_eq!(body["ConsistentRead"], true);
        assert_eq!(body["KeyConditionExpression"], "PK = :pk");
        let pk = &body["ExpressionAttributeValues"][":pk"];
        let started = &body["ExclusiveStartKey"];
        let rows = self.table.values().filter(|row| row["PK"] == *pk);
        rows.filter(|row| started.is_null() || key(row) > key(started))
            .collect()
    }

    fn of_listing(&self, body: &Value) -> Vec<&Value> {
        assert_ne!(body["ConsistentRead"], true, "no index can be read so");
        let values = &body["ExpressionAttributeValues"];
        let after = values[":after"]["S"].as_str();
        let condition = match after {
            Some(_) => "listingShard = :shard AND thingName > :after",
            None => "listingShard = :shard",
        };
        assert_eq!(body["KeyConditionExpression"], condition);
        let rows = self.table.values();
        rows.filter(|row| row["listingShard"] == values[":shard"])
            .filter(|row| row["thingName"]["S"].as_str() > after)
            .collect()
    }
}

fn items(body: &Value) -> &Vec<Value> {
    let items = body["TransactItems"].as_array().unwrap();
    assert!((1..=100).contains(&items.len()), "{}", items.len());
    items
}

fn cancelled(codes: &[&str]) -> Response<SdkBody> {
    let reasons: Vec<_> = codes.iter().map(|code| json!({ "Code": code })).collect();
    let told = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "message": "as told", "CancellationReasons": reasons,
    });
    respond(400, told.to_string())
}
