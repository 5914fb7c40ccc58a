package docstoretest

import (
	"fmt"
	"math"
	"slices"

	"codexgateway.dev/pkg/docstore"
)

// seed creates things with rank and name, all of one owner.
func (s suite) seed(owner string, things ...docstore.Doc) {
	s.t.Helper()
	for part := range slices.Chunk(things, 50) {
		writes := make([]docstore.Write, 0, len(part))
		for _, d := range part {
			d.Fields["owner"] = owner
			writes = append(writes, docstore.Write{Op: docstore.Create, Key: d.Key, Fields: d.Fields, Data: d.Data})
		}
		s.commit(writes...)
	}
}

func ranked(id string, rank int64) docstore.Doc {
	return docstore.Doc{Key: thing(id), Fields: docstore.Fields{"rank": rank, "name": "name of " + id}}
}

func named(id, name string) docstore.Doc {
	return docstore.Doc{Key: thing(id), Fields: docstore.Fields{"name": name, "rank": int64(0)}}
}

func byRank(owner string) docstore.Query {
	return docstore.Query{Collection: "things", Index: "by_rank", Equal: []any{owner}}
}

var queryCases = map[string]func(suite){
	"a query of nothing is an empty last page": func(s suite) {
		page, err := s.Query(s.t.Context(), byRank("o"))
		if err != nil || len(page.Docs) != 0 || page.Next != "" {
			s.t.Fatalf("%d documents, next %q, %v", len(page.Docs), page.Next, err)
		}
	},
	"a query returns whole documents": func(s suite) {
		v := s.commit(docstore.Write{
			Op: docstore.Create, Key: thing("a"), Data: []byte{0, 255},
			Fields: docstore.Fields{"owner": "o", "rank": int64(3)},
		})
		page, err := s.Query(s.t.Context(), byRank("o"))
		if err != nil || len(page.Docs) != 1 {
			s.t.Fatalf("%d documents, %v", len(page.Docs), err)
		}
		got := page.Docs[0]
		if got.Key != thing("a") || got.Version != v[0] || string(got.Data) != "\x00\xff" ||
			len(got.Fields) != 2 || got.Fields["owner"] != "o" || got.Fields["rank"] != int64(3) {
			s.t.Fatalf("got %+v", got)
		}
	},
	"equality is exact": func(s suite) {
		for i, owner := range []string{"o", "O", "o ", "", "ö", "o%"} {
			s.seed(owner, ranked(fmt.Sprintf("t%d", i), 1))
		}
		wantIDs(s.t, s.ids(byRank("o")), "t0")
		wantIDs(s.t, s.ids(byRank("O")), "t1")
		wantIDs(s.t, s.ids(byRank("")), "t3")
		wantIDs(s.t, s.ids(byRank("ö")), "t4")
		wantIDs(s.t, s.ids(byRank("o_")))
	},
	"equality holds on several fields": func(s suite) {
		s.seed("o", ranked("a", 1), ranked("b", 2), ranked("c", 1))
		s.seed("p", ranked("d", 1))
		q := docstore.Query{Collection: "things", Index: "by_both", Equal: []any{"o", int64(1)}, Desc: true}
		wantIDs(s.t, s.ids(q), "c", "a")
	},
	"numbers are ordered as numbers": func(s suite) {
		s.seed("o", ranked("e", math.MaxInt64), ranked("c", 10), ranked("b", 9), ranked("d", 1<<53+1),
			ranked("a", -10), ranked("z", math.MinInt64), ranked("dd", 1<<53))
		want := []string{"z", "a", "b", "c", "dd", "d", "e"}
		wantIDs(s.t, s.ids(byRank("o")), want...)
		q := byRank("o")
		q.Desc = true
		slices.Reverse(want)
		wantIDs(s.t, s.ids(q), want...)
	},
	"strings are ordered by their bytes": func(s suite) {
		names := []string{"", "0", "A", "B", "Z", "a", "a0", "aa", "b", "é", "世", "\U0001F600"}
		docs := make([]docstore.Doc, 0, len(names))
		want := make([]string, 0, len(names))
		for i, name := range names {
			id := fmt.Sprintf("t%02d", len(names)-i)
			docs, want = append(docs, named(id, name)), append(want, id)
		}
		s.seed("o", docs...)
		q := docstore.Query{Collection: "things", Index: "by_name", Equal: []any{"o"}}
		wantIDs(s.t, s.ids(q), want...)
	},
	"ties are ordered by id, in the direction of the query": func(s suite) {
		s.seed("o", ranked("c", 1), ranked("B", 1), ranked("a", 1), ranked("b", 0), ranked("d", 2))
		q := byRank("o")
		wantIDs(s.t, s.ids(q), "b", "B", "a", "c", "d")
		q.Desc = true
		wantIDs(s.t, s.ids(q), "d", "c", "a", "B", "b")
	},
	"from is included and to is not": func(s suite) {
		s.seed("o", ranked("a", 1), ranked("b", 2), ranked("c", 3), ranked("d", 4))
		for _, c := range []struct {
			from, to any
			want     []string
		}{
			{int64(2), int64(4), []string{"b", "c"}},
			{int64(2), nil, []string{"b", "c", "d"}},
			{nil, int64(2), []string{"a"}},
			{int64(3), int64(3), nil},
			{int64(4), int64(2), nil},
			{int64(math.MinInt64), int64(math.MaxInt64), []string{"a", "b", "c", "d"}},
		} {
			q := byRank("o")
			q.From, q.To = c.from, c.to
			wantIDs(s.t, s.ids(q), c.want...)
			q.Desc = true
			slices.Reverse(c.want)
			wantIDs(s.t, s.ids(q), c.want...)
		}
	},
	"bounds of strings hold": func(s suite) {
		s.seed("o", named("a", "apple"), named("b", "banana"), named("c", "cherry"))
		q := docstore.Query{Collection: "things", Index: "by_name", Equal: []any{"o"}, From: "apples", To: "cherry"}
		wantIDs(s.t, s.ids(q), "b")
	},
	"a document without a field of the index is not in it": func(s suite) {
		s.commit(
			docstore.Write{Op: docstore.Create, Key: thing("neither")},
			docstore.Write{Op: docstore.Create, Key: thing("rank"), Fields: docstore.Fields{"rank": int64(1)}},
			docstore.Write{Op: docstore.Create, Key: thing("owner"), Fields: docstore.Fields{"owner": "o"}},
			docstore.Write{Op: docstore.Create, Key: thing("both"), Fields: docstore.Fields{"owner": "o", "rank": int64(2)}})
		wantIDs(s.t, s.ids(byRank("o")), "both")
		all := docstore.Query{Collection: "things", Index: "all"}
		wantIDs(s.t, s.ids(all), "rank", "both")
		all.Desc = true
		wantIDs(s.t, s.ids(all), "both", "rank")
		all.To = int64(2)
		wantIDs(s.t, s.ids(all), "rank")
	},
	"a query sees every commit before it": func(s suite) {
		for i := range 20 {
			id := fmt.Sprintf("t%02d", i)
			s.seed("o", ranked(id, int64(i)))
			q := byRank("o")
			q.From = int64(i)
			wantIDs(s.t, s.ids(q), id)
		}
		doc, err := s.Get(s.t.Context(), thing("t00"))
		if err != nil {
			s.t.Fatal(err)
		}
		s.commit(docstore.Write{
			Op: docstore.Replace, Key: doc.Key, Version: doc.Version,
			Fields: docstore.Fields{"owner": "o", "rank": int64(100)},
		})
		q := byRank("o")
		q.From = int64(19)
		wantIDs(s.t, s.ids(q), "t19", "t00")
	},
	"a query that the schema does not have is refused": func(s suite) {
		for name, q := range map[string]docstore.Query{
			"collection":  {Collection: "nowhere", Index: "all"},
			"index":       {Collection: "things", Index: "by_colour"},
			"no index":    {Collection: "things"},
			"few values":  {Collection: "things", Index: "by_rank"},
			"many values": {Collection: "things", Index: "all", Equal: []any{"o"}},
			"value kind":  {Collection: "things", Index: "by_rank", Equal: []any{int64(1)}},
			"nil value":   {Collection: "things", Index: "by_rank", Equal: []any{nil}},
			"from kind":   {Collection: "things", Index: "all", From: "1"},
			"to kind":     {Collection: "things", Index: "all", To: 1},
			"limit":       {Collection: "things", Index: "all", Limit: docstore.MaxPage + 1},
			"less":        {Collection: "things", Index: "all", Limit: -1},
			"descending":  {Collection: "things", Index: "expired", Desc: true},
			"ascending":   {Collection: "things", Index: "by_both", Equal: []any{"o", int64(1)}},
		} {
			_, err := s.Query(s.t.Context(), q)
			wantErr(s.t, name, err, docstore.ErrInvalid)
		}
	},
}
