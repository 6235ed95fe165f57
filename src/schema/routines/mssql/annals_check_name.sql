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
