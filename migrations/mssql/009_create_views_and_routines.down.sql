-- Written by `annals migrate generate --dialect mssql` from src/schema: change the model there, not this file.

SET QUOTED_IDENTIFIER ON;
SET ANSI_NULLS ON;
GO

DROP PROCEDURE [dbo].[delete_subscription];
DROP PROCEDURE [dbo].[checkpoint_subscription];
DROP PROCEDURE [dbo].[create_subscription];
DROP PROCEDURE [dbo].[get_latest_snapshot];
DROP PROCEDURE [dbo].[create_snapshot];
DROP PROCEDURE [dbo].[get_event_stream];
DROP PROCEDURE [dbo].[read_stream_forward];
DROP PROCEDURE [dbo].[append_to_stream];
DROP PROCEDURE [dbo].[annals_lane];
DROP PROCEDURE [dbo].[annals_check_name];
DROP VIEW [dbo].[event_streams];
DROP VIEW [dbo].[event_statistics];
DROP VIEW [dbo].[recent_events];
