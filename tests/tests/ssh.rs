//! A real SSH session through a tunnel.

use std::fs;

use lamplighter_domain::csr::sha256_hex;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::deliver;
use lamplighter_tests::lamp::documents;
use lamplighter_tests::ssh::Sshd;
use lamplighter_tests::tunnels::{Light, opened_by_lamp, through};

#[tokio::test]
async fn ssh_and_a_copy_go_through_a_tunnel() {
    let cloud = Cloud::open();
    let (server, mut light) = (Sshd::start(), Light::create());
    light.connect(&cloud, &server.address.to_string()).await;
    let file = light.keys.join("token");
    let file = file.to_str().expect("UTF-8");
    let opened = opened_by_lamp(&light.thing, file);
    let (mut proxy, address) = through(file);
    let port = address.port();

    let echoed = server.run(port, "echo through");
    assert_eq!(echoed.stdout, b"through\n", "{echoed:?}\n{}", server.log());
    let session = server.run(port, "exit 7");
    assert_eq!(session.status.code(), Some(7), "{session:?}");

    let (here, there) = (server.file("here"), server.file("there"));
    let content: Vec<u8> = (0..250_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(&here, &content).expect("a file");
    let copied = server.copy(port, &here, &there);
    assert!(copied.status.success(), "{copied:?}\n{}", server.log());
    let digest = server.run(port, &format!("sha256sum < {}", there.display()));
    let digest = String::from_utf8(digest.stdout).expect("UTF-8");
    assert_eq!(
        digest.split(' ').next(),
        Some(sha256_hex(&content).as_str())
    );

    let id = documents(&opened)[0]["tunnelId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let close = Ask::new("DELETE", format!("/tunnels/{id}"));
    deliver(&cloud, &close).await.expect(200);
    assert_eq!(proxy.wait().expect("it ends").code(), Some(0));
    light.stop();
}
