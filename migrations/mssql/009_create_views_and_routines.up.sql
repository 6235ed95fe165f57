-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

CREATE VIEW [dbo].[recent_events] AS
SELECT TOP (100) l.topic, e.lane_id, e.[position], e.event_id AS event_id, e.aggregate_id, e.aggregate_type,
  e.aggregate_version, e.event_type, e.event_version, e.event_timestamp AS event_timestamp, e.actor, e.actor_type, e.source,
  e.causation_id AS causation_id, e.correlation_id AS correlation_id, e.data, e.metadata, e.content_type, e.tags
FROM (SELECT k.lane_id, k.topic,
    (SELECT MAX(h.[position]) FROM [dbo].[events] AS h WHERE h.lane_id = k.lane_id) AS head FROM [dbo].[lanes] AS k) AS l
INNER JOIN [dbo].[events] AS e ON e.lane_id = l.lane_id AND e.[position] > l.head - 100
ORDER BY e.event_timestamp DESC, e.[position] DESC;
GO
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The newest hundred events of all topics, newest first.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'VIEW', @level1name = N'recent_events';
GO
CREATE VIEW [dbo].[event_statistics] AS
SELECT l.topic, l.lane_id, e.event_type, COUNT(*) AS events, COUNT(DISTINCT e.aggregate_id) AS streams,
  MIN(e.event_timestamp) AS first_at, MAX(e.event_timestamp) AS last_at
FROM [dbo].[events] AS e INNER JOIN [dbo].[lanes] AS l ON l.lane_id = e.lane_id
GROUP BY l.topic, l.lane_id, e.event_type;
GO
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'How many events of each type there are, in how many streams, and since when.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'VIEW', @level1name = N'event_statistics';
GO
CREATE VIEW [dbo].[event_streams] AS
SELECT l.topic, s.lane_id, s.aggregate_id, s.aggregate_type,
  COALESCE((SELECT MAX(e.aggregate_version) FROM [dbo].[events] AS e
    WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id), s.first_version - 1) AS current_version,
  s.first_version, s.created_at AS created_at, s.updated_at AS updated_at,
  (SELECT TOP (1) e.event_timestamp FROM [dbo].[events] AS e
    WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id ORDER BY e.aggregate_version DESC) AS last_event_at,
  s.deleted_at AS deleted_at, s.metadata, s.metadata_version
FROM [dbo].[streams] AS s INNER JOIN [dbo].[lanes] AS l ON l.lane_id = s.lane_id;
GO
EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = N'The streams, with their current version and the time of their last event.', @level0type = N'SCHEMA', @level0name = N'dbo', @level1type = N'VIEW', @level1name = N'event_streams';
GO

-- Raises an error unless the text can be a name.
CREATE PROCEDURE [dbo].[annals_check_name] (@what nvarchar(100), @name nvarchar(4000)) AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @message nvarchar(2048), @at int = 1, @bytes int = 0, @code int;
  -- LEN leaves trailing spaces out.
  DECLARE @length int = LEN(@name + N'.') - 1;
  IF @name IS NULL OR @length NOT BETWEEN 1 AND 255
  BEGIN
    SET @message = CONCAT(N'invalid ', @what, N': a name has 1 to 255 bytes');
    THROW 51001, @message, 1;
  END;
  WHILE @at <= @length
  BEGIN
    SET @code = UNICODE(SUBSTRING(@name, @at, 1));
    IF @code < 32 OR @code BETWEEN 127 AND 159
    BEGIN
      SET @message = CONCAT(N'invalid ', @what, N': it contains a control character');
      THROW 51001, @message, 1;
    END;
    IF @at IN (1, @length) AND (@code IN (32, 160, 5760, 8232, 8233, 8239, 8287, 12288) OR @code BETWEEN 8192 AND 8202)
    BEGIN
      SET @message = CONCAT(N'invalid ', @what, N': it begins or ends with white space');
      THROW 51001, @message, 1;
    END;
    -- Half of a surrogate pair counts for half of its four bytes.
    SET @bytes = @bytes + CASE WHEN @code < 128 THEN 1 WHEN @code < 2048 OR @code BETWEEN 55296 AND 57343 THEN 2
      WHEN @code < 65536 THEN 3 ELSE 4 END;
    SET @at = @at + 1;
  END;
  IF @bytes > 255
  BEGIN
    SET @message = CONCAT(N'invalid ', @what, N': a name has 1 to 255 bytes');
    THROW 51001, @message, 1;
  END;
END;
GO

