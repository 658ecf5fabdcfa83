-- Documents in pages: a number gives them an order that stays when they are written anew.
ALTER TABLE documents ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY;
CREATE UNIQUE INDEX documents_id ON documents (id);

-- A list of documents falls with any of them.
SELECT tidegate_watch('documents', 'document', 'key', 'documents');
