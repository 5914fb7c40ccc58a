package docstore

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/fnv"
)

// Position is where a page ended: order value and id of its last document.
type Position struct {
	Order any
	ID    string
}

// A cursor is base64url of: one byte for the format and the kind of the order
// value, eight bytes that are a hash of the query, the order value (an int as
// eight bytes, a string behind its length in two), the id.
const (
	cursorInt    = 0x11
	cursorString = 0x12
	cursorHead   = 9
)

// maxCursor is the length of the longest cursor, encoded.
var maxCursor = base64.RawURLEncoding.EncodedLen(cursorHead + 2 + MaxFieldBytes + MaxIDBytes)

// strict64 refuses the spellings of the same bytes that RawURLEncoding accepts.
var strict64 = base64.RawURLEncoding.Strict()

// EncodeCursor returns the cursor that continues the query after the position.
// Drivers put it in Page.Next.
func EncodeCursor(q Query, at Position) string {
	b := make([]byte, cursorHead, cursorHead+16+len(at.ID))
	binary.BigEndian.PutUint64(b[1:], shape(q))
	switch v := at.Order.(type) {
	case int64:
		b[0] = cursorInt
		b = binary.BigEndian.AppendUint64(b, uint64(v)) //nolint:gosec // the bits of the number, read back as such
	case string:
		b[0] = cursorString
		b = binary.BigEndian.AppendUint16(b, uint16(len(v))) //nolint:gosec // at most MaxFieldBytes
		b = append(b, v...)
	}
	return strict64.EncodeToString(append(b, at.ID...))
}

// DecodeCursor returns the position in q.Cursor, which is not empty, of a query
// ordered by a field of the kind. ErrInvalid: it is no cursor, one of another
// query, or it points outside the query's bounds. Cursors are not signed: a
// forged one can only begin elsewhere within the very same query.
func DecodeCursor(q Query, kind Kind) (Position, error) {
	at, err := decodeCursor(q, kind)
	if err != nil {
		return Position{}, fmt.Errorf("%w: cursor: %w", ErrInvalid, err)
	}
	return at, nil
}

type cursorError string

func (e cursorError) Error() string { return string(e) }

func decodeCursor(q Query, kind Kind) (Position, error) {
	if len(q.Cursor) > maxCursor {
		return Position{}, cursorError("too long")
	}
	b, err := strict64.DecodeString(q.Cursor)
	if err != nil || len(b) < cursorHead {
		return Position{}, cursorError("malformed")
	}
	if binary.BigEndian.Uint64(b[1:]) != shape(q) {
		return Position{}, cursorError("of another query")
	}
	var at Position
	rest := b[cursorHead:]
	switch {
	case b[0] == cursorInt && kind == Int && len(rest) >= 8:
		at.Order = int64(binary.BigEndian.Uint64(rest)) //nolint:gosec // the bits of the number
		rest = rest[8:]
	case b[0] == cursorString && kind == String && len(rest) >= 2:
		n := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; n > len(rest) {
			return Position{}, cursorError("malformed")
		}
		at.Order = string(rest[:n])
		rest = rest[n:]
	default:
		return Position{}, cursorError("malformed")
	}
	at.ID = string(rest)
	if !validID(at.ID) || checkValue(kind, at.Order) != nil {
		return Position{}, cursorError("malformed")
	}
	if q.From != nil && compare(at.Order, q.From) < 0 || q.To != nil && compare(at.Order, q.To) >= 0 {
		return Position{}, cursorError("outside the bounds of the query")
	}
	return at, nil
}

// compare orders two values of one kind.
func compare(a, b any) int {
	if x, ok := a.(int64); ok {
		y, _ := b.(int64)
		return cmp.Compare(x, y)
	}
	x, _ := a.(string)
	y, _ := b.(string)
	return cmp.Compare(x, y)
}

// shape hashes everything that makes a query this query: all but Limit and
// Cursor. Each part is behind its length, so that no two queries look alike.
func shape(q Query) uint64 {
	b := make([]byte, 0, 128)
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	value := func(v any) {
		switch v := v.(type) {
		case int64:
			b = append(b, 'i')
			b = binary.AppendVarint(b, v)
		case string:
			b = append(b, 's')
			str(v)
		default:
			b = append(b, '-')
		}
	}
	str(q.Collection)
	str(q.Index)
	for _, v := range q.Equal {
		value(v)
	}
	b = append(b, '|')
	value(q.From)
	value(q.To)
	if q.Desc {
		b = append(b, 'd')
	}
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}
