-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

DROP TABLE "holds";
