package docstore

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// invalid is a programming error of the caller, with what is wrong.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}

// checkKey returns the declaration of the key's collection.
func (s *Store) checkKey(k Key) (Collection, error) {
	c, ok := s.collections[k.Collection]
	if !ok {
		return Collection{}, invalid("collection %q is not declared", k.Collection)
	}
	if !validID(k.ID) {
		return Collection{}, invalid("bad id %.64q in %s", k.ID, k.Collection)
	}
	return c, nil
}

func validID(id string) bool {
	if id == "" || len(id) > MaxIDBytes || id == "." || id == ".." || strings.HasPrefix(id, "__") {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '~', c == '-':
		default:
			return false
		}
	}
	return true
}

// checkValue reports whether v is of the kind and within its limits.
func checkValue(kind Kind, v any) error {
	switch v := v.(type) {
	case int64:
		if kind != Int {
			return invalid("an int64 where a string is declared")
		}
	case string:
		if kind != String {
			return invalid("a string where an int64 is declared")
		}
		if len(v) > MaxFieldBytes {
			return tooLarge("a string of %d bytes, at most %d", len(v), MaxFieldBytes)
		}
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return invalid("a string that is not UTF-8 without NUL")
		}
	default:
		return invalid("a %T where only string and int64 are allowed", v)
	}
	return nil
}

func (s *Store) checkQuery(q Query) error {
	c, ok := s.collections[q.Collection]
	if !ok {
		return invalid("collection %q is not declared", q.Collection)
	}
	ix, ok := c.Index(q.Index)
	if !ok {
		return invalid("%s has no index %q", q.Collection, q.Index)
	}
	if !ix.Reads(q.Desc) {
		return invalid("index %s.%s is not declared for this direction", c.Name, ix.Name)
	}
	if len(q.Equal) != len(ix.Equal) {
		return invalid("index %s.%s takes %d values, not %d", c.Name, ix.Name, len(ix.Equal), len(q.Equal))
	}
	if q.Limit < 0 || q.Limit > MaxPage {
		return invalid("limit %d, at most %d", q.Limit, MaxPage)
	}
	for i, f := range ix.Equal {
		kind, _ := c.Kind(f)
		if err := checkValue(kind, q.Equal[i]); err != nil {
			return fmt.Errorf("field %s: %w", f, err)
		}
	}
	kind, _ := c.Kind(ix.Order)
	for _, bound := range []any{q.From, q.To} {
		if bound == nil {
			continue
		}
		if err := checkValue(kind, bound); err != nil {
			return fmt.Errorf("bound of %s: %w", ix.Order, err)
		}
	}
	return nil
}

func (s *Store) checkCommit(writes []Write) error {
	if len(writes) == 0 {
		return invalid("no writes")
	}
	if len(writes) > MaxCommitWrites {
		return tooLarge("%d writes, at most %d", len(writes), MaxCommitWrites)
	}
	total := 0
	for i := range writes {
		size, err := s.checkWrite(&writes[i])
		if err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
		if total += size; total > MaxCommitBytes {
			return tooLarge("a commit of over %d bytes", MaxCommitBytes)
		}
		// Quadratic, but over few writes and without the map that would cost
		// every one-write commit an allocation.
		for j := range i {
			if writes[j].Key == writes[i].Key {
				return invalid("writes %d and %d have the same key", j, i)
			}
		}
	}
	return nil
}

// checkWrite returns the bytes that the write counts.
func (s *Store) checkWrite(w *Write) (int, error) {
	c, err := s.checkKey(w.Key)
	if err != nil {
		return 0, err
	}
	switch w.Op {
	case Create:
		if w.Version != 0 {
			return 0, invalid("a create has no version")
		}
	case Replace:
		if w.Version == 0 {
			return 0, invalid("a replace needs the version it replaces")
		}
	case Delete:
		if w.Version == 0 {
			return 0, invalid("a delete needs the version it deletes")
		}
		if len(w.Data) > 0 || len(w.Fields) > 0 {
			return 0, invalid("a delete has neither data nor fields")
		}
	default:
		return 0, invalid("op %d", w.Op)
	}
	if len(w.Data) > MaxDocBytes {
		return 0, tooLarge("a document of %d bytes, at most %d", len(w.Data), MaxDocBytes)
	}
	size := len(w.Key.ID) + len(w.Data)
	for name, v := range w.Fields {
		kind, ok := c.Kind(name)
		if !ok {
			return 0, invalid("%s has no field %q", c.Name, name)
		}
		if err := checkValue(kind, v); err != nil {
			return 0, fmt.Errorf("field %s: %w", name, err)
		}
		size += len(name) + 8
		if str, ok := v.(string); ok {
			size += len(str)
		}
	}
	return size, nil
}
