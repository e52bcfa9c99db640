//! Tunnels: refused where they have no business, opened once, on record whatever
//! becomes of them, and a way for bytes through real local proxies.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use lamplighter_tests::cases::{opened as reported, secured};
use lamplighter_tests::cloud::{Ask, Cloud, Reply};
use lamplighter_tests::delivery::{PATIENCE, created, deliver};
use lamplighter_tests::device::{trace, unique};
use lamplighter_tests::faults::{self, Point};
use lamplighter_tests::inventory::{row, rows};
use lamplighter_tests::lamp::{documents, run};
use lamplighter_tests::removal::deleted;
use lamplighter_tests::tunnels::{Light, ask, body, open_in_aws, opened_by_lamp, through, tunnels};
use serde_json::{Value, json};

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{value} has no {name}"))
}

async fn shown(cloud: &Cloud, tunnel: &Value) -> Value {
    let path = format!("/tunnels/{}", text(tunnel, "tunnelId"));
    cloud.api(&Ask::new("GET", path)).await.expect(200)
}

/// What happened, in order.
fn trail(tunnel: &Value) -> Vec<&str> {
    let events = tunnel["events"].as_array().expect("a trail").iter();
    events.map(|event| text(event, "what")).collect()
}

/// Fires the schedule that looks at tunnels, whatever its hour, and waits until
/// this one stands so.
async fn watched(cloud: &Cloud, tunnel: &str, status: &str) -> Value {
    let path = "/_lamplighter/schedules";
    let all = cloud
        .aws("lambda", &Ask::new("GET", path))
        .await
        .expect(200);
    let watch = all
        .as_array()
        .expect("schedules")
        .iter()
        .find(|schedule| text(schedule, "name").contains("TunnelWatch"))
        .expect("the stack's watch");
    let fire = Ask::new("POST", path).text(json!({"arn": watch["arn"]}).to_string());
    let fired = cloud.aws("lambda", &fire).await.expect(200);
    assert!(fired["deliveries"][0]["refusal"].is_null(), "{fired}");
    let started = Instant::now();
    loop {
        let record = row(cloud, &format!("TUNNEL#{tunnel}"), "TUNNEL").await;
        if record["status"]["S"] == status {
            return record;
        }
        assert!(started.elapsed() < PATIENCE, "{record}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A server that says back what it hears, one connection after the other.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let (mut from, mut to) = (tcp.try_clone().expect("a socket"), tcp);
                let _ = std::io::copy(&mut from, &mut to);
            });
        }
    });
    address
}

