package docstoretest

import (
	"fmt"
	"math"

	"codexgateway.dev/pkg/docstore"
)

var commitCases = map[string]func(suite){
	"a failed precondition is a conflict that names the write": func(s suite) {
		v := s.commit(create(plain("there"), "old"))
		stale := v[0]
		v = s.commit(replace(plain("there"), stale, "new"))
		for name, w := range map[string]docstore.Write{
			"create over a document":    create(plain("there"), "x"),
			"replace nothing":           replace(plain("missing"), stale, "x"),
			"replace an older version":  replace(plain("there"), stale, "x"),
			"replace a version to come": replace(plain("there"), v[0]+1_000_000, "x"),
			"replace no real version":   replace(plain("there"), math.MaxInt64, "x"),
			"delete nothing":            remove(plain("missing"), stale),
			"delete an older version":   remove(plain("there"), stale),
		} {
			_, err := s.Commit(s.t.Context(), []docstore.Write{w})
			if err == nil {
				s.t.Fatalf("%s: no error", name)
			}
			wantConflict(s.t, err, w.Key, 0)
		}
		s.want(docstore.Doc{Key: plain("there"), Version: v[0], Data: []byte("new")})
		s.wantNone(plain("missing"))
	},
	"all or nothing, wherever the failing write is": func(s suite) {
		const n = 4
		v := s.commit(create(plain("kept"), "old"), create(plain("doomed"), "old"), create(plain("taken"), "old"))
		for at := range n {
			good := []docstore.Write{
				create(plain(fmt.Sprintf("new-%d", at)), "x"),
				replace(plain("kept"), v[0], "x"),
				remove(plain("doomed"), v[1]),
			}
			writes := append([]docstore.Write{}, good[:at]...)
			writes = append(writes, create(plain("taken"), "x"))
			writes = append(writes, good[at:]...)
			_, err := s.Commit(s.t.Context(), writes)
			wantConflict(s.t, err, plain("taken"), at)
			s.wantNone(plain(fmt.Sprintf("new-%d", at)))
			s.want(docstore.Doc{Key: plain("kept"), Version: v[0], Data: []byte("old")})
			s.want(docstore.Doc{Key: plain("doomed"), Version: v[1], Data: []byte("old")})
			s.want(docstore.Doc{Key: plain("taken"), Version: v[2], Data: []byte("old")})
		}
	},
	"the first of several failing writes is named": func(s suite) {
		v := s.commit(create(plain("a"), "x"), create(plain("b"), "x"))
		_, err := s.Commit(s.t.Context(), []docstore.Write{
			create(plain("c"), "x"), replace(plain("b"), v[0]+v[1], "x"), create(plain("a"), "x"),
		})
		wantConflict(s.t, err, plain("b"), 1)
	},
	"one commit may create, replace and delete in several collections": func(s suite) {
		v := s.commit(create(plain("old"), "x"), create(thing("gone"), "x"))
		w := s.commit(create(thing("new"), "1"), replace(plain("old"), v[0], "2"), remove(thing("gone"), v[1]))
		if w[0] == 0 || w[1] == 0 || w[2] != 0 {
			s.t.Fatalf("versions %v, want two and a zero", w)
		}
		s.want(docstore.Doc{Key: thing("new"), Version: w[0], Data: []byte("1")})
		s.want(docstore.Doc{Key: plain("old"), Version: w[1], Data: []byte("2")})
		s.wantNone(thing("gone"))
	},
	"a version never comes back": func(s suite) {
		seen := make(map[docstore.Version]bool)
		add := func(v docstore.Version) {
			if v == 0 || seen[v] {
				s.t.Fatalf("version %d after %d others", v, len(seen))
			}
			seen[v] = true
		}
		for range 5 {
			v := s.commit(create(plain("a"), "x"))[0]
			add(v)
			for range 3 {
				// The same data again is a new state all the same.
				v = s.commit(replace(plain("a"), v, "x"))[0]
				add(v)
			}
			s.commit(remove(plain("a"), v))
		}
		// Whoever holds a version from before the delete must not win.
		v := s.commit(create(plain("a"), "x"))[0]
		for old := range seen {
			if old == v {
				s.t.Fatalf("version %d came back", v)
			}
			_, err := s.Commit(s.t.Context(), []docstore.Write{replace(plain("a"), old, "stale")})
			wantErr(s.t, "replace", err, docstore.ErrConflict)
		}
	},
	"a programming error is refused and writes nothing": func(s suite) {
		ok := create(plain("ok"), "x")
		for name, writes := range map[string][]docstore.Write{
			"no writes":             {},
			"no op":                 {ok, {Key: plain("a")}},
			"unknown op":            {ok, {Op: 9, Key: plain("a")}},
			"undeclared collection": {ok, create(docstore.Key{Collection: "nowhere", ID: "a"}, "x")},
			"the same key twice":    {ok, create(plain("a"), "x"), remove(plain("a"), 1)},
			"create with version":   {ok, {Op: docstore.Create, Key: plain("a"), Version: 1}},
			"replace without":       {ok, {Op: docstore.Replace, Key: plain("a")}},
			"delete without":        {ok, {Op: docstore.Delete, Key: plain("a")}},
			"delete with data":      {ok, {Op: docstore.Delete, Key: plain("a"), Version: 1, Data: []byte("x")}},
			"undeclared field":      {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"colour": "red"}}},
			"string for int":        {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"rank": "7"}}},
			"int for string":        {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"name": int64(7)}}},
			"int for int64":         {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"rank": 7}}},
			"nil field":             {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"rank": nil}}},
			"invalid UTF-8":         {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"name": "\xff"}}},
			"NUL in a field":        {ok, {Op: docstore.Create, Key: thing("a"), Fields: docstore.Fields{"name": "a\x00b"}}},
		} {
			_, err := s.Commit(s.t.Context(), writes)
			wantErr(s.t, name, err, docstore.ErrInvalid)
			s.wantNone(plain("ok"))
		}
	},
	"a bad id is refused everywhere": func(s suite) {
		for _, id := range []string{"", "a/b", "a b", "ä", "a\x00", ".", "..", "__x__", "a%2F", "a'b"} {
			_, err := s.Get(s.t.Context(), plain(id))
			wantErr(s.t, "get "+id, err, docstore.ErrInvalid)
			_, err = s.Commit(s.t.Context(), []docstore.Write{create(plain(id), "x")})
			wantErr(s.t, "create "+id, err, docstore.ErrInvalid)
		}
	},
}
