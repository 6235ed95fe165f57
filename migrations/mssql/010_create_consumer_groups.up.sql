-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

CREATE TABLE [dbo].[subscription_shares] (
  [name] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [subscription_shares_name_check] CHECK ([name] <> N''),
  [lane_id] bigint NOT NULL,
  [share] int NOT NULL CONSTRAINT [subscription_shares_share_check] CHECK ([share] >= 0),
  [position] bigint NOT NULL CONSTRAINT [subscription_shares_position_default] DEFAULT 0 CONSTRAINT [subscription_shares_position_check] CHECK ([position] >= 0),
  [event_id] uniqueidentifier NULL,
  [lease_owner] nvarchar(255) COLLATE Latin1_General_100_BIN2 NULL CONSTRAINT [subscription_shares_lease_owner_check] CHECK ([lease_owner] <> N''),
  [updated_at] datetime2(6) NOT NULL,
  CONSTRAINT [subscription_shares_pkey] PRIMARY KEY NONCLUSTERED ([name], [lane_id], [share])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The parts into which a consumer group divides the streams of a lane, each in the hands of one member at a time. The rows of a group say how many parts there are, which never changes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the consumer group, see subscriptions.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'name';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The part, from 0: a hash of the stream''s name, modulo the number of parts.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'share';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The last position up to which all was dealt with; 0 for none.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'position';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The event at that position: another one there means that the log is not the same.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'event_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The member that has it; null for none.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'lease_owner';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When this row was last written.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_shares', @level2type = N'COLUMN', @level2name = N'updated_at';
GO

CREATE TABLE [dbo].[subscription_members] (
  [name] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [subscription_members_name_check] CHECK ([name] <> N''),
  [lane_id] bigint NOT NULL,
  [member] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [subscription_members_member_check] CHECK ([member] <> N''),
  [joined_at] datetime2(6) NOT NULL,
  [seen_until] datetime2(6) NOT NULL,
  CONSTRAINT [subscription_members_pkey] PRIMARY KEY NONCLUSTERED ([name], [lane_id], [member])
);
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The members of consumer groups. One that does not say in time that it is alive is removed by the others, and what it had is free.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the consumer group, see subscriptions.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members', @level2type = N'COLUMN', @level2name = N'name';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The first lane of the topic that is read.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The member; those that joined earlier come first.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members', @level2type = N'COLUMN', @level2name = N'member';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When it joined.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members', @level2type = N'COLUMN', @level2name = N'joined_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Until when it counts as alive, unless it is heard of again.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'subscription_members', @level2type = N'COLUMN', @level2name = N'seen_until';
GO

CREATE TABLE [dbo].[dead_letters] (
  [name] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [dead_letters_name_check] CHECK ([name] <> N''),
  [lane_id] bigint NOT NULL,
  [position] bigint NOT NULL CONSTRAINT [dead_letters_position_check] CHECK ([position] >= 1),
  [event_id] uniqueidentifier NOT NULL,
  [aggregate_id] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [dead_letters_aggregate_id_check] CHECK ([aggregate_id] <> N''),
  [aggregate_version] bigint NOT NULL CONSTRAINT [dead_letters_aggregate_version_check] CHECK ([aggregate_version] >= 1),
  [event_type] nvarchar(255) COLLATE Latin1_General_100_BIN2 NOT NULL CONSTRAINT [dead_letters_event_type_check] CHECK ([event_type] <> N''),
  [attempts] int NOT NULL CONSTRAINT [dead_letters_attempts_default] DEFAULT 0 CONSTRAINT [dead_letters_attempts_check] CHECK ([attempts] >= 0),
  [reason] nvarchar(2000) COLLATE Latin1_General_100_BIN2 NULL,
  [first_failed_at] datetime2(6) NULL,
  [last_failed_at] datetime2(6) NULL,
  [due_at] datetime2(6) NULL,
  [parked_at] datetime2(6) NOT NULL,
  CONSTRAINT [dead_letters_pkey] PRIMARY KEY NONCLUSTERED ([name], [lane_id], [position])
);
-- The dead letters of a stream in order.
CREATE INDEX [dead_letters_aggregate_id_idx] ON [dbo].[dead_letters] ([name], [lane_id], [aggregate_id], [position]);
-- What is to be tried again, which members look for again and again.
CREATE INDEX [dead_letters_due_at_idx] ON [dbo].[dead_letters] ([name], [lane_id], [due_at]) WHERE [due_at] IS NOT NULL;
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The events that a consumer group could not deal with, and those of the same stream that wait behind them.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the consumer group, see subscriptions.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'name';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The lane, see lanes.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'lane_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The place of the event in the lane.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'position';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The identity of the event.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'event_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The name of the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'aggregate_id';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The place of the event in the stream.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'aggregate_version';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'What happened.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'event_type';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'How often it was tried; 0 where it only waits behind another one.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'attempts';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Why it failed last; null where it was not tried.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'reason';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When it was tried first; null where it was not.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'first_failed_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When it was tried last; null where it was not.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'last_failed_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'Since when it is to be tried again; null while it is kept until somebody decides.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'due_at';
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'When it was put here.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'TABLE', @level1name = N'dead_letters', @level2type = N'COLUMN', @level2name = N'parked_at';
GO

