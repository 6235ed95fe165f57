//! A new identity for a topic's log.

use uuid::Uuid;

use super::Store;
use crate::error::Result;
use crate::sql::statements;

impl Store {
    /// Gives the topic a new incarnation, as after its database was restored from a backup, and returns it: every
    /// checkpoint that a reader keeps from before is answered with [`Error::LogDiverged`](crate::Error::LogDiverged), for
    /// positions may have been given to other events since.
    ///
    /// Stores that are open give out checkpoints of the old incarnation: open them again.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) where the backend knows no SQL, and what it answers.
    pub async fn reincarnate(&self) -> Result<Uuid> {
        let incarnation = Uuid::new_v4();
        let mut transaction = self.begin().await?;
        transaction.write(statements::reincarnate(self.dialect()?, &self.topic().name, incarnation)).await?;
        transaction.commit().await?;
        Ok(incarnation)
    }
}
