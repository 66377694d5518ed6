//! A host key, for somebody who decides whether to trust it.

use crate::target::{HostKey, fingerprint};

/// The key that a machine shows, and what it was known by.
pub fn render(name: &str, address: &str, shown: &HostKey) -> String {
    let kind = shown.key.split(' ').next().unwrap_or_default();
    let mut text = format!(
        "`{name}` ({address}) shows the host key\n\n    {kind}  {}\n\n",
        shown.fingerprint()
    );
    for (key, place) in &shown.known {
        let says = match *key == shown.key {
            true => "It is trusted already".to_owned(),
            false => format!("It has CHANGED: it was {}", fingerprint(key)),
        };
        text.push_str(&format!("{says}, by {place}.\n"));
    }
    if !shown.is_known() {
        let file = match kind {
            "ssh-ed25519" => "ed25519",
            "ssh-rsa" => "rsa",
            _ => "ecdsa",
        };
        if !shown.known.is_empty() {
            text.push_str("Unless the machine was made anew, somebody may listen in.\n");
        }
        text.push_str(&format!(
            "Compare it with what the machine says of itself, on its console:\n    ssh-keygen -lf /etc/ssh/ssh_host_{file}_key.pub\n"
        ));
    }
    text
}
