package docstore

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCursorKeepsThePosition(t *testing.T) {
	t.Parallel()
	for _, at := range []Position{
		{int64(0), "a"},
		{int64(math.MinInt64), "job_x"},
		{int64(math.MaxInt64), strings.Repeat("i", MaxIDBytes)},
		{"", "a"},
		{"世界", "a:b~c.d-e_f"},
		{strings.Repeat("s", MaxFieldBytes), strings.Repeat("i", MaxIDBytes)},
	} {
		kind := Int
		if _, ok := at.Order.(string); ok {
			kind = String
		}
		q := Query{Collection: "docs", Index: "by_rank", Equal: []any{"x"}}
		q.Cursor = EncodeCursor(q, at)
		got, err := DecodeCursor(q, kind)
		if diff := cmp.Diff(at, got); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		if _, err := DecodeCursor(q, 3-kind); !errors.Is(err, ErrInvalid) {
			t.Errorf("under the other kind: %v, want invalid", err)
		}
	}
}

// No two queries share a cursor, though parts of them may be spelled alike.
func TestCursorBelongsToOneQuery(t *testing.T) {
	t.Parallel()
	queries := []Query{
		{Collection: "ab", Index: "c"},
		{Collection: "a", Index: "bc"},
		{Collection: "ab", Index: "c", Desc: true},
		{Collection: "ab", Index: "c", Equal: []any{"x", "y"}},
		{Collection: "ab", Index: "c", Equal: []any{"xy"}},
		{Collection: "ab", Index: "c", Equal: []any{"x"}, From: "y"},
		{Collection: "ab", Index: "c", Equal: []any{int64(1)}},
		{Collection: "ab", Index: "c", Equal: []any{"1"}},
		{Collection: "ab", Index: "c", From: int64(1)},
		{Collection: "ab", Index: "c", To: int64(1)},
		{Collection: "ab", Index: "c", From: int64(1), To: int64(1)},
		{Collection: "ab", Index: "c", From: int64(math.MinInt64)},
	}
	for i, a := range queries {
		for j, b := range queries {
			if same := shape(a) == shape(b); same != (i == j) {
				t.Errorf("queries %d and %d have the same shape: %v", i, j, same)
			}
		}
	}
	q := queries[0]
	q.Limit = 7
	if shape(q) != shape(queries[0]) {
		t.Error("the limit is part of the shape: pages of different sizes could not follow each other")
	}
}

// A forged position must not lead out of what the query was allowed to see.
func TestCursorStaysWithinTheBounds(t *testing.T) {
	t.Parallel()
	q := Query{Collection: "docs", Index: "by_rank", From: int64(10), To: int64(20)}
	for rank, ok := range map[int64]bool{9: false, 10: true, 19: true, 20: false} {
		q.Cursor = EncodeCursor(q, Position{Order: rank, ID: "a"})
		if _, err := DecodeCursor(q, Int); ok != (err == nil) {
			t.Errorf("position %d: %v", rank, err)
		}
	}
}

func FuzzDecodeCursor(f *testing.F) {
	q := Query{Collection: "docs", Index: "by_rank", Equal: []any{"x"}, From: int64(1)}
	s := Query{Collection: "docs", Index: "by_name", To: "zzz"}
	f.Add(EncodeCursor(q, Position{Order: int64(7), ID: "a"}), true)
	f.Add(EncodeCursor(s, Position{Order: "seven", ID: "job_1"}), false)
	f.Add(EncodeCursor(s, Position{Order: "", ID: ""}), false)
	f.Add(EncodeCursor(s, Position{Order: "\xff", ID: "a"}), false)
	f.Add("", true)
	f.Add("EQAAAAAAAAAA", true)
	f.Add("====", false)
	f.Fuzz(func(t *testing.T, cursor string, ints bool) {
		q, kind := s, String
		if ints {
			q, kind = Query{Collection: "docs", Index: "by_rank", Equal: []any{"x"}, From: int64(1)}, Int
		}
		q.Cursor = cursor
		at, err := DecodeCursor(q, kind)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("error %v, want invalid", err)
			}
			return
		}
		if !validID(at.ID) || checkValue(kind, at.Order) != nil {
			t.Fatalf("position %+v", at)
		}
		// One position has one cursor.
		if again := EncodeCursor(q, at); again != cursor {
			t.Fatalf("decoded %q, encodes as %q", cursor, again)
		}
	})
}
