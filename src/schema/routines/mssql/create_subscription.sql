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
