-- Our own tables, watched by the triggers as they are named now.
SELECT tidegate_watch('courses', 'course', 'id', 'courses');
SELECT tidegate_watch('documents', 'document', 'key');
