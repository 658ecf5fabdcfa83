-- Answers to requests that named a key, so that a request that is repeated is done once. A row is written in the
-- transaction of what the request did: there is never one without the other.
CREATE TABLE idempotency_keys (
    scope        text NOT NULL,
    key          text NOT NULL,
    -- A hash of the method, the path and the body.
    request      bytea NOT NULL,
    status       smallint NOT NULL,
    content_type text,
    location     text,
    etag         text,
    body         bytea NOT NULL,
    expires_at   timestamptz NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
