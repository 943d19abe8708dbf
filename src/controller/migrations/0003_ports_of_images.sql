-- The port that an image says it listens on, once its registry was asked; 0: it names none.
ALTER TABLE builds ADD COLUMN port integer;
