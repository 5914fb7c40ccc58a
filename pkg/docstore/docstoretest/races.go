package docstoretest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"codexgateway.dev/pkg/docstore"
)

var raceCases = map[string]func(suite){
	"of concurrent claimers exactly one wins": func(s suite) {
		for round := range s.features.Rounds {
			k := plain(fmt.Sprintf("job-%d", round))
			v := s.commit(create(k, "queued"))[0]
			s.race(k, func(i int) docstore.Write { return replace(k, v, fmt.Sprintf("winner %d", i)) })
		}
	},
	"of concurrent creates of one key exactly one wins": func(s suite) {
		for round := range s.features.Rounds {
			k := plain(fmt.Sprintf("claim-%d", round))
			s.race(k, func(i int) docstore.Write { return create(k, fmt.Sprintf("winner %d", i)) })
		}
	},
	"of a concurrent replace and deletes exactly one wins": func(s suite) {
		for round := range s.features.Rounds {
			k := plain(fmt.Sprintf("job-%d", round))
			v := s.commit(create(k, "queued"))[0]
			wins := s.contest(func(i int) []docstore.Write {
				if i%2 == 0 {
					return []docstore.Write{remove(k, v)}
				}
				return []docstore.Write{replace(k, v, "kept")}
			})
			if len(wins) != 1 {
				s.t.Fatalf("%d winners, want 1", len(wins))
			}
			if _, err := s.Get(s.t.Context(), k); (wins[0]%2 == 0) != errors.Is(err, docstore.ErrNotFound) {
				s.t.Fatalf("writer %d won, but get is %v", wins[0], err)
			}
		}
	},
	"concurrent increments are all counted": func(s suite) {
		const writers, each = 4, 5
		k := plain("counter")
		s.commit(create(k, ""))
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					if err := increment(s.t.Context(), s.Store, k); err != nil {
						s.t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		doc, err := s.Get(s.t.Context(), k)
		if err != nil || len(doc.Data) != writers*each {
			s.t.Fatalf("counted %d of %d, %v", len(doc.Data), writers*each, err)
		}
	},
	"concurrent commits that overlap are all or nothing": func(s suite) {
		// Each writer creates the shared document and one of its own.
		for round := range s.features.Rounds {
			own := func(i int) docstore.Key { return plain(fmt.Sprintf("own-%d-%d", round, i)) }
			shared := plain(fmt.Sprintf("shared-%d", round))
			wins := s.contest(func(i int) []docstore.Write {
				return []docstore.Write{create(own(i), "x"), create(shared, "x")}
			})
			if len(wins) != 1 {
				s.t.Fatalf("%d winners, want 1", len(wins))
			}
			for i := range s.features.Racers {
				_, err := s.Get(s.t.Context(), own(i))
				if won := i == wins[0]; won != (err == nil) {
					s.t.Fatalf("writer %d won: %v, but its document: %v", i, won, err)
				}
			}
		}
	},
	"commits of different documents do not disturb each other": func(s suite) {
		wins := s.contest(func(i int) []docstore.Write {
			return []docstore.Write{create(plain(fmt.Sprintf("doc-%d", i)), "x")}
		})
		if len(wins) != s.features.Racers {
			s.t.Fatalf("%d of %d commits were applied", len(wins), s.features.Racers)
		}
	},
}

// contest commits the writes of every racer at once and returns who won. Losing
// must be a conflict.
func (s suite) contest(writes func(i int) []docstore.Write) []int {
	s.t.Helper()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		wins  []int
		begin = make(chan struct{})
	)
	for i := range s.features.Racers {
		wg.Go(func() {
			<-begin
			_, err := s.Commit(s.t.Context(), writes(i))
			switch {
			case err == nil:
				mu.Lock()
				defer mu.Unlock()
				wins = append(wins, i)
			case !errors.Is(err, docstore.ErrConflict):
				s.t.Errorf("racer %d: %v, want a conflict", i, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return wins
}

// race is a contest for one document with one winner, whose data it must hold.
func (s suite) race(k docstore.Key, write func(i int) docstore.Write) {
	s.t.Helper()
	wins := s.contest(func(i int) []docstore.Write { return []docstore.Write{write(i)} })
	if len(wins) != 1 {
		s.t.Fatalf("%d winners, want 1", len(wins))
	}
	doc, err := s.Get(s.t.Context(), k)
	if want := fmt.Sprintf("winner %d", wins[0]); err != nil || string(doc.Data) != want {
		s.t.Fatalf("the document says %q, want %q, %v", doc.Data, want, err)
	}
}

// increment adds a byte by compare-and-set.
func increment(ctx context.Context, s *docstore.Store, k docstore.Key) error {
	for {
		doc, err := s.Get(ctx, k)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx, []docstore.Write{replace(k, doc.Version, string(doc.Data)+"+")})
		if !errors.Is(err, docstore.ErrConflict) {
			return err
		}
	}
}
