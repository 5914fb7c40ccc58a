package docstoretest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"codexgateway.dev/pkg/docstore"
)

var pageCases = map[string]func(suite){
	"pages of every size give every document once, in order": func(s suite) {
		docs, want := make([]docstore.Doc, 0, 25), make([]string, 0, 25)
		for i := range cap(docs) { // five of each rank, so that pages end within ties
			id := fmt.Sprintf("t%02d", i)
			docs, want = append(docs, ranked(id, int64(i/5))), append(want, id)
		}
		s.seed("o", docs...)
		s.seed("p", ranked("foreign", 2))
		for _, desc := range []bool{false, true} {
			for _, limit := range []int{1, 2, 5, 24, 25, 26, docstore.MaxPage} {
				q := byRank("o")
				q.Limit, q.Desc = limit, desc
				wantIDs(s.t, s.ids(q), want...)
			}
			slices.Reverse(want)
		}
	},
	"pages of strings and within bounds": func(s suite) {
		s.seed("o", named("a", ""), named("b", ""), named("c", "x"), named("d", "x"), named("e", "x"), named("f", "y"))
		q := docstore.Query{Collection: "things", Index: "by_name", Equal: []any{"o"}, Limit: 1}
		wantIDs(s.t, s.ids(q), "a", "b", "c", "d", "e", "f")
		q.From, q.To = "x", "y"
		wantIDs(s.t, s.ids(q), "c", "d", "e")
		q.Desc = true
		wantIDs(s.t, s.ids(q), "e", "d", "c")
	},
	"a page holds the limit, by default 100": func(s suite) {
		docs := make([]docstore.Doc, 0, 101)
		for i := range cap(docs) {
			docs = append(docs, ranked(fmt.Sprintf("t%03d", i), int64(i)))
		}
		s.seed("o", docs...)
		for limit, want := range map[int]int{0: 100, 7: 7, 101: 101, 102: 101} {
			q := byRank("o")
			q.Limit = limit
			page, err := s.Query(s.t.Context(), q)
			must, may := want < len(docs), limit <= len(docs)
			if more := page.Next != ""; err != nil || len(page.Docs) != want || must && !more || more && !may {
				s.t.Fatalf("limit %d: %d documents, next %q, %v", limit, len(page.Docs), page.Next, err)
			}
			// A cursor with nothing after it is allowed, and leads to the end.
			if q.Cursor = page.Next; limit == 101 && q.Cursor != "" {
				wantIDs(s.t, s.ids(q))
			}
		}
	},
	"a cursor goes on where the page ended, whatever was written since": func(s suite) {
		s.seed("o", ranked("a", 10), ranked("b", 20), ranked("c", 30), ranked("d", 40))
		q := byRank("o")
		q.Limit = 2
		page, err := s.Query(s.t.Context(), q)
		if err != nil || len(page.Docs) != 2 {
			s.t.Fatalf("%d documents, %v", len(page.Docs), err)
		}
		s.seed("o", ranked("early", 5), ranked("a2", 20), ranked("b2", 20), ranked("late", 35))
		// The document that the page ended with may go: the position stays.
		s.commit(remove(page.Docs[1].Key, page.Docs[1].Version))
		q.Cursor, q.Limit = page.Next, 100
		wantIDs(s.t, s.ids(q), "b2", "c", "late", "d")
	},
	"paging under concurrent inserts neither repeats nor skips": func(s suite) {
		const old, inserted = 40, 60
		docs := make([]docstore.Doc, 0, old)
		for i := range old {
			docs = append(docs, ranked(fmt.Sprintf("old-%02d", i), int64(i*10)))
		}
		s.seed("o", docs...)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range inserted {
				_, err := s.Commit(s.t.Context(), []docstore.Write{{
					Op: docstore.Create, Key: thing(fmt.Sprintf("new-%02d", i)),
					Fields: docstore.Fields{"owner": "o", "rank": int64(i * 37 % 400)},
				}})
				if err != nil {
					s.t.Error(err)
					return
				}
			}
		})
		q := byRank("o")
		q.Limit = 3
		ids := s.ids(q)
		wg.Wait()
		seen := make(map[string]bool)
		for _, id := range ids {
			if seen[id] {
				s.t.Fatalf("%s came twice", id)
			}
			seen[id] = true
		}
		for _, d := range docs {
			if !seen[d.Key.ID] {
				s.t.Fatalf("%s was there all the time and did not come", d.Key.ID)
			}
		}
	},
	"a cursor of another query is refused": func(s suite) {
		s.seed("o", ranked("a", 1), ranked("b", 2), ranked("c", 3))
		s.seed("p", ranked("d", 1))
		q := byRank("o")
		q.Limit = 1
		page, err := s.Query(s.t.Context(), q)
		if err != nil || page.Next == "" {
			s.t.Fatalf("next %q, %v", page.Next, err)
		}
		for name, other := range map[string]docstore.Query{
			"another value":     byRank("p"),
			"another index":     {Collection: "things", Index: "all"},
			"another direction": {Collection: "things", Index: "by_rank", Equal: []any{"o"}, Desc: true},
			"another bound":     {Collection: "things", Index: "by_rank", Equal: []any{"o"}, To: int64(9)},
		} {
			other.Cursor = page.Next
			_, err := s.Query(s.t.Context(), other)
			wantErr(s.t, name, err, docstore.ErrInvalid)
		}
		for _, bad := range []string{"x", page.Next + "A", page.Next[1:], "====", "\x00"} {
			q.Cursor = bad
			_, err := s.Query(s.t.Context(), q)
			wantErr(s.t, "cursor "+bad, err, docstore.ErrInvalid)
		}
	},
	"a page of large documents ends early": func(s suite) {
		data := bytes.Repeat([]byte("large"), docstore.MaxDocBytes/5)
		const n = docstore.MaxPageBytes/docstore.MaxDocBytes + 3
		want := make([]string, 0, n)
		for i := range n {
			d := ranked(fmt.Sprintf("t%02d", i), int64(i))
			d.Data = data
			s.seed("o", d)
			want = append(want, d.Key.ID)
		}
		q := byRank("o")
		page, err := s.Query(s.t.Context(), q)
		if err != nil || page.Next == "" {
			s.t.Fatalf("%d documents, next %q, %v", len(page.Docs), page.Next, err)
		}
		size := 0
		for _, d := range page.Docs {
			size += len(d.Data)
		}
		if size > docstore.MaxPageBytes {
			s.t.Fatalf("a page of %d bytes, at most %d", size, docstore.MaxPageBytes)
		}
		wantIDs(s.t, s.ids(q), want...)
	},
}
