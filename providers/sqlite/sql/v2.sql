-- Whether a job that waits has been held before: a retry, a snooze, a requeue for later.
ALTER TABLE bgjob_ready ADD COLUMN started INTEGER NOT NULL DEFAULT 0;
UPDATE bgjob_ready SET started = 1
    WHERE EXISTS (SELECT 1 FROM bgjob_jobs j WHERE j.id = bgjob_ready.id AND j.fence > 0);

-- How many jobs are over, so that nobody needs to count them. Each transaction notes what it
-- changed.
CREATE TABLE bgjob_tallies(
    lane INTEGER NOT NULL,
    ended TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY(lane, ended)
) WITHOUT ROWID;
INSERT INTO bgjob_tallies SELECT lane, ended, count(*) FROM bgjob_jobs
    WHERE ended IS NOT NULL GROUP BY lane, ended;
