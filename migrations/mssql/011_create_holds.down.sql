-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO


-- Appends an event. The expected version is 0 for a stream that must not exist yet, and null for any. @tags is a JSON array.
ALTER PROCEDURE [dbo].[append_to_stream] (
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
DROP TABLE [dbo].[holds];
