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

    /// Pre-registrations and members of groups are written in transactions here.
    pub(crate) fn transact_write(&mut self, body: &Value) -> Response<SdkBody> {
        for row in std::mem::take(&mut self.meanwhile) {
            self.table.insert(key(&row), row);
        }
        let of = |kind: &str| {
            let found = items(body).iter().map(|item| item[kind].clone());
            found.filter(Value::is_object).collect::<Vec<_>>()
        };
        let (puts, deletes, adds) = (of("Put"), of("Delete"), of("Update"));
        let absent = deletes.iter().map(|delete| self.absent(delete));
        let refused = puts.iter().map(|put| self.refusal(put));
        let codes: Vec<_> = refused.chain(absent).collect();
        if let Some(code) = self.cancelled {
            return cancelled(&[code]);
        }
        if codes.iter().any(|code| *code != "None") {
            return cancelled(&codes);
        }
        for put in puts {
            self.table.insert(key(&put["Item"]), put["Item"].clone());
        }
        for delete in deletes {
            self.table.remove(&key(&delete["Key"]));
        }
        for add in adds {
            self.add(&add);
        }
        ok(&json!({}))
    }

    /// Members are counted so.
    fn add(&mut self, update: &Value) {
        assert_eq!(update["UpdateExpression"], "ADD members :change");
        let number = |value: &Value| value["N"].as_str().map_or(0, |n| n.parse::<i64>().unwrap());
        let row = self.table.entry(key(&update["Key"]));
        let row = row.or_insert_with(|| update["Key"].clone());
        let change = number(&update["ExpressionAttributeValues"][":change"]);
        row["members"] = json!({ "N": (number(&row["members"]) + change).to_string() });
    }

    fn absent(&self, delete: &Value) -> &'static str {
        assert_eq!(delete["ConditionExpression"], "attribute_exists(PK)");
        if self.table.contains_key(&key(&delete["Key"])) {
            "None"
        } else {
            "ConditionalCheckFailed"
        }
    }

    fn refusal(&self, put: &Value) -> &'static str {
        let row = self.table.get(&key(&put["Item"]));
        match put["ConditionExpression"].as_str() {
            None => return "None",
            Some("attribute_not_exists(PK)") if row.is_none() => return "None",
            Some("attribute_not_exists(PK)") => return "ConditionalCheckFailed",
            Some(_) => {}
        }
        assert_eq!(
            put["ConditionExpression"],
            "attribute_not_exists(PK) OR profile = :profile"
        );
        match row {
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
