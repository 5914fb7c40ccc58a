package ticket_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codexgateway.dev/pkg/apikey"
	"codexgateway.dev/pkg/docstore"
	"codexgateway.dev/pkg/docstore/memstore"
	"codexgateway.dev/pkg/ticket"
)

var start = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func open(t *testing.T) (*docstore.Store, *memstore.Store) {
	t.Helper()
	schema := docstore.Schema{ticket.Schema()}
	driver := memstore.New(schema)
	docs, err := docstore.New(driver, schema, docstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = docs.Close() })
	return docs, driver
}

// at is a store of tickets whose clock stands still.
func at(docs *docstore.Store, now time.Time) *ticket.Store {
	return ticket.NewStore(docs, func() time.Time { return now })
}

func issue(t *testing.T, s *ticket.Store, h ticket.Holder) string {
	t.Helper()
	tk, err := s.Issue(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return tk.Value.Reveal()
}

func TestATicketWorksOnceAndSpeaksForItsHolder(t *testing.T) {
	t.Parallel()
	docs, _ := open(t)
	h := ticket.Holder{Tenant: "acme", KeyID: "key_a", Secret: 2, Scopes: []apikey.Scope{apikey.JobsRead}, RateLimit: 7, Expires: start.Add(time.Hour)}
	value := issue(t, at(docs, start), h)
	// Another instance, later.
	got, err := at(docs, start.Add(29*time.Second)).Redeem(t.Context(), value)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(h, got); diff != "" {
		t.Errorf("holder (-want +got):\n%s", diff)
	}
	if _, err := at(docs, start).Redeem(t.Context(), value); !errors.Is(err, ticket.ErrInvalid) {
		t.Errorf("the second time: %v", err)
	}
}

func TestOneOfManyRacersTakesATicket(t *testing.T) {
	t.Parallel()
	docs, _ := open(t)
	value := issue(t, at(docs, start), ticket.Holder{Tenant: "acme"})
	var wg sync.WaitGroup
	var won atomic.Int64
	begin := make(chan struct{})
	for range 50 {
		s := at(docs, start)
		wg.Go(func() {
			<-begin
			switch _, err := s.Redeem(context.Background(), value); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ticket.ErrInvalid):
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d took it, want 1", won.Load())
	}
}

func TestATicketLivesAsLongAsTheClocksAreNear(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		later   time.Duration // by the clock of who redeems
		expires time.Duration // of the key; 0: never
		works   bool
	}{
		{"at once", 0, 0, true},
		{"at the end", ticket.Life, 0, true},
		{"a clock that is ahead", ticket.Life + ticket.Skew, 0, true},
		{"too late for every clock", ticket.Life + ticket.Skew + 1, 0, false},
		{"a clock that is behind", -ticket.Skew, 0, true},
		{"a clock that is wrong", -ticket.Skew - 1, 0, false},
		{"the key expires first", 10 * time.Second, 10 * time.Second, false},
		{"the key expires later", 10 * time.Second, 11 * time.Second, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			docs, _ := open(t)
			h := ticket.Holder{Tenant: "acme"}
			if tc.expires != 0 {
				h.Expires = start.Add(tc.expires)
			}
			value := issue(t, at(docs, start), h)
			if _, err := at(docs, start.Add(tc.later)).Redeem(t.Context(), value); tc.works != (err == nil) || err != nil && !errors.Is(err, ticket.ErrInvalid) {
				t.Errorf("%v, want it to work: %t", err, tc.works)
			}
			// Shown is used up, whatever came of it.
			if _, err := at(docs, start).Redeem(t.Context(), value); !errors.Is(err, ticket.ErrInvalid) {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestTheStoreDoesNotHoldTheTicket(t *testing.T) {
	t.Parallel()
	docs, _ := open(t)
	value := issue(t, at(docs, start), ticket.Holder{Tenant: "acme", KeyID: "key_a"})
	page, err := docs.Query(t.Context(), docstore.Query{Collection: ticket.Collection, Index: docstore.IndexExpiry})
	if err != nil || len(page.Docs) != 1 {
		t.Fatalf("%v, %v", page, err)
	}
	d := page.Docs[0]
	if part := value[len(ticket.Prefix):]; strings.Contains(d.Key.ID+string(d.Data), part) {
		t.Errorf("%s %s", d.Key.ID, d.Data)
	}
}

func TestUnusedTicketsAreRemovedOnceNoClockTakesThem(t *testing.T) {
	t.Parallel()
	docs, _ := open(t)
	issue(t, at(docs, start), ticket.Holder{Tenant: "acme"})
	for _, tc := range []struct {
		at   time.Duration
		want int
	}{{ticket.Life + 2*ticket.Skew, 0}, {ticket.Life + 2*ticket.Skew + time.Millisecond, 1}, {time.Hour, 0}} {
		if got, err := docs.PurgeExpired(t.Context(), ticket.Collection, start.Add(tc.at), 10); err != nil || got != tc.want {
			t.Errorf("after %s: removed %d, %v; want %d", tc.at, got, err, tc.want)
		}
	}
}

// A store that is away is no wrong ticket: the client may try again.
func TestAStoreThatIsAwayIsNoWrongTicket(t *testing.T) {
	t.Parallel()
	docs, driver := open(t)
	value := issue(t, at(docs, start), ticket.Holder{Tenant: "acme"})
	if err := driver.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := at(docs, start).Redeem(t.Context(), value); !errors.Is(err, docstore.ErrUnavailable) || strings.Contains(err.Error(), value) {
		t.Errorf("%v", err)
	}
}

func FuzzIs(f *testing.F) {
	for _, s := range []string{"", "cgwt_", "cgwt_ABCDEFGHIJKLMNOPQRSTUVWXYZ", "cgwt_abcdefghijklmnopqrstuvwxyz", "cgwt_ABCDEFGHIJKLMNOPQRSTUVWXY0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ticket.Is(s) && (len(s) != 31 || strings.ContainsFunc(s[5:], func(r rune) bool { return (r < 'A' || r > 'Z') && (r < '2' || r > '7') })) {
			t.Errorf("%q is a ticket", s)
		}
	})
}
