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
