-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

DROP TABLE "dead_letters";
DROP TABLE "subscription_members";
DROP TABLE "subscription_shares";
