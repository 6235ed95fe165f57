-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

DROP TABLE [dbo].[dead_letters];
DROP TABLE [dbo].[subscription_members];
DROP TABLE [dbo].[subscription_shares];