/// Sends bytes and reads as many back, at once.
fn echoed(tcp: &TcpStream, sent: &[u8]) -> Vec<u8> {
    let mut back = vec![0; sent.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| (&*tcp).write_all(sent).expect("it is taken"));
        (&*tcp).read_exact(&mut back).expect("it comes back");
    });
    back
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_go_through_until_it_is_closed() {
    let cloud = Cloud::open();
    let mut light = Light::create();
    light.connect(&cloud, &echo().to_string()).await;
    let file = light.keys.join("a.token");
    let file = file.to_str().expect("UTF-8");
    let opened = opened_by_lamp(&light.thing, file);
    let token = fs::read_to_string(file).expect("a token");
    let mode = fs::metadata(file).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = String::from_utf8_lossy(&[opened.stdout.clone(), opened.stderr.clone()].concat())
        .into_owned();
    assert!(!said.contains(&token), "a token is printed");
    let tunnel = documents(&opened).remove(0);
    let command = text(&tunnel, "command");
    assert!(command.contains("localproxy --region"), "{command}");
    assert!(command.ends_with("SSH=5555"), "{command}");

    let (mut proxy, address) = through(file);
    let tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(echoed(&tcp, b"x"), b"x");
    let burst: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[(n % 3) as usize])
        .collect();
    assert!(echoed(&tcp, &burst) == burst, "1 MB comes back as it went");
    // One connection ends, the next one comes.
    drop(tcp);
    let tcp = TcpStream::connect(address).expect("it listens");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(echoed(&tcp, b"again"), b"again");
    let connected = &shown(&cloud, &tunnel).await["connected"];
    assert_eq!(*connected, json!({"source": true, "destination": true}));

    // The token has been used by another process.
    let again = run(&["tunnel", "connect", "--token-file", file, "--listen", "0"]);
    assert_eq!(again.status.code(), Some(3), "{again:?}");

    let id = text(&tunnel, "tunnelId");
    let closed = run(&["tunnel", "close", id]);
    assert!(closed.status.success(), "{closed:?}");
    let mut rest = Vec::new();
    let _ = (&tcp).read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert_eq!(proxy.wait().expect("it ends").code(), Some(0));
    light.says("tunnelEnded").await;
    let heard = light.stop();
    let count = |event: &str| heard.iter().filter(|line| line["event"] == event).count();
    let told = [count("tunnel"), count("tunnelStream"), count("tunnelEnded")];
    assert_eq!(told, [1, 2, 1], "{heard:?}");

    let shown = documents(&run(&["tunnel", "show", id])).remove(0);
    assert_eq!(trail(&shown), ["asked", "opened", "closed"]);
    for by in ["askedBy", "closedBy"] {
        assert!(text(&shown, by).contains("assumed-role/"), "{shown}");
    }
    assert_eq!(shown["ending"], "CLOSED");
    let listed = documents(&run(&["tunnel", "list", &light.thing]));
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["reason"], "the lamp does not switch");
    assert!(open_in_aws(&cloud, &light.thing).await.is_empty());
    assert!(!Value::from(heard).to_string().contains(&token));
    let registry = Value::from(rows(&cloud).await).to_string();
    assert!(registry.contains(id) && !registry.contains(&token));
}

#[tokio::test]
async fn what_is_refused() {
    let cloud = Cloud::open();
    let thing = unique("undug");
    created(&cloud, &json!({"thingName": thing})).await;
    let check = async |path: &str, change: (&str, Value), status: u16, field: &str| {
        let mut body = body();
        body[change.0] = change.1;
        let ask = Ask::new("POST", format!("/devices/{path}/tunnels")).text(body.to_string());
        let problem = cloud.api(&ask).await.expect(status);
        assert_eq!(problem["field"], field, "{problem}");
    };
    let nothing = || ("minutes", json!(30));
    check(&thing, nothing(), 409, "thingName").await;
    check(&unique("nobody"), nothing(), 404, "thingName").await;
    check(&thing, ("services", json!(["FTP"])), 400, "services").await;
    check(&thing, ("services", json!([])), 400, "services").await;
    check(&thing, ("reason", json!(" ")), 400, "reason").await;
    check(&thing, ("reason", Value::Null), 400, "reason").await;
    check(&thing, ("minutes", json!(721)), 400, "minutes").await;
    check(&thing, ("minutes", json!(0)), 400, "minutes").await;
    let case = reported(&cloud, &thing, "confirmed").await;
    check(&thing, ("waitMinutes", json!(5)), 409, "thingName").await;
    secured(&cloud, text(&case, "caseId")).await;
    for (method, path, status) in [
        ("GET", "/tunnels/tunnel-1".to_owned(), 400),
        ("GET", format!("/tunnels/tunnel-{}", "0".repeat(24)), 404),
        ("DELETE", format!("/tunnels/tunnel-{}", "0".repeat(24)), 404),
        ("GET", format!("/devices/{thing}/tunnels?cursor=x"), 400),
    ] {
        cloud.api(&Ask::new(method, path)).await.expect(status);
    }
    let none = Ask::new("GET", format!("/devices/{thing}/tunnels"));
    assert_eq!(cloud.api(&none).await.expect(200), json!({"items": []}));
    let lamp = run(&[
        "tunnel",
        "open",
        &thing,
        "--service",
        "SSH",
        "--minutes",
        "5",
        "--reason",
        "x",
    ]);
    assert_eq!(lamp.status.code(), Some(3), "{lamp:?}");
}