-- Sets @lane to the lane of a topic that has only one.
CREATE PROCEDURE [dbo].[annals_lane] (@topic nvarchar(4000), @lane bigint OUTPUT) AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @message nvarchar(2048), @lanes int;
  SELECT @lanes = COUNT(*), @lane = MIN([lane_id]) FROM [dbo].[lanes] WHERE [topic] = @topic;
  IF @lanes = 0
  BEGIN
    SET @message = CONCAT(N'topic "', LEFT(@topic, 255), N'" does not exist');
    THROW 51002, @message, 1;
  END;
  IF @lanes > 1
  BEGIN
    SET @message = CONCAT(N'topic "', LEFT(@topic, 255), N'" has several lanes: use the library, which knows which of them a stream lies in');
    THROW 51001, @message, 1;
  END;
END;
GO

-- Appends an event. The expected version is 0 for a stream that must not exist yet, and null for any. @tags is a JSON array.
CREATE PROCEDURE [dbo].[append_to_stream] (
  @stream nvarchar(4000),
  @stream_type nvarchar(4000),
  @expected_version bigint,
  @event_type nvarchar(4000),
  @data nvarchar(max),
  @metadata nvarchar(max) = NULL,
  @actor nvarchar(4000) = NULL,
  @actor_type nvarchar(16) = N'user',
  @source nvarchar(16) = N'system',
  @event_id uniqueidentifier = NULL,
  @event_version int = 1,
  @causation_id uniqueidentifier = NULL,
  @correlation_id uniqueidentifier = NULL,
  @tags nvarchar(max) = NULL,
  @topic nvarchar(4000) = N'default'
) AS
BEGIN
  SET NOCOUNT ON;
  -- An error rolls everything back, and leaves no lock behind.
  SET XACT_ABORT ON;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  DECLARE @message nvarchar(2048), @lane bigint, @type nvarchar(255), @first_version bigint, @deleted_at datetime2(6),
    @version bigint, @position bigint, @previous datetime2(6), @now datetime2(6), @tag nvarchar(4000), @sorted nvarchar(max),
    @count int = 0;

  EXEC [dbo].[annals_check_name] N'stream', @stream;
  EXEC [dbo].[annals_check_name] N'stream type', @stream_type;
  EXEC [dbo].[annals_check_name] N'event type', @event_type;
  IF @actor IS NOT NULL EXEC [dbo].[annals_check_name] N'actor', @actor;
  SELECT @tag = MIN([value] COLLATE Latin1_General_100_BIN2) FROM OPENJSON(@tags);
  WHILE @tag IS NOT NULL
  BEGIN
    EXEC [dbo].[annals_check_name] N'tag', @tag;
    SET @sorted = ISNULL(@sorted + N',', N'') + N'"' + STRING_ESCAPE(@tag, N'json') + N'"';
    SET @count = @count + 1;
    SELECT @tag = MIN([value] COLLATE Latin1_General_100_BIN2) FROM OPENJSON(@tags)
      WHERE [value] COLLATE Latin1_General_100_BIN2 > @tag;
  END;
  SET @sorted = N'[' + @sorted + N']';
  IF @count > 64
  BEGIN
    SET @message = N'an event has at most 64 tags';
    THROW 51001, @message, 1;
  END;
  -- Two bytes a character here; the library counts bytes of UTF-8, which are at least as many as the characters.
  IF DATALENGTH(@data) + ISNULL(DATALENGTH(@metadata), 0) > 2 * 4194304
  BEGIN
    SET @message = N'an event has at most 4194304 bytes';
    THROW 51001, @message, 1;
  END;
  SET @event_id = ISNULL(@event_id, NEWID());
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;

  BEGIN TRANSACTION;
  UPDATE [dbo].[lanes] WITH (ROWLOCK) SET [floor] = [floor] WHERE [lane_id] = @lane;

  -- Each of these statements begins after the lock was granted, and so sees all that was committed before.
  SELECT @type = [aggregate_type], @first_version = [first_version], @deleted_at = [deleted_at]
    FROM [dbo].[streams] WHERE [lane_id] = @lane AND [aggregate_id] = @stream;
  SELECT @version = MAX([aggregate_version]) FROM [dbo].[events] WHERE [lane_id] = @lane AND [aggregate_id] = @stream;
  SET @version = COALESCE(@version, @first_version - 1, 0);
  IF @deleted_at IS NOT NULL
  BEGIN
    SET @message = CONCAT(N'stream "', @stream, N'" is deleted: undelete it, or reuse it, before appending');
    THROW 51004, @message, 1;
  END;
  IF @type <> @stream_type COLLATE Latin1_General_100_BIN2
  BEGIN
    SET @message = CONCAT(N'stream "', @stream, N'" is of type "', @type, N'", not "', @stream_type, N'"');
    THROW 51005, @message, 1;
  END;
  IF @expected_version <> @version
  BEGIN
    SET @message = CONCAT(N'conflict: stream "', @stream, N'" is at version ', @version, N', expected ', @expected_version);
    THROW 51003, @message, 1;
  END;
  SELECT TOP (1) @position = [position], @previous = [event_timestamp]
    FROM [dbo].[events] WHERE [lane_id] = @lane ORDER BY [position] DESC;
  IF @position IS NULL SELECT @position = [floor] FROM [dbo].[lanes] WHERE [lane_id] = @lane;

  SET @position = @position + 1;
  SET @version = @version + 1;
  SET @now = SYSUTCDATETIME();
  IF @previous > @now SET @now = @previous;
  IF @type IS NULL
    INSERT INTO [dbo].[streams] ([lane_id], [aggregate_id], [aggregate_type], [created_at], [updated_at])
      VALUES (@lane, @stream, @stream_type, @now, @now);
  INSERT INTO [dbo].[events] ([lane_id], [position], [event_id], [aggregate_id], [aggregate_type], [aggregate_version],
      [event_type], [event_version], [event_timestamp], [actor], [actor_type], [source], [causation_id], [correlation_id],
      [data], [metadata], [tags])
    VALUES (@lane, @position, @event_id, @stream, @stream_type, @version, @event_type, @event_version, @now, @actor,
      @actor_type, @source, @causation_id, @correlation_id, @data, @metadata, @sorted);
  INSERT INTO [dbo].[event_tags] ([lane_id], [tag], [position]) SELECT @lane, [value], @position FROM OPENJSON(@sorted);
  COMMIT TRANSACTION;
  SELECT @position AS [position], @version AS [aggregate_version];
