//! Waiting until a container is healthy, by its own check: asked of the engine, and run by us, since the engine's first check
//! comes only after a whole interval.

use std::time::{Duration, Instant};

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum};

use bollard::query_parameters::{LogsOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt as _;

use super::{Engine, Exec, is_missing, trouble};
use crate::error::Kind;
use crate::secret::Secret;
use crate::statement::FirstStart;
use crate::target::Trouble;
use crate::target::say::{clean, clean_line};

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
/// Lines of a first start's log that are read for its error, and bytes of them.
const LOG_LINES: &str = "5000";
const LOG_MOST: usize = 8 << 20;
/// What is left of a deadline to tell why it was not healthy.
const TO_TELL: Duration = Duration::from_secs(2);

impl Engine {
    /// Waits until a first start is over and its container healthy. A container that ends meanwhile is started again by the engine, on a
    /// server that is made by half: so the end is heard at once, and what was made is taken back where the log tells of an error in
    /// the SQL.
    pub(crate) async fn wait_first_start(
        &self,
        name: &str,
        volumes: &[String],
        start: &FirstStart,
        deadline: Duration,
    ) -> Result<(), Trouble> {
        let begin = Instant::now();
        let waited = tokio::select! {
            biased;
            () = self.ended(name) => None,
            waited = self.wait_healthy(name, deadline) => Some(waited),
        };
        if matches!(waited, Some(Ok(()))) && !self.restarted(name).await {
            return Ok(());
        }
        if let Some((message, statement)) = start.explain(&self.log_text(name).await) {
            let message = format!("its first start failed at {}", clean(&message, 1000));
            let statement = statement.iter().map(|line| clean_line(line, 200));
            let trouble = Trouble::failed(message).log(statement.collect());
            return Err(self.take_back(name, volumes, trouble).await);
        }
        match waited {
            Some(waited) => waited,
            // It ended for another reason: whether it comes back is seen as for any other container.
            None => {
                let left = deadline.saturating_sub(begin.elapsed());
                self.wait_healthy(name, left).await
            }
        }
    }

    /// Comes back when a container is no longer running; never where the engine does not tell.
    async fn ended(&self, name: &str) {
        let options = Some(WaitContainerOptions::default());
        let mut stream = std::pin::pin!(self.docker.wait_container(name, options));
        match stream.next().await {
            Some(Ok(_) | Err(bollard::errors::Error::DockerContainerWaitError { .. })) => {}
            _ => std::future::pending().await,
        }
    }

    async fn restarted(&self, name: &str) -> bool {
        let inspect = self.docker.inspect_container(name, None).await;
        inspect.is_ok_and(|inspect| inspect.restart_count.unwrap_or(0) > 0)
    }

    /// What a container has said so far, as it is.
    async fn log_text(&self, name: &str) -> String {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(LOG_LINES)
            .build();
        let read = async {
            let mut stream = std::pin::pin!(self.docker.logs(name, Some(options)));
            let mut text = Vec::new();
            while let Some(Ok(piece)) = stream.next().await {
                text.extend_from_slice(piece.as_ref());
                if text.len() > LOG_MOST {
                    break;
                }
            }
            text
        };
        let text = tokio::time::timeout(PATIENCE, read).await;
        String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
    }

    /// Removes a container whose first start failed, with the volumes that this run made for it: nothing but that start was ever
    /// written to them.
    async fn take_back(&self, name: &str, volumes: &[String], mut trouble: Trouble) -> Trouble {
        for volume in volumes {
            if !self.is_new(volume).await {
                trouble.log.push(format!(
                    "the volume `{volume}` stays as it is, since nobody can tell that this run made it"
                ));
                return trouble;
            }
        }
        let removed = async {
            // At once: started again by the engine, it would not hear a signal while it starts.
            self.force_away(name).await?;
            for volume in volumes {
                self.remove_volume(volume).await?;
            }
            Ok::<(), Trouble>(())
        };
        let names: Vec<String> = volumes.iter().map(|name| format!("`{name}`")).collect();
        let names = names.join(", ");
        match removed.await {
            Ok(()) => {
                trouble.log.push(format!(
                    "nothing of this start stays: its new volume {names} is removed again, and the next `apply` makes everything anew"
                ));
                trouble.undone = volumes.into();
            }
            Err(why) => trouble.log.push(format!(
                "what it made until then stays in the volume {names}, which could not be removed: {}",
                why.message
            )),
        }
        trouble
    }

    /// Whether a volume was made since this run connected. The engine answers a request to make one that exists as if it had made
    /// it, so the plan alone does not say that; an answer that cannot be read counts as no.
    async fn is_new(&self, volume: &str) -> bool {
        let seen = self.docker.inspect_volume(volume).await.ok();
        let created = seen.and_then(|volume| volume.created_at);
        let created: Option<jiff::Timestamp> = created.and_then(|time| time.parse().ok());
        // Whole seconds are all that the engine tells.
        created.is_some_and(|time| time.as_second() >= self.connected.as_second())
    }

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
            // Not without end: a long wait would grow it past what can be counted.
            pause = (pause * 3 / 2).min(LATEST);
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
            .log(self.log_tail(id, 20, true).await)
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
