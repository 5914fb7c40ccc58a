package sqlitestore

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"codexgateway.dev/pkg/docstore"
)

// What can be wrong with a file; a [FileError] wraps one of them.
var (
	// ErrCorrupt means the file is damaged, or no database at all.
	ErrCorrupt = errors.New("damaged, or not a database")
	// ErrForeign means the file is a database of another program.
	ErrForeign = errors.New("a database of another program")
	// ErrNewer means a newer version of the gateway wrote the file.
	ErrNewer = errors.New("written by a newer version of the gateway")
	// ErrSchema means a declared field has another kind than the file's column.
	ErrSchema = errors.New("holds a field under another kind than declared")
)

// FileError says which file cannot be used, why, and what to do about it.
type FileError struct {
	Path string
	// Problem is one of ErrCorrupt, ErrForeign, ErrNewer and ErrSchema.
	Problem error
	// Cause is what SQLite said, if it did.
	Cause error
}

// Error names the file, the problem and the remedy.
func (e *FileError) Error() string {
	s := fmt.Sprintf("store file %s is %s: %s", e.Path, e.Problem.Error(), e.advice())
	if e.Cause != nil {
		s += " (" + e.Cause.Error() + ")"
	}
	return s
}

func (e *FileError) advice() string {
	switch {
	case errors.Is(e.Problem, ErrForeign):
		return "choose another data directory"
	case errors.Is(e.Problem, ErrNewer):
		return "run that version, or choose another data directory"
	case errors.Is(e.Problem, ErrSchema):
		return "run the version that wrote it, or choose another data directory"
	default:
		return "restore a backup, or move the file and its -wal and -shm away to start empty"
	}
}

// Unwrap returns the problem and the cause.
func (e *FileError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Problem}
	}
	return []error{e.Problem, e.Cause}
}

// code returns SQLite's primary result code of err, or SQLITE_OK if SQLite had
// no part in it.
func code(err error) int {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		return se.Code() & 0xff
	}
	return sqlite3.SQLITE_OK
}

// translate turns an error of SQLite or database/sql into one of docstore's. A
// context that ended stays what it is.
func translate(path string, err error) error {
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", docstore.ErrFull, err)
	case sqlite3.SQLITE_TOOBIG:
		return fmt.Errorf("%w: %w", docstore.ErrTooLarge, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", docstore.ErrUnavailable, &FileError{Path: path, Problem: ErrCorrupt, Cause: err})
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %w", docstore.ErrUnavailable, err)
}
