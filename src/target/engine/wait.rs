//! Waiting until a container is healthy, by its own check: asked of the engine, and run by us, since the engine's first check
//! comes only after a whole interval.

use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum};

use super::{Engine, Exec, is_missing, trouble};
use crate::error::Kind;
use crate::secret::Secret;
use crate::target::Trouble;
use crate::target::say::clean;

/// Our own checks in a row that make a container healthy.
const IN_A_ROW: u32 = 2;
/// How long a container without a check has to stay up.
const STAYS_UP: Duration = Duration::from_secs(2);
/// How long one check of ours may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between the first good check and the one that confirms it.
const SOON: Duration = Duration::from_millis(50);
/// Between two checks at most.
const LATEST: Duration = Duration::from_secs(1);
/// What is left of a deadline to tell why it was not healthy.
const TO_TELL: Duration = Duration::from_secs(2);

impl Engine {
    /// Waits until a container is healthy by its own check, or without one stays up; shortly before the deadline it says why not.
    pub(crate) async fn wait_healthy(&self, name: &str, deadline: Duration) -> Result<(), Trouble> {
        let begin = Instant::now();
        let most = deadline.saturating_sub(TO_TELL);
        let mut good = 0;
        let mut said = String::new();
        let mut restarts = None;
        let mut started = None;
        let mut pause = Duration::from_millis(20);
        loop {
            let inspect = match self.docker.inspect_container(name, None).await {
                Ok(inspect) => inspect,
                Err(error) if is_missing(&error) => {
                    return Err(Trouble::failed(
                        "there is no such container any more; somebody removed it",
                    ));
                }
                Err(error) => return Err(trouble("look at the container", &error)),
            };
            let id = inspect.id.clone().unwrap_or_default();
            let count = inspect.restart_count.unwrap_or(0);
            let since = inspect
                .state
                .as_ref()
                .and_then(|state| state.started_at.clone());
            if started.is_some() && started != since {
                good = 0;
            }
            started = since;
            if count - *restarts.get_or_insert(count) >= 2 {
                return Err(self
                    .unhealthy(&id, "it starts, ends and starts again")
                    .await);
            }
            self.must_run(&inspect, &id).await?;
            match (check(&inspect), engines_word(&inspect)) {
                (_, Some(HealthStatusEnum::HEALTHY)) => return Ok(()),
                (None, _) if begin.elapsed() >= STAYS_UP => return Ok(()),
                (None, _) => {}
                (Some(argv), word) => {
                    if word == Some(HealthStatusEnum::UNHEALTHY) {
                        good = 0;
                    }
                    let left = most.saturating_sub(begin.elapsed());
                    let asked = Instant::now();
                    let checked = self.check_once(&id, argv, left).await;
                    // A check costs what it takes; one after the other would slow down the very start it waits for.
                    pause = pause.max(asked.elapsed() * 3);
                    match checked {
                        Ok(()) => good += 1,
                        Err(why) => {
                            good = 0;
                            if !why.is_empty() {
                                said = why;
                            }
                        }
                    }
                    if good >= IN_A_ROW {
                        return Ok(());
                    }
                }
            }
            if begin.elapsed() > most {
                let told = if said.is_empty() {
                    String::new()
                } else {
                    format!(": {said}")
                };
                let message = format!(
                    "it is not healthy after {} s{told}",
                    begin.elapsed().as_secs()
                );
                return Err(self.unhealthy(&id, &message).await);
            }
            tokio::time::sleep(if good > 0 { SOON } else { pause.min(LATEST) }).await;
            pause = pause * 3 / 2;
        }
    }

    /// An error where the container ended for good.
    async fn must_run(&self, inspect: &ContainerInspectResponse, id: &str) -> Result<(), Trouble> {
        let Some(state) = &inspect.state else {
            return Ok(());
        };
        match state.status {
            Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => {
                let code = state.exit_code.unwrap_or(0);
                let memory = if state.oom_killed == Some(true) {
                    ", it ran out of memory"
                } else {
                    ""
                };
                Err(self
                    .unhealthy(id, &format!("it ended with {code}{memory}"))
                    .await)
            }
            Some(ContainerStateStatusEnum::CREATED) => {
                let why = state
                    .error
                    .as_deref()
                    .filter(|why| !why.is_empty())
                    .unwrap_or("it was not started");
                Err(self.unhealthy(id, &clean(why, 300)).await)
            }
            Some(ContainerStateStatusEnum::PAUSED) => {
                Err(Trouble::failed("it is paused").kind(Kind::Unhealthy))
            }
            Some(ContainerStateStatusEnum::RESTARTING)
                if inspect.restart_count.unwrap_or(0) >= 2 =>
            {
                let code = state.exit_code.unwrap_or(0);
                Err(self
                    .unhealthy(id, &format!("it ends with {code} each time it starts"))
                    .await)
            }
            _ => Ok(()),
        }
    }

    async fn unhealthy(&self, id: &str, message: &str) -> Trouble {
        Trouble::failed(message)
            .kind(Kind::Unhealthy)
            .log(self.log_tail(id, 20).await)
    }

    async fn check_once(&self, id: &str, argv: Vec<String>, left: Duration) -> Result<(), String> {
        let exec = Exec {
            container: id,
            user: None,
            argv,
            env: Vec::new(),
            input: Secret::new(""),
            most: 1 << 20,
            last: None,
        };
        let ran = tokio::time::timeout(left.min(PATIENCE), self.run_to_end(exec)).await;
        match ran {
            // Cut short by the deadline, it says nothing about the check.
            Err(_) if left < PATIENCE => Err(String::new()),
            Err(_) => Err("its check takes too long".to_owned()),
            Ok(Err(why)) => Err(why.words()),
            Ok(Ok(ran)) if ran.code == Some(0) => Ok(()),
            Ok(Ok(ran)) => {
                let text = [ran.out, ran.err].concat();
                let line = String::from_utf8_lossy(&text)
                    .lines()
                    .last()
                    .unwrap_or_default()
                    .to_owned();
                Err(format!(
                    "its check says {}: {}",
                    ran.code.unwrap_or(-1),
                    clean(&line, 200)
                ))
            }
        }
    }
}

fn engines_word(inspect: &ContainerInspectResponse) -> Option<HealthStatusEnum> {
    inspect.state.as_ref()?.health.as_ref()?.status
}

/// The command of a container's health check; none where it has none.
fn check(inspect: &ContainerInspectResponse) -> Option<Vec<String>> {
    let test = inspect
        .config
        .as_ref()?
        .healthcheck
        .as_ref()?
        .test
        .as_ref()?;
    let (how, rest) = test.split_first()?;
    match (how.as_str(), rest) {
        ("CMD", [_, ..]) => Some(rest.to_vec()),
        ("CMD-SHELL", [line, ..]) => {
            Some(vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()])
        }
        _ => None,
    }
}
