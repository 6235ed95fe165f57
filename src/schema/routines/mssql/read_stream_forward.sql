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
