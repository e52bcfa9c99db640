//! DynamoDB, as far as a deletion uses it: conditions hold or they do not.

use aws_smithy_types::body::SdkBody;
use http::Response;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::cloud::{World, error, ok};

type Key = (String, String);

impl World {
    pub(crate) fn table_call(&mut self, call: &Call) -> Response<SdkBody> {
        let body = &call.body;
        match call.name.as_str() {
            "GetItem" => {
                assert_eq!(body["ConsistentRead"], true);
                let item = self.table.get(&key(&body["Key"])).map(typed_item);
                ok(&json!({ "Item": item }))
            }
            "Query" => self.query(body),
            "DeleteItem" => {
                self.table.remove(&key(&body["Key"]));
                ok(&json!({}))
            }
            "UpdateItem" if self.holds(&key(&body["Key"]), body) => {
                self.update(body);
                ok(&json!({}))
            }
            "UpdateItem" => error(400, "ConditionalCheckFailedException"),
            _ => self.transact(body),
        }
    }

    fn query(&self, body: &Value) -> Response<SdkBody> {
        assert_eq!(body["ConsistentRead"], true);
        let pk = plain(&body["ExpressionAttributeValues"][":pk"]);
        let after = body.get("ExclusiveStartKey").map(key);
        let mut rows = self.table.iter().filter(|((p, _), _)| pk == *p);
        let mut rest = rows
            .by_ref()
            .skip_while(|(k, _)| after.as_ref().is_some_and(|after| *k <= after));
        let Some((k, row)) = rest.next() else {
            return ok(&json!({ "Items": [] }));
        };
        let mut answer = json!({ "Items": [typed_item(row)] });
        if rest.next().is_some() {
            answer["LastEvaluatedKey"] = json!({ "PK": {"S": k.0}, "SK": {"S": k.1} });
        }
        ok(&answer)
    }

    fn transact(&mut self, body: &Value) -> Response<SdkBody> {
        let items = body["TransactItems"].as_array().unwrap();
        let parts: Vec<_> = items
            .iter()
            .map(|item| item.as_object().unwrap().iter().next().unwrap())
            .collect();
        let key_of = |part: &Value| key(part.get("Key").unwrap_or(&part["Item"]));
        let reasons: Vec<_> = parts
            .iter()
            .map(|(_, part)| self.holds(&key_of(part), part))
            .map(|holds| json!({ "Code": if holds { "None" } else { "ConditionalCheckFailed" } }))
            .collect();
        if reasons.iter().any(|reason| reason["Code"] != "None") {
            let body =
                json!({ "__type": "TransactionCanceledException", "CancellationReasons": reasons });
            return crate::cloud::respond(400, body.to_string());
        }
        for (kind, part) in parts {
            match kind.as_str() {
                "Put" => drop(self.table.insert(key_of(part), plain_item(&part["Item"]))),
                "Delete" => drop(self.table.remove(&key_of(part))),
                "Update" => self.update(part),
                other => panic!("{other}"),
            }
        }
        ok(&json!({}))
    }

    fn update(&mut self, request: &Value) {
        let row = self
            .table
            .entry(key(&request["Key"]))
            .or_insert_with(|| plain_item(&request["Key"]));
        let expression = request["UpdateExpression"]
            .as_str()
            .unwrap()
            .strip_prefix("SET ")
            .unwrap();
        for part in expression.split(", ") {
            let (name, value) = part.trim().split_once(" = ").unwrap();
            row[named(request, name)] = plain(&request["ExpressionAttributeValues"][value]);
        }
    }

    fn holds(&self, key: &Key, request: &Value) -> bool {
        let Some(condition) = request["ConditionExpression"].as_str() else {
            return true;
        };
        let row = self.table.get(key).cloned().unwrap_or(Value::Null);
        condition
            .split(" AND ")
            .all(|term| holds(&row, request, term))
    }
}

fn holds(row: &Value, request: &Value, term: &str) -> bool {
    if term == "attribute_not_exists(PK)" {
        return row.is_null();
    }
    let value = |name: &str| {
        plain(&request["ExpressionAttributeValues"][name.trim_matches(['(', ')', ' '])])
    };
    let (name, rest) = term.split_once(' ').unwrap();
    let (operator, operand) = rest.split_once(' ').unwrap();
    let is = &row[named(request, name)];
    match operator {
        "=" => *is == value(operand),
        "<" => is.as_u64() < value(operand).as_u64(),
        "<=" => is.as_u64() <= value(operand).as_u64(),
        "IN" => operand.split(',').any(|one| *is == value(one)),
        other => panic!("{other} in {term}"),
    }
}

fn named(request: &Value, name: &str) -> String {
    request["ExpressionAttributeNames"][name]
        .as_str()
        .unwrap_or(name)
        .to_owned()
}

fn key(item: &Value) -> Key {
    let part = |name: &str| item[name]["S"].as_str().unwrap().to_owned();
    (part("PK"), part("SK"))
}

fn plain_item(item: &Value) -> Value {
    item.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn typed_item(row: &Value) -> Value {
    row.as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), typed(value)))
        .collect::<Map<_, _>>()
        .into()
}

fn plain(value: &Value) -> Value {
    let (kind, inner) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => json!(inner.as_str().unwrap().parse::<u64>().unwrap()),
        "L" => inner.as_array().unwrap().iter().map(plain).collect(),
        "M" => plain_item(inner),
        "NULL" => Value::Null,
        _ => inner.clone(),
    }
}

fn typed(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(bool) => json!({ "BOOL": bool }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(all) => json!({ "L": all.iter().map(typed).collect::<Vec<_>>() }),
        Value::Object(_) => json!({ "M": typed_item(value) }),
    }
}
