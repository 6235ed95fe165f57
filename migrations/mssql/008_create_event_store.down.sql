-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

DROP TABLE [dbo].[subscriptions];
DROP TABLE [dbo].[snapshots];
DROP TABLE [dbo].[commands];
DROP TABLE [dbo].[event_tags];
DROP TABLE [dbo].[events];
DROP TABLE [dbo].[streams];
DROP TABLE [dbo].[lanes];
