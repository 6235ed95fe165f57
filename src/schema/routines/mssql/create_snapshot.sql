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
