-- A course's students in the order in which they came, so that any page of them costs what the first does.
CREATE INDEX enrollments_course_order ON enrollments (course_id, id);
DROP INDEX enrollments_course;
