package docstoretest

import (
	"math"

	"codexgateway.dev/pkg/docstore"
)

var documentCases = map[string]func(suite){
	"a missing document is not found": func(s suite) {
		s.wantNone(thing("nobody"))
	},
	"a created document is read as written": func(s suite) {
		fields := docstore.Fields{"owner": "o", "name": "n", "rank": int64(7), "expires_at": int64(1)}
		v := s.commit(docstore.Write{Op: docstore.Create, Key: thing("a"), Fields: fields, Data: []byte("one")})
		s.want(docstore.Doc{Key: thing("a"), Version: v[0], Fields: fields, Data: []byte("one")})
	},
	"a replaced document has the new data, fields and version": func(s suite) {
		v1 := s.commit(docstore.Write{
			Op: docstore.Create, Key: thing("a"), Data: []byte("one"),
			Fields: docstore.Fields{"owner": "o", "rank": int64(7)},
		})
		v2 := s.commit(docstore.Write{
			Op: docstore.Replace, Key: thing("a"), Version: v1[0], Data: []byte("two"),
			Fields: docstore.Fields{"owner": "p", "name": "n"},
		})
		if v1[0] == v2[0] {
			s.t.Fatalf("both states have version %d", v1[0])
		}
		// rank is gone: fields are replaced, not merged.
		s.want(docstore.Doc{
			Key: thing("a"), Version: v2[0], Data: []byte("two"), Fields: docstore.Fields{"owner": "p", "name": "n"},
		})
		wantIDs(s.t, s.ids(docstore.Query{Collection: "things", Index: "by_rank", Equal: []any{"o"}}))
	},
	"a deleted document is gone, from indexes too": func(s suite) {
		v := s.commit(docstore.Write{Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"rank": int64(1)}})
		if got := s.commit(remove(thing("a"), v[0])); got[0] != 0 {
			s.t.Fatalf("a delete returned version %d, want 0", got[0])
		}
		s.wantNone(thing("a"))
		wantIDs(s.t, s.ids(docstore.Query{Collection: "things", Index: "all"}))
	},
	"ids are names within a collection": func(s suite) {
		v := s.commit(create(thing("a"), "thing"), create(plain("a"), "plain"))
		s.want(docstore.Doc{Key: thing("a"), Version: v[0], Data: []byte("thing")})
		s.want(docstore.Doc{Key: plain("a"), Version: v[1], Data: []byte("plain")})
	},
	"ids differ by case and by every allowed character": func(s suite) {
		ids := []string{"job_a", "job_A", "JOB_a", "job.a", "job:a", "job~a", "job-a", "_", "...", "a.", "0"}
		for _, id := range ids {
			s.commit(create(plain(id), "data of "+id))
		}
		for _, id := range ids {
			doc, err := s.Get(s.t.Context(), plain(id))
			if err != nil || string(doc.Data) != "data of "+id || doc.Key.ID != id {
				s.t.Errorf("get %s: %q under %q, %v", id, doc.Data, doc.Key.ID, err)
			}
		}
	},
	"data are bytes": func(s suite) {
		every := make([]byte, 0, 3*256)
		for range 3 {
			for b := range 256 {
				every = append(every, byte(b))
			}
		}
		for id, data := range map[string][]byte{
			"every": every, "zero": {0}, "invalid": {0xff, 0xfe, 0xc0}, "empty": {}, "nil": nil,
		} {
			v := s.commit(docstore.Write{Op: docstore.Create, Key: plain(id), Data: data})
			s.want(docstore.Doc{Key: plain(id), Version: v[0], Data: data})
		}
	},
	"data belong to their caller": func(s suite) {
		data := []byte("mine")
		v := s.commit(docstore.Write{Op: docstore.Create, Key: plain("a"), Data: data})
		copy(data, "gone")
		doc, err := s.Get(s.t.Context(), plain("a"))
		if err != nil {
			s.t.Fatal(err)
		}
		copy(doc.Data, "lost")
		s.want(docstore.Doc{Key: plain("a"), Version: v[0], Data: []byte("mine")})
	},
	"fields keep unicode, empty strings and the extremes of int64": func(s suite) {
		for id, fields := range map[string]docstore.Fields{
			"min":     {"rank": int64(math.MinInt64)},
			"max":     {"rank": int64(math.MaxInt64)},
			"past53":  {"rank": int64(1<<53 + 1)},
			"zero":    {"rank": int64(0), "name": ""},
			"unicode": {"name": "Grüße, 世界 👩‍🚀 \u202e\ufeff", "owner": "a'b\"c`d%e_f\\g\n\t;--"},
			"digits":  {"name": "0012", "owner": "1e3"},
			"none":    {},
		} {
			v := s.commit(docstore.Write{Op: docstore.Create, Key: thing(id), Fields: fields})
			s.want(docstore.Doc{Key: thing(id), Version: v[0], Fields: fields})
		}
	},
	"a document past its expiry is a document like others": func(s suite) {
		fields := docstore.Fields{"expires_at": int64(1)}
		v := s.commit(docstore.Write{Op: docstore.Create, Key: thing("a"), Fields: fields})
		s.want(docstore.Doc{Key: thing("a"), Version: v[0], Fields: fields})
		q := docstore.Query{Collection: "things", Index: "expired", To: int64(2)}
		wantIDs(s.t, s.ids(q), "a")
	},
	"a store that serves answers a ping": func(s suite) {
		if err := s.Ping(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	},
}
