package docstore

import (
	"context"
	"errors"
)

// Errors a driver returns, wrapped. Callers test them with errors.Is.
var (
	// ErrNotFound means there is no document under the key.
	ErrNotFound = errors.New("docstore: not found")
	// ErrConflict means a precondition of a commit did not hold; nothing of the
	// commit was written. [ConflictError] says which write.
	ErrConflict = errors.New("docstore: precondition failed")
	// ErrUnavailable means the store could not answer: whether a commit was
	// applied is unknown. The caller reads before it writes again.
	ErrUnavailable = errors.New("docstore: unavailable")
	// ErrTooLarge means a document or a commit is over the limits below.
	ErrTooLarge = errors.New("docstore: too large")
	// ErrInvalid means the caller asked for something the schema does not have:
	// a programming error.
	ErrInvalid = errors.New("docstore: invalid request")
	// ErrFull means the disk or the quota behind the store is full; nothing was written.
	ErrFull = errors.New("docstore: storage is full")
)

// Limits every driver honours: the smallest of all platforms (Firestore: 1 MiB
// a document with its name and fields, 1,500 bytes an indexed string and the one
// that Firestore adds to it, 10 MiB a commit).
const (
	// MaxDocBytes bounds Data. The rest of Firestore's 1 MiB is for the id, the
	// fields and their encoding.
	MaxDocBytes = 1<<20 - 64<<10
	// MaxFieldBytes bounds a string in Fields.
	MaxFieldBytes = 1499
	// MaxIDBytes bounds Key.ID.
	MaxIDBytes = 512
	// MaxCommitBytes bounds data, ids and fields of one commit together.
	MaxCommitBytes  = 8 << 20
	MaxCommitWrites = 100
	MaxPage         = 1000
	// MaxPageBytes bounds the data of one page: a page ends early, with a Next,
	// before a document that would take it past this. Without it one query
	// could hold a gigabyte.
	MaxPageBytes = 16 << 20
)

// Key names a document.
type Key struct {
	Collection string
	// ID is 1 to 512 bytes of [A-Za-z0-9._:~-], compared byte by byte. "." and
	// "..", and ids that begin with "__", are refused: Firestore reserves them.
	ID string
}

// Version identifies one state of a document. It is opaque but comparable;
// every write gives a document a version it never had before. 0 is "no document".
type Version int64

// Fields are the indexed values of a document: string (UTF-8 without NUL) or
// int64 only. Times are Unix microseconds. A document may leave out a declared
// field; it is then not found through an index that uses the field.
type Fields map[string]any

// Doc is a stored document: opaque bytes, their indexed fields and the version.
type Doc struct {
	Key     Key
	Version Version
	Fields  Fields
	Data    []byte
}

// Op is what a write does and under which condition.
type Op int

const (
	// Create writes a document that must not exist.
	Create Op = iota + 1
	// Replace writes a document that must have Write.Version.
	Replace
	// Delete removes a document that must have Write.Version.
	Delete
)

// Write is one part of a commit.
type Write struct {
	Op      Op
	Key     Key
	Version Version
	Fields  Fields
	Data    []byte
}

// ConflictError names the first write of a commit whose precondition failed.
type ConflictError struct {
	Key Key
	// Index is the position in the commit's writes.
	Index int
}

func (e *ConflictError) Error() string {
	return "docstore: precondition failed on " + e.Key.Collection + "/" + e.Key.ID
}

// Unwrap makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Unwrap() error { return ErrConflict }

// Query reads documents of one collection through one declared index.
type Query struct {
	Collection string
	Index      string
	// Equal gives a value for each of the index's Equal fields, in its order.
	Equal []any
	// From and To bound the index's Order field: From <= value < To. nil: open.
	From, To any
	// Desc reverses the order; the index must declare it. Documents with equal
	// order values are ordered by id, in the same direction.
	Desc bool
	// Limit is 1 to MaxPage; 0 means 100.
	Limit int
	// Cursor continues after the last document of an earlier page; empty: from
	// the start. A cursor of another query is ErrInvalid.
	Cursor string
}

// Page is one answer to a query. Only an empty Next says that it is the last
// page: one with a Next may have fewer documents than the limit, see MaxPageBytes.
// A page that holds as many documents as the limit may have a Next with nothing
// after it, and the page after that is then empty with an empty Next: to look
// one document further costs a read on a platform that bills them.
type Page struct {
	Docs []Doc
	Next string
}

// Driver is what a platform implements. [Store] calls it with arguments it has
// validated, with a context that has a deadline and with a Limit over 0. A
// driver returns the errors above, wrapped once, and never retries: retries live
// in Store. Where the context ended it returns the context's error, and with it
// ErrUnavailable from a Commit that may have been applied. After Close every
// call is ErrUnavailable, and Close again is nil.
type Driver interface {
	// Get returns ErrNotFound for a missing document.
	Get(ctx context.Context, key Key) (Doc, error)
	// Query sees every commit that finished before it began.
	Query(ctx context.Context, q Query) (Page, error)
	// Commit applies all writes or none and returns the new version of each, in
	// order (0 for a delete). A key may appear once. When it returns nil the
	// writes survive power loss.
	Commit(ctx context.Context, writes []Write) ([]Version, error)
	// Ping reports whether the store can serve.
	Ping(ctx context.Context) error
	Close() error
}
