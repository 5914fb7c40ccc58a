package streams_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codexgateway.dev/services/edge/internal/streams"
)

var errRevoked = errors.New("revoked")

// opened is a stream and what it ended with.
type opened struct {
	*streams.Stream

	over chan error
}

func open(t *testing.T, s *streams.Set, c streams.Credential) opened {
	t.Helper()
	st, ok := s.Open(c)
	if !ok {
		t.Fatal("no place")
	}
	t.Cleanup(st.Close)
	o := opened{Stream: st, over: make(chan error, 2)}
	st.WhenOver(func(why error) { o.over <- why })
	return o
}

// ended is what the stream ended with; nil: it goes on. It is called in a bubble.
func (o opened) ended() error {
	synctest.Wait()
	select {
	case why := <-o.over:
		return why
	default:
		return nil
	}
}

func TestTheEndOfAKeyEndsItsStreamsAndNoOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := streams.New(0)
		first, second := open(t, s, streams.Credential{KeyID: "key_a", Secret: 1}), open(t, s, streams.Credential{KeyID: "key_a", Secret: 2})
		other := open(t, s, streams.Credential{KeyID: "key_b", Secret: 1})
		ctx, stop := first.Until(t.Context())
		defer stop()
		keys := s.Keys()
		slices.Sort(keys)
		if !slices.Equal(keys, []string{"key_a", "key_b"}) {
			t.Errorf("keys %v", keys)
		}
		s.End("key_a", errRevoked)
		for i, o := range []opened{first, second} {
			if why := o.ended(); !errors.Is(why, errRevoked) {
				t.Errorf("stream %d: %v, want it ended", i, why)
			}
		}
		if <-ctx.Done(); !errors.Is(context.Cause(ctx), errRevoked) {
			t.Errorf("the context ended with %v", context.Cause(ctx))
		}
		if why := other.ended(); why != nil {
			t.Errorf("the stream of another key: %v", why)
		}
	})
}

// A request is authenticated before its stream is open: a key that ends in
// between must not leave a stream behind that nobody ends.
func TestAStreamOpenedAfterItsKeyEndedIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := streams.New(0)
		s.End("key_a", errRevoked)
		s.End("key_a", errors.New("again"))
		if why := open(t, s, streams.Credential{KeyID: "key_a"}).ended(); !errors.Is(why, errRevoked) {
			t.Errorf("%v, want it ended", why)
		}
		for i := range 2000 { // what is remembered is bounded
			s.End(fmt.Sprintf("key_%d", i), errRevoked)
		}
		if why := open(t, s, streams.Credential{KeyID: "key_a"}).ended(); why != nil {
			t.Errorf("%v, long after the end", why)
		}
	})
}

func TestAStreamEndsWhenItsCredentialExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := streams.New(0)
		o := open(t, s, streams.Credential{KeyID: "key_a", Expires: time.Now().Add(time.Minute)})
		lasting := open(t, s, streams.Credential{KeyID: "key_a"})
		<-time.After(59 * time.Second)
		if why := o.ended(); why != nil {
			t.Errorf("%v, before its time", why)
		}
		<-time.After(time.Second)
		if why := o.ended(); !errors.Is(why, streams.ErrExpired) {
			t.Errorf("%v, want it expired", why)
		}
		if why := lasting.ended(); why != nil {
			t.Errorf("%v, without an expiry", why)
		}
	})
}

func TestSettleJudgesEachCredentialAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := streams.New(0)
		soon := time.Now().Add(time.Minute)
		gone := open(t, s, streams.Credential{KeyID: "key_a", Secret: 1})
		old := open(t, s, streams.Credential{KeyID: "key_a", Secret: 2})
		fresh := open(t, s, streams.Credential{KeyID: "key_a", Secret: 3, Expires: soon})
		other := open(t, s, streams.Credential{KeyID: "key_b", Secret: 1})
		s.Settle("key_a", func(c streams.Credential) (time.Time, error) {
			switch c.Secret {
			case 1:
				return time.Time{}, errRevoked
			case 2:
				return soon, nil
			default:
				return time.Time{}, nil
			}
		})
		if why := gone.ended(); !errors.Is(why, errRevoked) {
			t.Errorf("%v, want it ended", why)
		}
		if why := old.ended(); why != nil {
			t.Errorf("%v, before its time", why)
		}
		<-time.After(time.Minute)
		if why := old.ended(); !errors.Is(why, streams.ErrExpired) {
			t.Errorf("%v, want it expired", why)
		}
		if why := fresh.ended(); why != nil {
			t.Errorf("its expiry was lifted, and still: %v", why)
		}
		if why := other.ended(); why != nil {
			t.Errorf("the stream of another key: %v", why)
		}
	})
}

func TestAClosedStreamIsNotOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := streams.New(0)
		o := open(t, s, streams.Credential{KeyID: "key_a", Expires: time.Now().Add(time.Minute)})
		o.Close()
		s.End("key_a", errRevoked)
		<-time.After(time.Hour)
		if why := o.ended(); why != nil {
			t.Errorf("%v, of a stream that its reader closed", why)
		}
	})
}