END;
GO

-- Returns events of a stream in order, from a version on; none of a deleted one.
CREATE PROCEDURE [dbo].[read_stream_forward] (
  @stream nvarchar(4000),
  @from_version bigint = 1,
  @max_events bigint = 1000,
  @topic nvarchar(4000) = N'default'
) AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @lane bigint;
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;
  SELECT TOP (@max_events) e.*
    FROM [dbo].[streams] AS s
    INNER JOIN [dbo].[events] AS e ON e.[lane_id] = s.[lane_id] AND e.[aggregate_id] = s.[aggregate_id]
    WHERE s.[lane_id] = @lane AND s.[aggregate_id] = @stream AND s.[deleted_at] IS NULL
      AND e.[aggregate_version] >= s.[first_version] AND e.[aggregate_version] >= @from_version
    ORDER BY e.[aggregate_version];
END;
GO

-- Returns all events of a stream in order; none of a deleted one.
CREATE PROCEDURE [dbo].[get_event_stream] (@stream nvarchar(4000), @topic nvarchar(4000) = N'default') AS
BEGIN
  SET NOCOUNT ON;
  EXEC [dbo].[read_stream_forward] @stream, 1, 9223372036854775807, @topic;
END;
GO

-- Saves the state of a stream at a version, never before the newest snapshot. Returns its id.
CREATE PROCEDURE [dbo].[create_snapshot] (
  @stream nvarchar(4000),
  @at_version bigint,
  @state nvarchar(max),
  @snapshot_version int = 1,
  @topic nvarchar(4000) = N'default'
) AS
BEGIN
  SET NOCOUNT ON;
  SET XACT_ABORT ON;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
  DECLARE @message nvarchar(2048), @lane bigint, @type nvarchar(255), @newest bigint, @id uniqueidentifier = NEWID();
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;

  BEGIN TRANSACTION;
  UPDATE [dbo].[lanes] WITH (ROWLOCK) SET [floor] = [floor] WHERE [lane_id] = @lane;

  SELECT @type = [aggregate_type] FROM [dbo].[events]
    WHERE [lane_id] = @lane AND [aggregate_id] = @stream AND [aggregate_version] = @at_version;
  IF @type IS NULL
  BEGIN
    SET @message = CONCAT(N'stream "', LEFT(@stream, 255), N'" has no version ', @at_version);
    THROW 51002, @message, 1;
  END;
  SELECT @newest = MAX([aggregate_version]) FROM [dbo].[snapshots] WHERE [lane_id] = @lane AND [aggregate_id] = @stream;
  IF @newest > @at_version
  BEGIN
    SET @message = CONCAT(N'conflict: the snapshot of stream "', @stream, N'" is at version ', @newest, N' already');
    THROW 51003, @message, 1;
  END;
  IF @newest = @at_version
    UPDATE [dbo].[snapshots]
      SET [snapshot_id] = @id, [snapshot_version] = @snapshot_version, [snapshot_timestamp] = SYSUTCDATETIME(), [state] = @state
      WHERE [lane_id] = @lane AND [aggregate_id] = @stream AND [aggregate_version] = @at_version;
  ELSE
    INSERT INTO [dbo].[snapshots] ([lane_id], [aggregate_id], [aggregate_version], [snapshot_id], [aggregate_type],
        [snapshot_version], [snapshot_timestamp], [state])
      VALUES (@lane, @stream, @at_version, @id, @type, @snapshot_version, SYSUTCDATETIME(), @state);
  COMMIT TRANSACTION;
  SELECT @id AS [snapshot_id];
