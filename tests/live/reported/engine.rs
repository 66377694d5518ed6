//! Containers and images: health as part of what is seen, images that nobody uses, failures of builds and first starts of an application.

use std::process::Command;

use crate::lab::{Lab, SMALL, docker, engine, run, until};

/// A server that ends whenever it is started is no server that is as wanted, at whatever moment somebody looks: the plan says what
/// happens to it, apply does not call it done, and once the cause is gone it is healed.
#[test]
fn a_container_that_starts_and_ends_over_and_over_is_named() {
    if !engine() {
        return;
    }
    let lab = Lab::with("loops", SMALL);
    lab.apply();
    let container = lab.container("analytics");
    let volume = format!("{}_analytics_data", lab.project);
    let spoil =
        "echo \"work_mem = 'quite a lot'\" >> /var/lib/postgresql/data/postgresql.auto.conf";
    docker(&["exec", &container, "sh", "-c", spoil]);
    docker(&["restart", "-t", "1", &container]);
    let restarts = || docker(&["inspect", "-f", "{{.RestartCount}}", &container]);
    until("it was started three times", || {
        restarts().parse::<u32>().is_ok_and(|count| count >= 3)
    });

    // Whether it is just up or just down.
    for _ in 0..10 {
        let plan = lab.provision(&["plan", "local", "--detailed-exitcode"]);
        assert_ne!(plan.code, 0, "{}", plan.stdout);
        let said = &plan.stdout;
        assert!(said.contains("container.analytics"), "{said}");
        assert!(
            said.contains("started again ") && said.contains(" times"),
            "{said}"
        );
        assert!(said.contains("its log says: "), "{said}");
        assert!(said.contains("errors"), "{said}");
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    let changes = lab.plan();
    assert_eq!(changes[0].0, "container.analytics");
    assert_eq!(changes[0].2, ["state"]);
    let audit = lab.provision(&["audit", "local"]);
    assert_ne!(audit.code, 0);
    assert!(
        audit.stdout.contains("container.analytics"),
        "{}",
        audit.stdout
    );

    // Roles and databases wait for it, so not all that was planned is done.
    let applied = lab.provision(&["apply", "local", "--yes"]).ends(1);
    assert!(applied.stderr.contains("FATAL"), "{}", applied.stderr);
    assert!(
        applied
            .stderr
            .contains("lines stand before these; all of them: `docker logs "),
        "{}",
        applied.stderr
    );
    // What is printed runs as it is.
    let command = applied.stderr.split("all of them: `").nth(1).unwrap();
    let command = command.split('`').next().unwrap();
    let all = run(Command::new("sh").args(["-c", command])).ends(0);
    assert!(all.stderr.contains("quite a lot"), "{}", all.stderr);

    docker(&["stop", "-t", "1", &container]);
    let mend = "sed -i '/quite a lot/d' /data/postgresql.auto.conf";
    let mount = format!("{volume}:/data");
    docker(&[
        "run",
        "--rm",
        "-v",
        &mount,
        "postgres:15-bookworm",
        "sh",
        "-c",
        mend,
    ]);
    lab.apply();
    lab.nothing_to_do();
}
