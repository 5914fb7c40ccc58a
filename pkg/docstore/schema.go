package docstore

import (
	"errors"
	"fmt"
	"slices"
)

// Kind is the type of an indexed field.
type Kind int

// The two kinds every platform can order.
const (
	String Kind = iota + 1
	Int
)

// Field is an indexed field of a collection.
type Field struct {
	Name string
	Kind Kind
}

// Direction says in which directions an index is read.
type Direction int

// An index is read forwards unless it says otherwise. Firestore keeps a separate
// index for each direction, which costs storage and time at every write, so an
// index declares no more than its queries need.
const (
	Ascending Direction = iota
	Descending
	BothWays
)

// Index answers queries by equality on some fields and order on one.
type Index struct {
	Name  string
	Equal []string
	Order string
	// Read is how queries may read it; Query.Desc against it is ErrInvalid.
	Read Direction
}

// Reads reports whether a query in the direction may use the index.
func (ix Index) Reads(desc bool) bool {
	switch ix.Read {
	case Ascending:
		return !desc
	case Descending:
		return desc
	case BothWays:
		return true
	}
	return false
}

// Collection declares a set of documents. A query that no index declares is
// refused on every platform, so that none works on a laptop only.
type Collection struct {
	Name    string
	Fields  []Field
	Indexes []Index
	// Expires names the Int field (Unix microseconds) after which a document
	// may be removed by the platform or the reconciler; empty: never.
	Expires string
}

// Schema is every collection a platform opens.
type Schema []Collection

// Bounds of a schema. They keep a document with all its fields at their largest
// within the smallest platform's document size.
const (
	maxNameBytes = 64
	maxFields    = 20
	maxIndexes   = 20
)

// reserved are the names under which a platform may store what belongs to a
// document beside its declared fields.
var reserved = [...]string{"data", "rev", "expire_time"}

// Collection returns the declaration of a collection.
func (s Schema) Collection(name string) (Collection, bool) {
	for _, c := range s {
		if c.Name == name {
			return c, true
		}
	}
	return Collection{}, false
}

// Index returns the declaration of an index.
func (c Collection) Index(name string) (Index, bool) {
	for _, ix := range c.Indexes {
		if ix.Name == name {
			return ix, true
		}
	}
	return Index{}, false
}

// Kind returns the kind of a declared field.
func (c Collection) Kind(field string) (Kind, bool) {
	for _, f := range c.Fields {
		if f.Name == field {
			return f.Kind, true
		}
	}
	return 0, false
}

// Validate reports everything wrong with the declaration at once, as ErrInvalid.
// Names are [a-z][a-z0-9_]*, at most 64 bytes: every platform can use them as
// they are, also where names are not case-sensitive. Fields named data, rev and
// expire_time are refused: a platform stores its own part of a document there.
func (s Schema) Validate() error {
	var problems []error
	seen := make(map[string]bool, len(s))
	for _, c := range s {
		if seen[c.Name] {
			problems = append(problems, fmt.Errorf("collection %q is declared twice", c.Name))
		}
		seen[c.Name] = true
		problems = append(problems, c.validate()...)
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: schema: %w", ErrInvalid, errors.Join(problems...))
}

func (c Collection) validate() []error {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("collection %q: "+format, append([]any{c.Name}, args...)...))
	}
	if !validName(c.Name) {
		bad("bad name")
	}
	if len(c.Fields) > maxFields {
		bad("%d fields, at most %d", len(c.Fields), maxFields)
	}
	if len(c.Indexes) > maxIndexes {
		bad("%d indexes, at most %d", len(c.Indexes), maxIndexes)
	}
	kinds := make(map[string]Kind, len(c.Fields))
	for _, f := range c.Fields {
		if !validName(f.Name) || slices.Contains(reserved[:], f.Name) {
			bad("field %q: bad name", f.Name)
		}
		if f.Kind != String && f.Kind != Int {
			bad("field %q: bad kind %d", f.Name, f.Kind)
		}
		if _, twice := kinds[f.Name]; twice {
			bad("field %q is declared twice", f.Name)
		}
		kinds[f.Name] = f.Kind
	}
	indexes := make(map[string]bool, len(c.Indexes))
	for _, ix := range c.Indexes {
		if !validName(ix.Name) {
			bad("index %q: bad name", ix.Name)
		}
		if indexes[ix.Name] {
			bad("index %q is declared twice", ix.Name)
		}
		indexes[ix.Name] = true
		if !ix.Reads(false) && !ix.Reads(true) {
			bad("index %q: bad direction %d", ix.Name, ix.Read)
		}
		used := make(map[string]bool, len(ix.Equal)+1)
		for _, f := range append(slices.Clone(ix.Equal), ix.Order) {
			if kinds[f] == 0 {
				bad("index %q: field %q is not declared", ix.Name, f)
			}
			if used[f] {
				bad("index %q: field %q is used twice", ix.Name, f)
			}
			used[f] = true
		}
	}
	if c.Expires != "" && kinds[c.Expires] != Int {
		bad("expires: %q is not a declared Int field", c.Expires)
	}
	return problems
}

func validName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