#[tokio::test]
async fn one_that_waits_is_opened_by_its_own_request_and_gives_its_token_once() {
    let cloud = Cloud::open();
    let mut light = Light::create();
    let (key, mut wanted) = (unique("key"), body());
    wanted["waitMinutes"] = 5.into();
    let ask = ask(&light.thing, &wanted).header("idempotency-key", &key);
    let queued = cloud.api(&ask).await.expect(202);
    assert_eq!(queued["status"], "QUEUED", "{queued}");
    assert_eq!(cloud.api(&ask).await.expect(202), queued);
    let other = light.open().header("idempotency-key", &key);
    assert_eq!(
        cloud.api(&other).await.expect(409)["field"],
        "idempotencyKey"
    );

    light.connect(&cloud, "127.0.0.1:1").await;
    let reply = deliver(&cloud, &ask).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let open = reply.expect(201);
    assert_eq!(open["tunnelId"], queued["tunnelId"]);
    let first = text(&open, "sourceAccessToken").to_owned();
    let again = cloud.api(&ask).await.expect(200);
    assert!(again["sourceAccessToken"].is_null(), "{again}");
    assert_eq!(open_in_aws(&cloud, &light.thing).await.len(), 1);

    let id = text(&open, "tunnelId");
    let rotation = Ask::new("POST", format!("/tunnels/{id}/rotation"));
    let rotated = deliver(&cloud, &rotation).await.expect(200);
    let second = text(&rotated, "sourceAccessToken");
    assert_ne!(second, first);
    assert_eq!(
        rotated["expiresAt"], open["expiresAt"],
        "it lives no longer"
    );
    // The first counts no more, the second does.
    for (token, counts) in [(first.as_str(), false), (second, true)] {
        let file = light.keys.join("token");
        fs::write(&file, token).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        let file = file.to_str().expect("UTF-8");
        if counts {
            let (mut proxy, _) = through(file);
            proxy.kill().expect("it runs");
            proxy.wait().expect("it ends");
        } else {
            let refused = run(&["tunnel", "connect", "--token-file", file, "--listen", "0"]);
            assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        }
    }
    let close = Ask::new("DELETE", format!("/tunnels/{id}"));
    for _ in 0..2 {
        assert_eq!(
            deliver(&cloud, &close).await.expect(200)["ending"],
            "CLOSED"
        );
    }
    cloud.api(&rotation).await.expect(409);
    let closed = shown(&cloud, &open).await;
    assert_eq!(trail(&closed), ["asked", "opened", "rotated", "closed"]);
}

/// A call that opens a tunnel, struck.
async fn struck(cloud: &Cloud, light: &Light, mode: &str) -> (Ask, Reply) {
    let (trace, key) = (trace(), unique("key"));
    let point = Point {
        operation: "iot:OpenTunnel".to_owned(),
        nth: 1,
    };
    let fault = faults::strike(cloud, &trace, &point, mode).await;
    let ask = light.open().header("idempotency-key", &key);
    let reply = cloud.api(&ask.clone().trace(&trace)).await;
    assert_eq!(faults::fired(cloud, fault).await, 1, "{mode}: {reply:?}");
    (ask, reply)
}

