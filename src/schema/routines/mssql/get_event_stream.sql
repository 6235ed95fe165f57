-- Returns all events of a stream in order; none of a deleted one.
CREATE PROCEDURE [dbo].[get_event_stream] (@stream nvarchar(4000), @topic nvarchar(4000) = N'default') AS
BEGIN
  SET NOCOUNT ON;
  EXEC [dbo].[read_stream_forward] @stream, 1, 9223372036854775807, @topic;
END;
