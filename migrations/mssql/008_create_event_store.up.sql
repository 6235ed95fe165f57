-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

CREATE TABLE [dbo].[lanes] (
  [lane_id] bigint NOT NULL CONSTRAINT [lanes_lane_id_check] CHECK ([lane_id] >= 1),
  [topic] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [lanes_topic_check] CHECK ([topic] <> N''),
  [partition] int NOT NULL CONSTRAINT [lanes_partition_check] CHECK ([partition] >= 0),
  [incarnation] uniqueidentifier NOT NULL,
  [floor] bigint NOT NULL CONSTRAINT [lanes_floor_default] DEFAULT 0 CONSTRAINT [lanes_floor_check] CHECK ([floor] >= 0),
  [created_at] datetime2(6) NOT NULL,
  CONSTRAINT [lanes_pkey] PRIMARY KEY CLUSTERED ([lane_id]),
  CONSTRAINT [lanes_topic_partition_key] UNIQUE NONCLUSTERED ([topic], [partition])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The totally ordered sequences that make up the topics. An append locks the row of its lane and leaves it unchanged: an update would leave a dead version behind for each append.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The number of the lane.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the log that the lane belongs to.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'topic';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The place of the lane in its topic, from 0.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'partition';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The identity of the topic''s history, the same in all its lanes; it changes when a backup is restored, so that readers who saw more notice.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'incarnation';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The last position that was ever purged; 0 if none was.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'floor';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When the lane was created.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'lanes', @level2type = N'COLUMN', @level2name = N'created_at';
GO

CREATE TABLE [dbo].[streams] (
  [lane_id] bigint NOT NULL,
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [streams_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [aggregate_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [streams_aggregate_type_check] CHECK ([aggregate_type] <> N''),
  [created_at] datetime2(6) NOT NULL,
  [updated_at] datetime2(6) NOT NULL,
  [deleted_at] datetime2(6) NULL,
  [first_version] bigint NOT NULL CONSTRAINT [streams_first_version_default] DEFAULT 1 CONSTRAINT [streams_first_version_check] CHECK ([first_version] >= 1),
  [metadata] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [streams_metadata_check] CHECK (ISJSON([metadata]) = 1 AND CHARINDEX(N'{', [metadata] + N'{') < CHARINDEX(N'[', [metadata] + N'[')),
  [metadata_version] bigint NOT NULL CONSTRAINT [streams_metadata_version_default] DEFAULT 0 CONSTRAINT [streams_metadata_version_check] CHECK ([metadata_version] >= 0),
  CONSTRAINT [streams_pkey] PRIMARY KEY NONCLUSTERED ([lane_id], [aggregate_id])
);
-- The streams of a category in byte order.
CREATE INDEX [streams_aggregate_type_idx] ON [dbo].[streams] ([lane_id], [aggregate_type], [aggregate_id]);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'One row a stream, written when the stream is created, deleted, undeleted, reused or described anew, and not by every append. Its current version is that of its last event.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The category of the stream, fixed by its first event.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'aggregate_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When the stream was created.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'created_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When this row was last written.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'updated_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Since when the stream is hidden from stream reads and lists; null if it is not.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'deleted_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The first version that a read of the stream shows; reusing a deleted stream moves it.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'first_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What the application says about the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'metadata';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'How often the metadata was set.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'streams', @level2type = N'COLUMN', @level2name = N'metadata_version';
GO

CREATE TABLE [dbo].[events] (
  [lane_id] bigint NOT NULL,
  [position] bigint NOT NULL CONSTRAINT [events_position_check] CHECK ([position] >= 1),
  [event_id] uniqueidentifier NOT NULL,
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [aggregate_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_aggregate_type_check] CHECK ([aggregate_type] <> N''),
  [aggregate_version] bigint NOT NULL CONSTRAINT [events_aggregate_version_check] CHECK ([aggregate_version] >= 1),
  [event_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_event_type_check] CHECK ([event_type] <> N''),
  [event_version] int NOT NULL CONSTRAINT [events_event_version_default] DEFAULT 1 CONSTRAINT [events_event_version_check] CHECK ([event_version] >= 1),
  [event_timestamp] datetime2(6) NOT NULL,
  [actor] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [events_actor_check] CHECK ([actor] <> N''),
  [actor_type] nvarchar(16) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_actor_type_check] CHECK ([actor_type] + N'.' IN (N'user.', N'service.', N'system.')),
  [source] nvarchar(16) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_source_check] CHECK ([source] + N'.' IN (N'ui.', N'api.', N'import.', N'webhook.', N'system.')),
  [causation_id] uniqueidentifier NULL,
  [correlation_id] uniqueidentifier NULL,
  [data] nvarchar(max) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [events_data_check] CHECK ((ISJSON([data]) = 1 OR ISJSON(N'{"a":' + [data] + N'}') = 1)),
  [metadata] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [events_metadata_check] CHECK (ISJSON([metadata]) = 1 AND CHARINDEX(N'{', [metadata] + N'{') < CHARINDEX(N'[', [metadata] + N'[')),
  [content_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL,
  [tags] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [events_tags_check] CHECK (ISJSON([tags]) = 1 AND CHARINDEX(N'[', [tags] + N'[') < CHARINDEX(N'{', [tags] + N'{')),
  [hash] binary(32) NULL,
  CONSTRAINT [events_pkey] PRIMARY KEY CLUSTERED ([lane_id], [position]),
  CONSTRAINT [events_event_id_key] UNIQUE NONCLUSTERED ([lane_id], [event_id]),
  CONSTRAINT [events_aggregate_version_key] UNIQUE NONCLUSTERED ([lane_id], [aggregate_id], [aggregate_version])
);
-- The events of a type in order; conditions on types.
CREATE INDEX [events_event_type_idx] ON [dbo].[events] ([lane_id], [event_type], [position]);
-- The events of a category in order.
CREATE INDEX [events_aggregate_type_idx] ON [dbo].[events] ([lane_id], [aggregate_type], [position]);
-- The events that belong together.
CREATE INDEX [events_correlation_id_idx] ON [dbo].[events] ([lane_id], [correlation_id], [position]) WHERE [correlation_id] IS NOT NULL;
-- What one actor did.
CREATE INDEX [events_actor_idx] ON [dbo].[events] ([lane_id], [actor], [position]) WHERE [actor] IS NOT NULL;
-- Ranges of time; time only grows in a lane, so that new entries land at one end.
CREATE INDEX [events_event_timestamp_idx] ON [dbo].[events] ([lane_id], [event_timestamp] DESC);
-- A transaction with thousands of row locks would otherwise lock the table, and stop every lane.
ALTER TABLE [dbo].[events] SET (LOCK_ESCALATION = DISABLE);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The log: what happened, in commit order. Rows are only ever added.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The place in the lane: 1, 2, 3 and so on, in commit order, without holes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'position';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The identity of the event, unique in its lane.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'event_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The category of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'aggregate_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The place in the stream: 1, 2, 3 and so on, without holes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'aggregate_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What happened.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'event_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The version of the shape of the data.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'event_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When the event was stored, by the clock of the database under the lock of the lane; never before the previous event''s.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'event_timestamp';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Who caused it.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'actor';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What the actor is.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'actor_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'By which way it came in.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'source';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The command or event that caused it.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'causation_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What it belongs to, across streams and services.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'correlation_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The event itself, kept byte for byte.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'data';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What the caller says about the event.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'metadata';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The type of data that is not JSON and is held as a base64 string; null for JSON.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'content_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The tags of the event as a sorted array; event_tags is the index over them.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'tags';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The SHA-256 over what the caller decided; null for an event written from a SQL prompt.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'events', @level2type = N'COLUMN', @level2name = N'hash';
GO

CREATE TABLE [dbo].[event_tags] (
  [lane_id] bigint NOT NULL,
  [tag] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [event_tags_tag_check] CHECK ([tag] <> N''),
  [position] bigint NOT NULL,
  CONSTRAINT [event_tags_pkey] PRIMARY KEY NONCLUSTERED ([lane_id], [tag], [position]),
  CONSTRAINT [event_tags_events_fkey] FOREIGN KEY ([lane_id], [position]) REFERENCES [dbo].[events] ([lane_id], [position])
);
-- The rows in the order in which they arrive; the reference to events is checked through it.
CREATE CLUSTERED INDEX [event_tags_position_idx] ON [dbo].[event_tags] ([lane_id], [position]);
-- A transaction with thousands of row locks would otherwise lock the table, and stop every lane.
ALTER TABLE [dbo].[event_tags] SET (LOCK_ESCALATION = DISABLE);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The index over the tags of events.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'event_tags';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'event_tags', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'A tag.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'event_tags', @level2type = N'COLUMN', @level2name = N'tag';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The event that carries it.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'event_tags', @level2type = N'COLUMN', @level2name = N'position';
GO

CREATE TABLE [dbo].[commands] (
  [lane_id] bigint NOT NULL,
  [command_id] uniqueidentifier NOT NULL,
  [command_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_command_type_check] CHECK ([command_type] <> N''),
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [aggregate_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_aggregate_type_check] CHECK ([aggregate_type] <> N''),
  [processed_at] datetime2(6) NOT NULL,
  [actor] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_actor_check] CHECK ([actor] <> N''),
  [source] nvarchar(16) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_source_check] CHECK ([source] + N'.' IN (N'ui.', N'api.', N'import.', N'webhook.', N'system.')),
  [data] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [commands_data_check] CHECK ((ISJSON([data]) = 1 OR ISJSON(N'{"a":' + [data] + N'}') = 1)),
  [request_hash] binary(32) NOT NULL,
  [first_position] bigint NULL CONSTRAINT [commands_first_position_check] CHECK ([first_position] >= 1),
  [last_position] bigint NULL CONSTRAINT [commands_last_position_check] CHECK ([last_position] >= 1),
  CONSTRAINT [commands_pkey] PRIMARY KEY NONCLUSTERED ([lane_id], [command_id])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The commands that were carried out: a repeated one is answered with its first outcome.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The identity of the command, given by the caller.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'command_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What was asked for.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'command_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The first stream that was written.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The category of that stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'aggregate_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When the command was carried out.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'processed_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Who asked.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'actor';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'By which way the command came in.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'source';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What the caller wants to keep of the command.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'data';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The SHA-256 of the request; the same id with another hash is refused.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'request_hash';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The first event that it wrote; null if it wrote none.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'first_position';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The last event that it wrote; null if it wrote none.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'commands', @level2type = N'COLUMN', @level2name = N'last_position';
GO

CREATE TABLE [dbo].[snapshots] (
  [lane_id] bigint NOT NULL,
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [snapshots_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [aggregate_version] bigint NOT NULL CONSTRAINT [snapshots_aggregate_version_check] CHECK ([aggregate_version] >= 1),
  [snapshot_id] uniqueidentifier NOT NULL,
  [aggregate_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [snapshots_aggregate_type_check] CHECK ([aggregate_type] <> N''),
  [snapshot_version] int NOT NULL CONSTRAINT [snapshots_snapshot_version_default] DEFAULT 1 CONSTRAINT [snapshots_snapshot_version_check] CHECK ([snapshot_version] >= 1),
  [snapshot_timestamp] datetime2(6) NOT NULL,
  [state] nvarchar(max) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [snapshots_state_check] CHECK ((ISJSON([state]) = 1 OR ISJSON(N'{"a":' + [state] + N'}') = 1)),
  CONSTRAINT [snapshots_pkey] PRIMARY KEY NONCLUSTERED ([lane_id], [aggregate_id], [aggregate_version])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The states of aggregates at some version. Only a shortcut: without any, every answer is the same.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The version of the stream after which the state held.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'aggregate_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The identity of the snapshot.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'snapshot_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The category of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'aggregate_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The version of the shape of the state; readers of another one ignore the snapshot.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'snapshot_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When it was taken.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'snapshot_timestamp';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The state, kept byte for byte.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'snapshots', @level2type = N'COLUMN', @level2name = N'state';
GO

CREATE TABLE [dbo].[subscriptions] (
  [name] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [subscriptions_name_check] CHECK ([name] <> N''),
  [lane_id] bigint NOT NULL,
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [subscriptions_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [position] bigint NOT NULL CONSTRAINT [subscriptions_position_default] DEFAULT 0 CONSTRAINT [subscriptions_position_check] CHECK ([position] >= 0),
  [event_id] uniqueidentifier NULL,
  [aggregate_version] bigint NULL CONSTRAINT [subscriptions_aggregate_version_check] CHECK ([aggregate_version] >= 1),
  [filter] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [subscriptions_filter_check] CHECK ((ISJSON([filter]) = 1 OR ISJSON(N'{"a":' + [filter] + N'}') = 1)),
  [filter_hash] binary(32) NULL,
  [lease_owner] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [subscriptions_lease_owner_check] CHECK ([lease_owner] <> N''),
  [lease_until] datetime2(6) NULL,
  [created_at] datetime2(6) NOT NULL,
  [updated_at] datetime2(6) NOT NULL,
  [metadata] nvarchar(max) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [subscriptions_metadata_check] CHECK (ISJSON([metadata]) = 1 AND CHARINDEX(N'{', [metadata] + N'{') < CHARINDEX(N'[', [metadata] + N'[')),
  CONSTRAINT [subscriptions_pkey] PRIMARY KEY NONCLUSTERED ([name], [lane_id])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'How far each named reader has come in each lane.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the subscription.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'name';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The one stream that is read; null for all of them.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The last position that was dealt with; 0 for none.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'position';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The event at that position: another one there means that the log is not the same.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'event_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The version of that event in its stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'aggregate_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Which events are read; null for all of them.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'filter';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The fingerprint of the filter, which a subscription keeps for its life.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'filter_hash';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Who reads at present.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'lease_owner';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Until when, unless renewed.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'lease_until';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When the subscription was created.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'created_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When this row was last written.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'updated_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What the application says about the subscription.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscriptions', @level2type = N'COLUMN', @level2name = N'metadata';
GO

CREATE TRIGGER [dbo].[events_refuse_update] ON [dbo].[events] INSTEAD OF UPDATE AS
BEGIN
  SET NOCOUNT ON;
  THROW 51000, N'UPDATE of events is refused: the log is only ever appended to', 1;
END;
GO
CREATE TRIGGER [dbo].[events_refuse_delete] ON [dbo].[events] INSTEAD OF DELETE AS
BEGIN
  SET NOCOUNT ON;
  IF CONVERT(int, SESSION_CONTEXT(N'annals.purge')) = 1
  BEGIN
    DELETE kept FROM [dbo].[events] AS kept INNER JOIN deleted AS gone ON gone.[lane_id] = kept.[lane_id] AND gone.[position] = kept.[position];
    RETURN;
  END;
  THROW 51000, N'DELETE of events is refused: the log is only ever appended to', 1;
END;
GO

CREATE TRIGGER [dbo].[event_tags_refuse_update] ON [dbo].[event_tags] INSTEAD OF UPDATE AS
BEGIN
  SET NOCOUNT ON;
  THROW 51000, N'UPDATE of event_tags is refused: the log is only ever appended to', 1;
END;
GO
CREATE TRIGGER [dbo].[event_tags_refuse_delete] ON [dbo].[event_tags] INSTEAD OF DELETE AS
BEGIN
  SET NOCOUNT ON;
  IF CONVERT(int, SESSION_CONTEXT(N'annals.purge')) = 1
  BEGIN
    DELETE kept FROM [dbo].[event_tags] AS kept INNER JOIN deleted AS gone ON gone.[lane_id] = kept.[lane_id] AND gone.[tag] = kept.[tag] AND gone.[position] = kept.[position];
    RETURN;
  END;
  THROW 51000, N'DELETE of event_tags is refused: the log is only ever appended to', 1;
END;
GO

-- The topic that a store opened by its URL alone uses.
INSERT INTO [dbo].[lanes] ([lane_id], [topic], [partition], [incarnation], [created_at])
VALUES (1, N'default', 0, NEWID(), SYSUTCDATETIME());
