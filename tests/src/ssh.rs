//! An SSH server of a test's own, and clients that trust it and nobody else.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::delivery::PATIENCE;
use crate::device::unique;

const SERVER: &str = "/usr/sbin/sshd";
/// What a server that runs as root wants to be there, as its service would make it.
const PRIVILEGE_SEPARATION: &str = "/run/sshd";

/// A server of this user's own, with a host key that is made for it. It lets in
/// whoever has the one key that is made beside it.
#[derive(Debug)]
pub struct Sshd {
    /// Where it listens.
    pub address: SocketAddr,
    folder: PathBuf,
    user: String,
    process: Child,
}

impl Sshd {
    /// Starts it on a free port of the loopback interface.
    pub fn start() -> Self {
        assert!(
            Path::new(SERVER).exists(),
            "there is no {SERVER}: apt-get install openssh-server"
        );
        let folder = std::env::temp_dir().join(unique("sshd"));
        fs::create_dir(&folder).expect("a folder");
        for key in ["host", "user"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key))
                .status();
            assert!(made.expect("ssh-keygen runs").success());
        }
        let user = said("id", "-un");
        if said("id", "-u") == "0" {
            fs::create_dir_all(PRIVILEGE_SEPARATION).expect("a folder");
        }
        let address = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port");
        let process = Command::new(SERVER)
            .args(["-D", "-e", "-f", "/dev/null"])
            .args(options([
                ("ListenAddress", address.to_string().as_ref()),
                ("HostKey", folder.join("host").as_ref()),
                ("AuthorizedKeysFile", folder.join("user.pub").as_ref()),
                ("PidFile", "none".as_ref()),
                // Whoever may write to the folder's parent owns no file in it.
                ("StrictModes", "no".as_ref()),
                ("PasswordAuthentication", "no".as_ref()),
                ("KbdInteractiveAuthentication", "no".as_ref()),
                ("Subsystem", "sftp internal-sftp".as_ref()),
            ]))
            .stderr(File::create(folder.join("log")).expect("a file"))
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd runs");
        let server = Self {
            address,
            folder,
            user,
            process,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "{}", server.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// A file's place in its folder, which goes with it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs a command on the server, by `ssh` to a port of this machine.
    pub fn run(&self, port: u16, command: &str) -> Output {
        let host = format!("{}@127.0.0.1", self.user);
        let mut ssh = self.client("ssh", "-p", port);
        ssh.args([&host, command]).output().expect("ssh runs")
    }

    /// Copies a file to the server, by `scp`.
    pub fn copy(&self, port: u16, from: &Path, to: &Path) -> Output {
        let to = format!("{}@127.0.0.1:{}", self.user, to.display());
        let mut scp = self.client("scp", "-P", port);
        scp.arg(from).arg(to).output().expect("scp runs")
    }

    /// What it has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn client(&self, program: &str, port_option: &str, port: u16) -> Command {
        let host_key = fs::read_to_string(self.folder.join("host.pub")).expect("a host key");
        let known = self.folder.join("known");
        fs::write(&known, format!("the-light {host_key}")).expect("a file");
        let mut client = Command::new(program);
        client
            .args(["-F", "none", port_option, &port.to_string()])
            .args(options([
                ("IdentityFile", self.folder.join("user").as_ref()),
                ("IdentitiesOnly", "yes".as_ref()),
                ("HostKeyAlias", "the-light".as_ref()),
                ("UserKnownHostsFile", known.as_ref()),
                ("GlobalKnownHostsFile", "/dev/null".as_ref()),
                ("StrictHostKeyChecking", "yes".as_ref()),
                ("BatchMode", "yes".as_ref()),
                ("ConnectTimeout", "20".as_ref()),
            ]));
        client
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn options<const N: usize>(all: [(&str, &OsStr); N]) -> Vec<String> {
    let option = |(name, value): (&str, &OsStr)| format!("-o{name}={}", value.display());
    all.into_iter().map(option).collect()
}

fn said(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    let said = output.expect("it runs").stdout;
    String::from_utf8(said).expect("UTF-8").trim().to_owned()
}