#[tokio::test]
async fn a_lost_reply_leaves_one_tunnel_and_a_throttled_call_waits_its_turn() {
    let cloud = Cloud::open();
    let light = Light::connected(&cloud).await;
    for mode in ["throttle", "drop-reply", "kill-after"] {
        let (ask, reply) = struck(&cloud, &light, mode).await;
        assert_eq!(reply.status == 201, mode == "throttle", "{mode}: {reply:?}");
        let open = match mode {
            "throttle" => reply.json(),
            "drop-reply" => deliver(&cloud, &ask).await.expect(201),
            // Nobody comes back for it.
            _ => {
                let list = Ask::new("GET", format!("/devices/{}/tunnels?limit=1", light.thing));
                let listed = cloud.api(&list).await.expect(200);
                let id = text(&listed["items"][0], "tunnelId").to_owned();
                assert_eq!(open_in_aws(&cloud, &light.thing).await.len(), 1);
                let update = json!({
                    "TableName": cloud.stack("TableName"),
                    "Key": {"PK": {"S": format!("TUNNEL#{id}")}, "SK": {"S": "TUNNEL"}},
                    "UpdateExpression": "SET leaseUntil = :past",
                    "ExpressionAttributeValues": {":past": {"N": "1"}},
                });
                let target = "DynamoDB_20120810.UpdateItem";
                cloud.aws_json("dynamodb", target, &update).await;
                let record = watched(&cloud, &id, "CLOSED").await;
                assert_eq!(record["ending"]["S"], "ABANDONED", "{record}");
                let started = Instant::now();
                while !open_in_aws(&cloud, &light.thing).await.is_empty() {
                    assert!(started.elapsed() < PATIENCE, "{id} is open in AWS");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                continue;
            }
        };
        assert!(open["sourceAccessToken"].is_string(), "{mode}: {open}");
        assert_eq!(open_in_aws(&cloud, &light.thing).await.len(), 1, "{mode}");
        let close = Ask::new("DELETE", format!("/tunnels/{}", text(&open, "tunnelId")));
        deliver(&cloud, &close).await.expect(200);
        assert!(open_in_aws(&cloud, &light.thing).await.is_empty(), "{mode}");
    }
}

#[tokio::test]
async fn the_trail_says_what_else_has_closed_it() {
    let cloud = Cloud::open();
    let light = Light::connected(&cloud).await;
    let open = deliver(&cloud, &light.open()).await.expect(201);
    let close = json!({"tunnelId": open["awsTunnelId"]});
    tunnels(&cloud, "CloseTunnel", &close).await.expect(200);
    let outside = shown(&cloud, &open).await;
    assert_eq!(outside["ending"], "CLOSED_OUTSIDE", "{outside}");

    let open = deliver(&cloud, &light.open()).await.expect(201);
    let operation = deleted(&cloud, &light.thing).await;
    let id = text(&open, "tunnelId");
    let record = watched(&cloud, id, "CLOSED").await;
    assert_eq!(
        record["ending"]["S"], "DEVICE_REMOVED",
        "{operation} {record}"
    );
    let removed = shown(&cloud, &open).await;
    assert!(text(&removed, "closedBy").contains("deletion"), "{removed}");
    let list = Ask::new("GET", format!("/devices/{}/tunnels?limit=1", light.thing));
    let first = cloud.api(&list).await.expect(200);
    assert_eq!(
        first["items"][0]["tunnelId"], open["tunnelId"],
        "a trail outlives its device"
    );
    let cursor = text(&first, "nextCursor").replace('#', "%23");
    let path = format!("/devices/{}/tunnels?limit=1&cursor={cursor}", light.thing);
    let next = cloud.api(&Ask::new("GET", path)).await.expect(200);
    assert_eq!(next["items"][0]["tunnelId"], outside["tunnelId"]);

    let light = Light::connected(&cloud).await;
    let open = deliver(&cloud, &light.open()).await.expect(201);
    let case = reported(&cloud, &light.thing, "confirmed").await;
    let rotation = format!("/tunnels/{}/rotation", text(&open, "tunnelId"));
    cloud.api(&Ask::new("POST", rotation)).await.expect(409);
    secured(&cloud, text(&case, "caseId")).await;
    let cut = shown(&cloud, &open).await;
    assert_eq!(cut["ending"], "COMPROMISED", "{cut}");
    assert!(
        text(&cut, "closedBy").contains(text(&case, "caseId")),
        "{cut}"
    );

    // Whoever waits for the device hears it when asking the next time.
    let light = Light::create();
    let mut wanted = body();
    wanted["waitMinutes"] = 5.into();
    let ask = ask(&light.thing, &wanted).header("idempotency-key", unique("key"));
    cloud.api(&ask).await.expect(202);
    reported(&cloud, &light.thing, "confirmed").await;
    let cut = cloud.api(&ask).await.expect(200);
    assert_eq!(cut["ending"], "COMPROMISED", "{cut}");
}
