//! Moving a topic from one database to another while it is used.

use std::sync::Arc;

use super::events::Command;
use super::state::Ready;
use super::{ConfiguredTopic, TopicConfig, Topics, adapter};
use crate::copy::{Cutover, TopicCopy};
use crate::error::{Error, Result};
use crate::position::Version;

impl Topics {
    /// Changes a topic's configuration as [`Topics::update`] does, and takes its log along to the new place: events, streams,
    /// commands, snapshots, and where subscriptions stand, as [`TopicCopy`] copies them. Tells how many events it has copied.
    ///
    /// Writers go on meanwhile. At the end they wait, in whatever process, while the last events are copied and the change is
    /// recorded; those who append through [`Topics`] then go on at the new place, and none of them fails. Those who hold a
    /// [`Store`](crate::Store) are told [`Error::Moved`]. The log stays at the old place, too, and takes no events any more.
    ///
    /// Where it fails or is killed, nothing has changed but that there is a part of a copy, and calling it again goes on. In the
    /// moment between the end of the old place and the record of the new one, writers wait until it is called again. A topic that
    /// is there already is only updated.
    ///
    /// # Errors
    /// As [`Topics::update`], and as [`TopicCopy::run`].
    pub async fn relocate(
        &self,
        config: TopicConfig,
        expected: Version,
        progress: impl FnMut(u64) + Send,
    ) -> Result<(ConfiguredTopic, Cutover)> {
        let ready = self.inner.ready()?;
        let (current, place) = self.checked_change(&ready, &config, expected).await?;
        if place.home == adapter::place(&current.config)?.home {
            let made = if config == current.config { current } else { self.update(config, expected).await? };
            return Ok((made, Cutover::default()));
        }
        let (name, from) = (config.name.clone(), self.store(&config.name).await?);
        let url = place.config.clone().with_topic(&name)?;
        let backend = self.inner.registry.reach(place).await?;
        let copy = TopicCopy::between(from, Arc::clone(&backend), &url).await?;
        let moved = async {
            // Who has changed the configuration meanwhile is heeded before writers wait.
            let wanted = async { self.checked_change(&ready, &config, expected).await.map(drop) };
            let cutover = copy.cutover_if(wanted, progress).await?;
            let start = std::time::Instant::now();
            self.record(&ready, &copy, &cutover, &current.config, config.clone(), expected).await?;
            Ok((self.get(&name)?, Cutover { pause: cutover.pause + start.elapsed(), ..cutover }))
        };
        let moved = moved.await;
        copy.to().close().await;
        moved
    }

    /// Records that a topic is where its copy has become the topic. Where somebody else has changed it meanwhile, and it is to be
    /// where it was when the copy began, the original is the topic again, unless it was closed before.
    pub(super) async fn record(
        &self,
        ready: &Ready,
        copy: &TopicCopy,
        cutover: &Cutover,
        current: &TopicConfig,
        config: TopicConfig,
        expected: Version,
    ) -> Result<()> {
        let (name, home) = (config.name.clone(), adapter::place(current)?.home);
        let recorded = self.change(ready, &name, Command::Update(config, expected)).await;
        if let Err(Error::Conflict { .. } | Error::TopicDeleted { .. }) = recorded
            && adapter::place(&ready.read().config(&name)?)?.home == home
            && let Err(error) = copy.undo(cutover).await
        {
            self.inner.log(tracing::Level::ERROR, &format!("topic {name:?} takes no events: {}", error.report()));
        }
        recorded
    }
}
