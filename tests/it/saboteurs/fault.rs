//! The promises that saboteurs break, one each.

/// What a saboteur does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Takes every expected version for `Any`.
    IgnoresExpectedVersion,
    /// Checks that the slot after the expected version is free, not that the version is current.
    ChecksTheSlot,
    /// Reads what decides before the lock is granted: locks and decides in one statement.
    DecidesBeforeTheLock,
    /// Makes `Any` conflict when others write.
    AnyConflicts,
    /// Stores the streams of a request one by one.
    StoresStreamByStream,
    /// Does not check the streams that a request only guards.
    IgnoresGuards,
    /// Does not check requests without events.
    IgnoresAssertions,
    /// Names the expected version as the actual one.
    NamesTheWrongVersion,
    /// Lets a stream change its category.
    LetsTypesChange,
    /// Acknowledges requests of a large batch without storing the last.
    LosesTheLastOfABatch,
    /// Gives the answers of a batch to the wrong callers.
    SwapsAnswers,
    /// Tells a whole batch that it failed where one request of it did.
    FailsTheWholeBatch,
    /// Ignores append conditions.
    IgnoresConditions,
    /// Takes what was examined of a condition before the lock for all of it.
    TrustsTheExamination,
    /// Ignores the tags of a condition.
    IgnoresConditionTags,
    /// Ignores the types of a condition.
    IgnoresConditionTypes,
    /// Does not look up commands.
    ForgetsCommands,
    /// Records no commands of requests that are committed on their callers' threads.
    ForgetsBriefCommands,
    /// Remembers commands in memory only.
    RemembersCommandsInMemory,
    /// Takes a command's id for its request.
    IgnoresRequestHash,
    /// Records a command whose request failed.
    RecordsFailedCommands,
    /// Does not say that an outcome is a repetition's.
    HidesRepetition,
    /// Stores an event again under another id.
    RenamesDuplicateEvents,
    /// Shows position n + 1 before n: a sequence that is taken at insert and seen at commit.
    NaiveSequence,
    /// Shows an event to other stores only some time after it was acknowledged.
    ShowsLate,
    /// Numbers the events of a filtered read anew.
    CountsPositionsByRead,
    /// Reads the head after the events.
    ReadsTheHeadLast,
    /// Applies the limit before the filter.
    LimitsBeforeFiltering,
    /// Does not say how far a filtered page has looked.
    HidesHowFarItLooked,
    /// Takes `after` for inclusive.
    AfterIsInclusive,
    /// Takes `until` for exclusive.
    UntilIsExclusive,
    /// Reads forward only.
    IgnoresDirection,
    /// Takes the end of a time range for inclusive.
    TimeRangeIsInclusive,
    /// Cuts times to milliseconds.
    CutsMicroseconds,
    /// Lets the clock go backwards.
    ClockGoesBackwards,
    /// Takes tags for OR-ed.
    MatchesAnyTag,
    /// Ignores the filter by actor.
    IgnoresActor,
    /// Parses data and writes it anew.
    ReformatsData,
    /// Parses metadata and writes it anew.
    ReformatsMetadata,
    /// Takes absent metadata for an empty object.
    InventsMetadata,
    /// Takes bytes for text.
    ForgetsContentType,
    /// Finds an event by its tags, and shows it without them.
    HidesTags,
    /// Compares names without their case.
    FoldsCase,
    /// Takes a prefix for a LIKE pattern.
    PrefixIsAPattern,
    /// Takes the streams of a page in the order of their creation.
    ListsInOrderOfCreation,
    /// Shows deleted streams.
    ShowsDeletedStreams,
    /// Shows what a reused stream held before.
    ShowsWhatWasReused,
    /// Saves older snapshots over newer ones.
    SnapshotsMoveBackwards,
    /// Returns snapshots of another schema.
    IgnoresSnapshotSchema,
    /// Sets metadata whatever its version.
    IgnoresMetadataVersion,
    /// Tells of the head only what its own store has appended.
    IsDeafToOthers,
    /// Takes members of a group that are gone for alive, so that their leases never end.
    KeepsDeadMembers,
    /// Saves the checkpoint of a share that another member has.
    SavesWhatIsLost,
    /// Lets the checkpoint pass a dead letter without keeping it.
    LosesDeadLetters,
    /// Does not make dead letters due.
    ForgetsToRetry,
    /// Commits the checkpoint of a projection before what it writes.
    SavesCheckpointsEarly,
    /// Commits each statement of a transaction at once.
    CommitsEachStatement,
    /// Commits an append of a transaction at once.
    CommitsAppendsAtOnce,
    /// Does not delete rows, and says that it did.
    ForgetsDeletes,
    /// Says that a statement changed a row where it changed none.
    CountsRowsThatStay,
    /// Records no commands of requests that are part of a transaction.
    ForgetsCommandsOfTransactions,
    /// Takes a lease that another process has.
    TakesHeldLeases,
    /// Says of a filtered page that it has looked at all that follows.
    ClaimsToHaveLooked,
    /// Takes a number in JSON for its text.
    MatchesNumbersAsTexts,
    /// Appends to a topic that is moved, or was.
    IgnoresHolds,
    /// Sets metadata in a topic that is moved, or was.
    IgnoresHoldsOfMetadata,
    /// Looks only now and then whether a topic is moved.
    RemembersHolds,
    /// Looks whether a topic is moved before the lock is granted.
    ChecksHoldsEarly,
    /// Gives a topic another incarnation when it is created once more.
    RenewsTopics,
    /// Takes a topic for the one that is asked for whatever its number of lanes.
    IgnoresNumberOfLanes,
    /// Knows the topics that were there when it was opened, and its own.
    IsBlindToNewTopics,
    /// Shows a stream of another topic where a topic has none of the name.
    MixesTopics,
    /// Cuts the times of restored events to milliseconds.
    RestoresCoarseTimes,
    /// Restores events without the hashes that they had.
    RestoresWithoutHashes,
    /// Restores what fits, and passes over events at positions that are there.
    RestoresWhatFits,
}
