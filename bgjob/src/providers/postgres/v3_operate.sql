-- Lists, counts and bulk operations.

-- What holders are called, for people; `seen` is when one was last heard of.
CREATE TABLE $schema$.workers(
    owner uuid PRIMARY KEY,
    name text NOT NULL,
    seen bigint NOT NULL
);
