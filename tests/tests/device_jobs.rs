//! Jobs that a light run by `lamp` carries out over MQTT, each reported as it
//! went; and a renewal whose word is carried by one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lamplighter_domain::csr::sha256_hex;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::PATIENCE;
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::lamp::lamp;
use lamplighter_tests::running::Running;
use serde_json::{Value, json};

/// A light that runs until the test has ended, and its folder.
struct Light {
    thing: String,
    folder: PathBuf,
    running: Option<Running>,
}

impl Light {
    /// Creates a light, and switches it on with these programs for its jobs
    /// beside those of the example.
    async fn start(handlers: &[(&str, &str)]) -> Self {
        let (thing, name) = (unique("job"), unique("jobs"));
        let folder = std::env::temp_dir().join(name);
        let programs = folder.join("handlers");
        fs::create_dir_all(&programs).expect("a folder");
        let example = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../examples/street-lights/handlers"
        );
        for entry in fs::read_dir(example).expect("the example's handlers") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), programs.join(entry.file_name())).expect("a copy");
        }
        for (name, script) in handlers {
            let path = programs.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        let mut light = Self {
            thing,
            folder,
            running: None,
        };
        light.lamp(&["device", "create", &light.thing]);
        light.switch_on();
        light.running().says("connected").await;
        light
    }

    fn lamp(&self, arguments: &[&str]) {
        let output = lamp()
            .args(arguments)
            .args(["--keys-dir", self.path("keys").to_str().expect("UTF-8")])
            .output()
            .expect("lamp runs");
        assert!(output.status.success(), "{output:?}");
    }

    fn switch_on(&mut self) {
        let (keys, handlers) = (self.path("keys"), self.path("handlers"));
        let handlers = handlers.to_str().expect("UTF-8");
        let options = ["--firmware", "1.9.0", "--handlers", handlers];
        self.running = Some(Running::start(&self.thing, &keys, &options));
    }

    /// Switches it off, with no time for anything (SIGKILL).
    fn kill(&mut self) {
        self.running = None;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it is switched on")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Gives it a job.
    async fn give(&self, cloud: &Cloud, steps: Value, more: Value) -> String {
        let job = unique("job");
        let target = format!("arn:aws:iot:us-east-1:000000000000:thing/{}", self.thing);
        let document = json!({"version": "1.0", "includeStdOut": "true", "steps": steps});
        let mut body = json!({"targets": [target], "document": document.to_string()});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        iot(cloud, "PUT", &format!("/jobs/{job}"), &body)
            .await
            .expect(200);
        job
    }

    /// The execution of a job, once it is so.
    async fn execution(&self, cloud: &Cloud, job: &str, so: impl Fn(&str) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let path = format!("/things/{}/jobs/{job}", self.thing);
            let found = describe(cloud, &path).await.json()["execution"].clone();
            if so(found["status"].as_str().unwrap_or_default()) {
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{found}: {:?}",
                self.running().said()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn ended(&self, cloud: &Cloud, job: &str) -> Value {
        let ended = |status: &str| !["QUEUED", "IN_PROGRESS", ""].contains(&status);
        self.execution(cloud, job, ended).await
    }

    /// That a job ends so, and why.
    async fn ends(&self, cloud: &Cloud, job: &str, status: &str, reason: &str) {
        let found = self.ended(cloud, job).await;
        assert_eq!(
            found["status"],
            status,
            "{found}: {:?}",
            self.running().said()
        );
        let told = &found["statusDetails"]["detailsMap"]["reason"];
        let told = told.as_str().unwrap_or_default();
        assert!(told.contains(reason), "{found}");
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn step(name: &str, handler: &str, args: &[&str]) -> Value {
    json!({"action": {"name": name, "type": "runHandler",
        "input": {"handler": handler, "args": args, "path": "default"}}})
}

/// A firmware in S3, and a role by which AWS IoT may sign its address: the
/// address as a document names it, and the role.
async fn firmware(cloud: &Cloud, content: &str) -> (String, String) {
    let (bucket, role) = (unique("firmware"), unique("presign"));
    let put = |path: String, body: &str| Ask::new("PUT", path).text(body);
    let put_bucket = put(format!("/{bucket}"), "");
    cloud.aws("s3", &put_bucket).await.expect(200);
    let put_object = put(format!("/{bucket}/lights/fw.bin"), content)
        .header("content-type", "application/octet-stream");
    cloud.aws("s3", &put_object).await.expect(200);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}]});
    let read = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{bucket}/*")}]});
    for query in [
        format!(
            "Action=CreateRole&RoleName={role}&AssumeRolePolicyDocument={}",
            encoded(&trust)
        ),
        format!(
            "Action=PutRolePolicy&RoleName={role}&PolicyName=p&PolicyDocument={}",
            encoded(&read)
        ),
    ] {
        let ask = Ask::new("POST", "/")
            .text(format!("{query}&Version=2010-05-08"))
            .header("content-type", "application/x-www-form-urlencoded");
        let reply = cloud.aws("iam", &ask).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    let object = format!("https://s3.us-east-1.amazonaws.com/{bucket}/lights/fw.bin");
    (
        format!("${{aws:iot:s3-presigned-url-v2:{object}}}"),
        format!("arn:aws:iam::000000000000:role/{role}"),
    )
}

/// A document as part of a form.
fn encoded(document: &Value) -> String {
    let text = document.to_string();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[tokio::test]
async fn a_light_installs_a_firmware_restarts_and_reports_it() {
    let cloud = &Cloud::open();
    let light = Light::start(&[]).await;
    let (address, role) = firmware(cloud, "a firmware").await;
    let file = "firmware-2.1.0.bin";
    let digest = sha256_hex(b"a firmware");
    let steps = json!([
        step("Download", "download.sh", &[&address, &digest, file]),
        step("Install", "install.sh", &[file, "other"]),
        step("Restart", "reboot.sh", &[]),
        step("Clean up", "remove.sh", &[file]),
    ]);
    let presigned = json!({"presignedUrlConfig": {"roleArn": role, "expiresInSec": 60}});
    let job = light.give(cloud, steps, presigned).await;
    light.ends(cloud, &job, "SUCCEEDED", "").await;
    light.running().says("restarting").await;

    let shadow = Ask::new("GET", format!("/things/{}/shadow", light.thing));
    let shadow = cloud.aws("iotdata", &shadow).await.expect(200);
    assert_eq!(
        shadow["state"]["reported"]["firmware_version"], "2.1.0",
        "{shadow}"
    );
    let work = light.path(&format!("keys/{}.jobs/work", light.thing));
    assert!(!work.join(file).exists() && work.join("slot-b").exists());

    // Another digest than that of what is there: nothing is kept.
    let steps = json!([step(
        "Download",
        "download.sh",
        &[&address, &sha256_hex(b""), file]
    )]);
    let presigned = json!({"presignedUrlConfig": {"roleArn": role, "expiresInSec": 60}});
    let job = light.give(cloud, steps, presigned).await;
    light.ends(cloud, &job, "FAILED", "exit status 65").await;
    assert!(!work.join(file).exists());
}

#[tokio::test]
async fn each_job_is_reported_as_it_went_and_the_light_goes_on() {
    let cloud = &Cloud::open();
    let light = Light::start(&[
        ("fails.sh", "echo 'no room left' >&2; exit 3"),
        ("prints.sh", "exec yes"),
        ("args.sh", "printf '%s|' \"$@\""),
        // What timeout(1) starts is in a group of its own.
        (
            "slow.sh",
            "timeout 90 sh -c 'echo $$ > pid; mv pid begun; sleep 90'",
        ),
    ])
    .await;
    let handlers = light.path("handlers");
    fs::write(handlers.join("notes.txt"), "no program").expect("a file");
    symlink("/bin/true", handlers.join("outside.sh")).expect("a link");
    let one = |handler: &str, args: &[&str]| json!([step("One", handler, args)]);
    let hostile = ["; touch x", "$(id)", "a b"];
    for (steps, status, reason) in [
        (
            one("nowhere.sh", &[]),
            "REJECTED",
            "there is no handler nowhere.sh",
        ),
        (
            one("notes.txt", &[]),
            "REJECTED",
            "notes.txt is no handler: it may not be executed",
        ),
        (
            one("outside.sh", &[]),
            "REJECTED",
            "outside.sh is no handler: it is a link out",
        ),
        (one("../args.sh", &[]), "REJECTED", "no handler's name"),
        (one("args.sh; reboot", &[]), "REJECTED", "no handler's name"),
        (
            one("args.sh", &["../../etc/passwd"]),
            "REJECTED",
            "leads out",
        ),
        (one("prints.sh", &[]), "FAILED", "it printed too much"),
        (
            one("fails.sh", &[]),
            "FAILED",
            "step 1 of 1, One: exit status 3",
        ),
        (one("args.sh", &hostile), "SUCCEEDED", ""),
    ] {
        let job = light.give(cloud, steps, Value::Null).await;
        light.ends(cloud, &job, status, reason).await;
        if status == "SUCCEEDED" {
            let found = light.ended(cloud, &job).await;
            let printed = &found["statusDetails"]["detailsMap"]["stdout"];
            assert_eq!(*printed, "|; touch x|$(id)|a b|", "{found}");
        }
    }

    let job = light.give(cloud, one("slow.sh", &[]), Value::Null).await;
    let work = light.path(&format!("keys/{}.jobs/work", light.thing));
    let slow = begun(&work).await;
    let cancel = format!("/jobs/{job}/cancel?force=true");
    iot(cloud, "PUT", &cancel, &json!({})).await.expect(200);
    light.running().says("jobOver").await;
    let job = light.give(cloud, one("args.sh", &[]), Value::Null).await;
    light.ends(cloud, &job, "SUCCEEDED", "").await;
    assert!(!runs(&slow), "the handler was ended");
    let connected = light
        .running()
        .said()
        .iter()
        .filter(|line| line["event"] == "connected")
        .count();
    assert_eq!(connected, 1, "nothing of it cuts the light off");
}

#[tokio::test]
async fn what_a_killed_light_left_running_does_not_run_beside_its_next() {
    let cloud = &Cloud::open();
    let script = "[ \"$LAMP_STEP_RUN\" -gt 1 ] && exit 0; echo $$ > pid; mv pid begun; sleep 90";
    let mut light = Light::start(&[("slow.sh", script)]).await;
    let steps = json!([step("One", "slow.sh", &[])]);
    let job = light.give(cloud, steps, Value::Null).await;
    let work = light.path(&format!("keys/{}.jobs/work", light.thing));
    let slow = begun(&work).await;
    light.kill();
    assert!(runs(&slow), "the handler outlives lamp");
    light.switch_on();
    light.ends(cloud, &job, "SUCCEEDED", "").await;
    assert!(!runs(&slow), "the handler was ended");
}

/// Waits for a handler to begin. The answer is its process's id.
async fn begun(work: &Path) -> String {
    let (path, started) = (work.join("begun"), Instant::now());
    loop {
        if let Ok(pid) = fs::read_to_string(&path) {
            return pid.trim().to_owned();
        }
        assert!(started.elapsed() < PATIENCE, "{}", path.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a process runs; one that has ended may stay in the list.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_certificate_is_renewed_by_a_job_that_leaves_nothing() {
    let cloud = &Cloud::open();
    let mut light = Light::start(&[("slow.sh", "sleep 2")]).await;
    // A job is under way, and goes on while the certificate changes.
    let slow = light
        .give(cloud, json!([step("One", "slow.sh", &[])]), Value::Null)
        .await;
    let ask = Ask::new(
        "POST",
        format!("/devices/{}/certificate/renewal", light.thing),
    )
    .text(json!({"messenger": "job"}).to_string());
    let rotation = cloud.api(&ask).await.expect(202)["operationId"].clone();
    let rotation = rotation.as_str().expect("an id");
    light.ends(cloud, &slow, "SUCCEEDED", "").await;
    let job = format!("lamplighter-renew-{rotation}");
    let of_it = |line: &Value| line["event"] == "jobEnded" && line["jobId"] == job;
    let ended = light.running().says_what(of_it).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{:?}", light.running().said());
    assert_eq!(
        light.running().says("retired").await["rotationId"],
        rotation
    );
    let operation = Ask::new("GET", format!("/operations/{rotation}"));
    let started = Instant::now();
    while cloud.api(&operation).await.json()["status"] != "DONE" {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(describe(cloud, &format!("/jobs/{job}")).await.status, 404);

    // One that comes while the light is off waits for it, and so does the light
    // for nothing else.
    light.kill();
    let rotation = cloud.api(&ask).await.expect(202)["operationId"].clone();
    light.switch_on();
    let renewed = light.running().says("retired").await;
    assert_eq!(renewed["rotationId"], rotation);
}