END;
GO

-- Returns the newest snapshot of a stream, if it has one.
CREATE PROCEDURE [dbo].[get_latest_snapshot] (@stream nvarchar(4000), @topic nvarchar(4000) = N'default') AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @lane bigint;
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;
  SELECT TOP (1) n.*
    FROM [dbo].[streams] AS s
    INNER JOIN [dbo].[snapshots] AS n ON n.[lane_id] = s.[lane_id] AND n.[aggregate_id] = s.[aggregate_id]
    WHERE s.[lane_id] = @lane AND s.[aggregate_id] = @stream AND s.[deleted_at] IS NULL
      AND n.[aggregate_version] >= s.[first_version]
    ORDER BY n.[aggregate_version] DESC;
END;
GO

-- Creates a subscription at the beginning of the log, to one stream or to all.
CREATE PROCEDURE [dbo].[create_subscription] (
  @name nvarchar(4000),
  @stream nvarchar(4000) = NULL,
  @metadata nvarchar(max) = NULL,
  @topic nvarchar(4000) = N'default'
) AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @lane bigint, @now datetime2(6) = SYSUTCDATETIME();
  EXEC [dbo].[annals_check_name] N'subscription', @name;
  IF @stream IS NOT NULL EXEC [dbo].[annals_check_name] N'stream', @stream;
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;
  INSERT INTO [dbo].[subscriptions] ([name], [lane_id], [aggregate_id], [metadata], [created_at], [updated_at])
    VALUES (@name, @lane, @stream, @metadata, @now, @now);
END;
GO

-- Notes how far a subscription has come, and returns it; it never moves back.
CREATE PROCEDURE [dbo].[checkpoint_subscription] (
  @name nvarchar(4000),
  @new_position bigint,
  @topic nvarchar(4000) = N'default'
) AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @message nvarchar(2048), @lane bigint, @event_id uniqueidentifier, @version bigint, @reached bigint;
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;
  SELECT @event_id = [event_id], @version = [aggregate_version]
    FROM [dbo].[events] WHERE [lane_id] = @lane AND [position] = @new_position;
  IF @event_id IS NULL AND @new_position > (SELECT [floor] FROM [dbo].[lanes] WHERE [lane_id] = @lane)
  BEGIN
    SET @message = CONCAT(N'topic "', @topic, N'" has no position ', @new_position);
    THROW 51002, @message, 1;
  END;
  UPDATE [dbo].[subscriptions]
    SET [position] = @new_position, [event_id] = @event_id, [aggregate_version] = @version, [updated_at] = SYSUTCDATETIME()
    WHERE [name] = @name AND [lane_id] = @lane AND [position] < @new_position;
  SELECT @reached = [position] FROM [dbo].[subscriptions] WHERE [name] = @name AND [lane_id] = @lane;
  IF @reached IS NULL
  BEGIN
    SET @message = CONCAT(N'subscription "', LEFT(@name, 255), N'" does not exist');
    THROW 51002, @message, 1;
  END;
  SELECT @reached AS [position];
END;
GO

-- Deletes a subscription, and returns whether there was one.
CREATE PROCEDURE [dbo].[delete_subscription] (@name nvarchar(4000), @topic nvarchar(4000) = N'default') AS
BEGIN
  SET NOCOUNT ON;
  DECLARE @lane bigint, @deleted int;
  EXEC [dbo].[annals_lane] @topic, @lane OUTPUT;
  DELETE FROM [dbo].[subscriptions] WHERE [name] = @name AND [lane_id] = @lane;
  SET @deleted = @@ROWCOUNT;
  SELECT CONVERT(bit, @deleted) AS [deleted];
END;
GO
