package docstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"codexgateway.dev/pkg/docstore"
)

var limitCases = map[string]func(suite){
	"a document may be as large as the limit in every part": func(s suite) {
		id := strings.Repeat("i", docstore.MaxIDBytes)
		fields := docstore.Fields{
			"owner": strings.Repeat("é", docstore.MaxFieldBytes/2), "name": strings.Repeat("n", docstore.MaxFieldBytes),
			"rank": int64(1), "expires_at": int64(1),
		}
		data := bytes.Repeat([]byte{0xff}, docstore.MaxDocBytes)
		v := s.commit(docstore.Write{Op: docstore.Create, Key: thing(id), Fields: fields, Data: data})
		s.want(docstore.Doc{Key: thing(id), Version: v[0], Fields: fields, Data: data})
		q := docstore.Query{Collection: "things", Index: "by_name", Equal: []any{fields["owner"]}, Limit: 1}
		s.commit(docstore.Write{Op: docstore.Create, Key: thing(id[1:] + "z"), Fields: fields})
		if got := s.ids(q); len(got) != 2 { // the longest cursor
			s.t.Fatalf("%d documents, want 2", len(got))
		}
	},
	"what is over a limit is too large": func(s suite) {
		long := strings.Repeat("n", docstore.MaxFieldBytes+1)
		mib := strings.Repeat("x", docstore.MaxDocBytes)
		many := make([]docstore.Write, 0, docstore.MaxCommitWrites+1)
		heavy := make([]docstore.Write, 0, docstore.MaxCommitBytes/docstore.MaxDocBytes+1)
		for i := range cap(many) {
			many = append(many, create(plain(fmt.Sprintf("w%d", i)), "x"))
		}
		for i := range cap(heavy) {
			heavy = append(heavy, create(plain(fmt.Sprintf("w%d", i)), mib))
		}
		for name, writes := range map[string][]docstore.Write{
			"data":   {create(plain("w0"), mib+"x")},
			"field":  {{Op: docstore.Create, Key: thing("w0"), Fields: docstore.Fields{"name": long}}},
			"writes": many,
			"commit": heavy,
		} {
			_, err := s.Commit(s.t.Context(), writes)
			wantErr(s.t, name, err, docstore.ErrTooLarge)
		}
		s.wantNone(plain("w0"))
		_, err := s.Get(s.t.Context(), plain(strings.Repeat("i", docstore.MaxIDBytes+1)))
		wantErr(s.t, "id", err, docstore.ErrInvalid)
	},
	"a commit of the most writes and nearly the most bytes is one commit": func(s suite) {
		data := strings.Repeat("x", s.features.CommitBytes/docstore.MaxCommitWrites-100)
		writes := make([]docstore.Write, 0, docstore.MaxCommitWrites)
		for i := range docstore.MaxCommitWrites {
			writes = append(writes, create(plain(fmt.Sprintf("w%d", i)), data))
		}
		blocked := append([]docstore.Write{}, writes...)
		v := s.commit(create(plain("last"), "x"))
		blocked[len(blocked)-1] = create(plain("last"), data)
		_, err := s.Commit(s.t.Context(), blocked)
		wantConflict(s.t, err, plain("last"), docstore.MaxCommitWrites-1)
		s.wantNone(plain("w0"))
		s.want(docstore.Doc{Key: plain("last"), Version: v[0], Data: []byte("x")})
		versions := s.commit(writes...)
		for i, v := range versions {
			s.want(docstore.Doc{Key: writes[i].Key, Version: v, Data: writes[i].Data})
		}
	},
}

var endCases = map[string]func(suite){
	"an ended context ends every call and commits nothing": func(s suite) {
		ctx := ended(s.t)
		_, err := s.Get(ctx, plain("a"))
		wantErr(s.t, "get", err, context.Canceled)
		_, err = s.Query(ctx, byRank("o"))
		wantErr(s.t, "query", err, context.Canceled)
		_, err = s.Commit(ctx, []docstore.Write{create(plain("a"), "x")})
		wantErr(s.t, "commit", err, context.Canceled)
		wantErr(s.t, "ping", s.Ping(ctx), context.Canceled)
		s.wantNone(plain("a"))
		s.commit(create(plain("a"), "x")) // the store goes on
	},
	"a commit cut short is applied or not, never half": func(s suite) {
		for round := range s.features.Rounds {
			a, b := plain(fmt.Sprintf("a-%d", round)), plain(fmt.Sprintf("b-%d", round))
			ctx, cancel := context.WithCancel(s.t.Context())
			done := make(chan error, 1)
			go func() {
				_, err := s.Commit(ctx, []docstore.Write{create(a, "x"), create(b, "x")})
				done <- err
			}()
			cancel()
			err := <-done
			// A later commit of the same keys shows which it was: the cut one may
			// still have been on its way when Commit returned.
			_, again := s.Commit(s.t.Context(), []docstore.Write{create(a, "y"), create(b, "y")})
			docA, errA := s.Get(s.t.Context(), a)
			docB, errB := s.Get(s.t.Context(), b)
			if errA != nil || errB != nil || string(docA.Data) != string(docB.Data) {
				s.t.Fatalf("a is %q, b is %q, %v %v", docA.Data, docB.Data, errA, errB)
			}
			applied := string(docA.Data) == "x"
			if applied != errors.Is(again, docstore.ErrConflict) {
				s.t.Fatalf("applied: %v, but the second commit says %v", applied, again)
			}
			switch {
			case err == nil && !applied:
				s.t.Fatal("a commit that returned nil was not applied")
			case applied && err != nil && !errors.Is(err, docstore.ErrUnavailable):
				s.t.Fatalf("a commit that was applied says %v", err)
			}
		}
	},
	"a closed store is unavailable and closes again": func(s suite) {
		s.commit(create(plain("a"), "x"))
		if err := s.driver.Close(); err != nil {
			s.t.Fatal(err)
		}
		_, err := s.driver.Get(s.t.Context(), plain("a"))
		wantErr(s.t, "get", err, docstore.ErrUnavailable)
		q := byRank("o")
		q.Limit = 1
		_, err = s.driver.Query(s.t.Context(), q)
		wantErr(s.t, "query", err, docstore.ErrUnavailable)
		_, err = s.driver.Commit(s.t.Context(), []docstore.Write{create(plain("b"), "x")})
		wantErr(s.t, "commit", err, docstore.ErrUnavailable)
		wantErr(s.t, "ping", s.driver.Ping(s.t.Context()), docstore.ErrUnavailable)
		if err := s.driver.Close(); err != nil {
			s.t.Fatalf("second close: %v", err)
		}
	},
	"close while calls are under way answers every call": func(s suite) {
		errs := make(chan error, s.features.Racers)
		for i := range s.features.Racers {
			go func() {
				_, err := s.driver.Commit(s.t.Context(), []docstore.Write{create(plain(fmt.Sprintf("w%d", i)), "x")})
				errs <- err
			}()
		}
		if err := s.driver.Close(); err != nil {
			s.t.Fatal(err)
		}
		for range s.features.Racers {
			if err := <-errs; err != nil && !errors.Is(err, docstore.ErrUnavailable) {
				s.t.Fatalf("commit: %v", err)
			}
		}
	},
}
