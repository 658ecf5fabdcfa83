-- Who asks, and what stays of a user who has gone.

-- Events of whoever is not known.
ALTER TABLE events ALTER COLUMN user_id DROP NOT NULL;

ALTER TABLE users ADD CONSTRAINT users_role_check CHECK (role IN ('student', 'instructor', 'admin'));

-- What is a user's own, and is looked for by the user alone when the user goes: notes of choices.
CREATE INDEX search_logs_user ON search_logs (user_id) WHERE user_id IS NOT NULL;
