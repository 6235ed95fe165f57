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
