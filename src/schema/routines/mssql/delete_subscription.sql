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
