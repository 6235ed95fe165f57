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
