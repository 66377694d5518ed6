//! What plain things of servers mean: in which order they come, and what is said of a template that cannot be.

use std::path::Path;

use provision::environment;
use provision::resource::{Resource, Thing};
use provision::services;
use provision::show::problems::render;

const HEAD: &str = "[environment]\nname = \"servers\"\nproject = \"iact\"\n[target]\ndriver = \"ssh\"\n\
                    [host.s1]\naddress = \"s1.example\"\n[host.s2]\naddress = \"s2.example\"\n";

/// The resources of an environment in order, or what is wrong with it.
fn meant(text: &str, templates: &[(&str, &str)]) -> Result<Vec<Resource>, String> {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| {
        let path = folder.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("servers.toml", &format!("{HEAD}{text}"));
    for (name, text) in templates {
        write(&format!("templates/{name}"), text);
    }
    write("keys/a.pub", "ssh-ed25519 AAAAC3Nz a@b\n");
    let environment = environment::load(Path::new(folder.path()), "servers")
        .map_err(|failure| render(&failure.problems, false))?;
    services::meaning(&environment, &services::Ports::new())
        .map(|expansion| expansion.resources)
        .map_err(|problems| render(&problems, false))
}

#[test]
fn things_of_a_server_come_in_the_order_they_need() {
    let text = r#"
[systemd_unit."app.service"]
on = "s1"
content = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
reads = ["/srv/app/env"]
[file."/srv/app/env"]
on = "s1"
content = "A=1\n"
owner = "app"
group = "web"
reloads = ["nginx.service"]
[file."/home/amy/in/note"]
on = "s1"
content = "x"
[directory."/srv"]
on = "s1"
[directory."/srv/app"]
on = "s1"
owner = "app"
[link."/srv/app/current"]
on = "s1"
to = "/srv/app/one"
[directory."/srv/app/one"]
on = "s1"
[user.app]
on = "s1"
group = "web"
home = "/srv/app"
[user.amy]
on = ["s1", "s2"]
authorized_keys = ["keys/*.pub"]
[group.web]
on = "s1"
[packages.tools]
on = "s1"
names = ["htop"]
"#;
    let resources = meant(text, &[]).unwrap();
    let at = |id: &str| {
        let found = resources.iter().position(|one| one.id.as_str() == id);
        found.unwrap_or_else(|| panic!("{id} is not there"))
    };
    for chain in [
        &[
            "packages.s1:tools",
            "group.s1:web",
            "user.s1:app",
            "directory.s1:/srv/app",
            "file.s1:/srv/app/env",
            "systemd_unit.s1:app.service",
        ][..],
        &[
            "directory.s1:/srv",
            "directory.s1:/srv/app",
            "directory.s1:/srv/app/one",
            "link.s1:/srv/app/current",
        ],
        &["directory.s1:/srv", "user.s1:app"],
        &["user.s1:amy", "authorized_key.s1:amy"],
        &["user.s1:amy", "file.s1:/home/amy/in/note"],
        &["file.s1:/srv/app/env", "systemd_unit.s1:nginx.service"],
    ] {
        for pair in chain.windows(2) {
            assert!(at(pair[0]) < at(pair[1]), "{pair:?}");
        }
    }
    let crossing = resources
        .iter()
        .filter(|one| one.id.as_str().contains(".s2:"))
        .flat_map(|one| &one.needs)
        .filter(|need| need.as_str().contains(".s1:"))
        .count();
    assert_eq!(crossing, 0, "no server waits for another");
    let Thing::SystemdUnit(unit) = &resources[at("systemd_unit.s1:app.service")].thing else {
        panic!("a unit is a unit");
    };
    let Thing::ServerFile(file) = &resources[at("file.s1:/srv/app/env")].thing else {
        panic!("a file is a file");
    };
    assert_eq!(unit.reads["/srv/app/env"], file.digest());
}

#[test]
fn a_template_that_cannot_be_is_told_with_its_line_and_where_it_is_named() {
    let text = "[file.\"/etc/motd\"]\non = \"s1\"\ntemplate = \"motd.j2\"\n";
    let wrong = meant(text, &[("motd.j2", "one\n{{ here.nam }}\n")]).unwrap_err();
    assert!(
        wrong.contains("template `motd.j2`, line 2: `here.nam` is not defined")
            && wrong.contains("servers.toml:12:12"),
        "{wrong}"
    );
    let gone = meant(text, &[("modt.j2", "")]).unwrap_err();
    assert!(
        gone.contains("there is no template `motd.j2`") && gone.contains("did you mean `modt.j2`?"),
        "{gone}"
    );
}
